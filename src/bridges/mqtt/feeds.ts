import type { Client, Desk, GatewayEvent } from '../../gateway/desk.ts';
import { nameOf, schemeOf } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { watchCommits } from '../follow.ts';
import { lastResort } from '../last-resort.ts';
import { messageJson } from '../schema.ts';
import type { Session } from './session.ts';
import type { Topics } from './topics.ts';

export interface FeedParts {
  readonly desk: Desk;
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** How long one look into the inbox waits for something, ms; only a bound on what a forgotten wait could hold. */
const longestLook = 60_000;

/** Before something is tried again that should not have come to nothing, ms. */
const pause = 100;

/** A payload as the tree carries it. */
export function jsonPayload(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/**
 * Carries the client's inbox to `mesh/{destination}/rx` until the signal: from the acknowledged cursor on,
 * a window at a time, so that what does not fit stays in the inbox. `inFlight` are the messages this
 * connection has been given and not acknowledged yet.
 */
export async function feedInbox(
  session: Session,
  client: Client,
  inFlight: Set<string>,
  parts: FeedParts,
  signal: AbortSignal,
): Promise<void> {
  const { desk, topics, clock, log, counters } = parts;
  let after: string | undefined;
  while (!signal.aborted) {
    const query = { limit: 50, wait: longestLook, hold: true, ...(after !== undefined && { after }) };
    let page: Awaited<ReturnType<Desk['inbox']['read']>>;
    try {
      page = await desk.inbox.read(client, query, signal);
    } catch (error) {
      if (after === undefined || !isGatewayError(error, 'request/cursor-expired')) {
        throw error;
      }
      after = undefined;
      continue;
    }
    for (const { message } of page.items) {
      const topic = schemeOf(message.from) === 'lxmf' ? topics.rx(nameOf(message.from)) : undefined;
      const qos = topic === undefined ? undefined : session.qosFor(topic);
      if (topic === undefined || qos === undefined || inFlight.has(message.id)) {
        continue;
      }
      if (!(await session.room(signal))) {
        return;
      }
      inFlight.add(message.id);
      counters.add('mqtt.rx.pushed');
      void session
        .write(topic, jsonPayload(messageJson(message)), qos)
        .then(async taken => {
          if (taken) {
            await desk.inbox.acknowledgeMessage(client, message.id);
          }
          inFlight.delete(message.id);
        })
        .catch(error => {
          inFlight.delete(message.id);
          counters.add('mqtt.rx.unmarked');
          log.warn({ client: client.name, error }, 'an acknowledged message could not be marked');
        });
    }
    after = page.cursor;
    if (page.items.length === 0) {
      // The desk lets everybody go when it closes; this must not turn into a loop without a pause.
      await clock.sleep(pause, signal).catch(() => {});
    }
  }
}

/**
 * Carries the events a client follows on MQTT until the signal: the deliveries of its own messages to
 * `mesh/status/{id}`, heard peers to `mesh/announce`. `settled` is told the cursor up to which everything
 * was acknowledged, so that a persistent session goes on there.
 */
export async function feedEvents(
  session: Session,
  client: Client,
  start: string,
  parts: FeedParts,
  settled: (cursor: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { desk, clock, counters } = parts;
  using news = watchCommits(desk, signal);
  const isOwn = ownMessages(desk, client);
  const pending: { readonly cursor: string; done: boolean }[] = [];
  let cursor = start;
  let isRetry = false;
  while (!signal.aborted) {
    let page: ReturnType<Desk['events']['read']>;
    try {
      page = desk.events.read(client, cursor, 100);
    } catch (error) {
      if (!isGatewayError(error, 'request/cursor-expired')) {
        throw error;
      }
      if (isRetry) {
        // A client this slow has missed what is no longer kept; it goes on with what happens now.
        counters.add('mqtt.events.missed');
        cursor = desk.events.cursor;
      }
      isRetry = !isRetry;
      await clock.sleep(pause, signal).catch(() => {});
      continue;
    }
    isRetry = false;
    for (const event of page.items) {
      const said = describe(event, parts.topics, isOwn);
      const qos = said === undefined ? undefined : session.qosFor(said.topic);
      if (said === undefined || qos === undefined) {
        continue;
      }
      if (!(await session.room(signal))) {
        return;
      }
      const entry = { cursor: event.cursor, done: false };
      pending.push(entry);
      session
        .write(said.topic, jsonPayload(said.payload), qos)
        .then(taken => {
          entry.done = taken;
          while (pending[0]?.done === true) {
            settled(pending.shift()?.cursor ?? cursor);
          }
        })
        .catch(lastResort('mqtt.internal', 'an event', parts));
    }
    const moved = page.cursor !== cursor;
    cursor = page.cursor;
    if (pending.length === 0) {
      settled(cursor);
    }
    if (!moved || page.items.length === 0) {
      await news.next();
    }
  }
}

function describe(
  event: GatewayEvent,
  topics: Topics,
  isOwn: (message: string) => boolean,
): { readonly topic: string; readonly payload: object } | undefined {
  const { delivery, peer } = event;
  if (event.kind === 'peer.seen' && peer !== undefined && schemeOf(peer.address) === 'lxmf') {
    const { address, name, hops, lastSeen } = peer;
    return { topic: topics.announce, payload: { destination: nameOf(address), name, hops, at: lastSeen } };
  }
  // `sending` is the hub at work: nothing a sender could rely on.
  if (event.kind !== 'delivery.changed' || delivery === undefined || delivery.state === 'sending') {
    return undefined;
  }
  if (!isOwn(delivery.message)) {
    return undefined;
  }
  const { message: id, correlation, to, state, reason } = delivery;
  return { topic: topics.status(id), payload: { id, correlation, to, state, reason, at: event.at } };
}

/** Whether the client itself sent a message; the last answers are kept, because a delivery changes several times. */
function ownMessages(desk: Desk, client: Client): (message: string) => boolean {
  const known = new Map<string, boolean>();
  return id => {
    let own = known.get(id);
    if (own === undefined) {
      try {
        own = desk.messages.get(client, id).from === `app:${client.name}`;
      } catch {
        own = false;
      }
      known.set(id, own);
      if (known.size > 256) {
        known.delete(known.keys().next().value ?? '');
      }
    }
    return own;
  };
}
