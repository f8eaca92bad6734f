import { setImmediate as turn } from 'node:timers/promises';
import { holds } from '../../gateway/access.ts';
import type { Client, Desk, GatewayEvent } from '../../gateway/desk.ts';
import type { WebhookShelf } from '../../gateway/webhook-shelf.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { shows } from '../event-filter.ts';
import { watchCommits } from '../follow.ts';
import { addressOf } from './bridge.ts';
import type { WebhookLimits } from './config.ts';
import { type Hook, isOn, type Keeper, restart } from './hook.ts';
import { eventPayload, gapPayload, type Payload } from './payload.ts';
import type { Reply } from './post.ts';
import { isTaken, judge } from './progress.ts';

export interface LineParts {
  readonly desk: Desk;
  readonly shelf: WebhookShelf;
  readonly keeper: Keeper;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: WebhookLimits;
  /** The client a webhook belongs to, while its token is good. */
  readonly clientOf: (id: string) => Client | undefined;
  /** One request to the endpoint of a hook, in its turn. Rejects with the signal's reason. */
  readonly send: (hook: Hook, payload: Payload, signal: AbortSignal) => Promise<Reply>;
  /** ms in vain after which an endpoint is not tried any more. */
  readonly patience: () => number;
  /** How the hook does has changed. */
  readonly onProgress: (hook: Hook) => void;
}

/** ms between two looks at whether a client that is away is back. */
const pauseBetween = 30_000;
/** Why nothing is told to the webhooks of a client for now; undefined where it is. */
export function awayOf(client: Client | undefined): string | undefined {
  return client === undefined
    ? 'the token of its client has expired'
    : holds(client, 'messages:read')
      ? undefined
      : 'its client may not read messages any more';
}

/** ms until the store is asked again that could not be read. */
const storeWait = 2000;

/**
 * Tells one endpoint of events, in their order, one at a time, until the signal or until the hook is off. Nothing is
 * queued: the store of events is the queue, and the hook's position in it the only thing that is remembered. It moves
 * when an event was answered 2xx, or is none that the hook shows.
 */
export async function runLine(hook: Hook, parts: LineParts, signal: AbortSignal): Promise<void> {
  const { desk, clock, keeper, limits, log } = parts;
  const life = hook.changed.signal;
  using news = watchCommits(desk, signal);
  using rights = watchRights(desk, () => restart(hook, 'the rights of its client have changed'));
  let written = clock.monotonic();
  const stand = (position: string) => {
    hook.position = position;
    written = clock.monotonic();
    keeper.note(hook);
  };

  while (!signal.aborted && isOn(hook)) {
    const client = parts.clientOf(hook.client);
    hook.paused = awayOf(client);
    if (client === undefined || hook.paused !== undefined) {
      await clock.sleep(pauseBetween, signal);
      continue;
    }
    rights.of(client);
    if (hook.progress.gap !== undefined) {
      const { gap, lastSuccessAt } = hook.progress;
      if (await tell(gapPayload(desk.hub, hook.id, gap, lastSuccessAt))) {
        const { gap: _, ...progress } = hook.progress;
        hook.progress = progress;
        keeper.note(hook);
      }
      continue;
    }
    let batch: { readonly items: readonly GatewayEvent[]; readonly cursor: string };
    try {
      batch = desk.events.read(client, hook.position, limits.batch);
    } catch (error) {
      if (isGatewayError(error, 'request/cursor-expired', 'request/invalid')) {
        loseTrack();
      } else {
        log.warn(
          { webhook: hook.id.slice(0, 8), code: codeOf(error) },
          'events for a webhook cannot be read',
        );
        await clock.sleep(storeWait, signal);
      }
      continue;
    }
    if (batch.cursor === hook.position) {
      await news.next();
    } else if (await tellAll(client, batch.items)) {
      // Far behind, with nothing in between to tell, it would read on and on: the rest of the program has its turn.
      await turn();
      life.throwIfAborted();
      hook.position = batch.cursor;
      if (clock.monotonic() - written >= limits.idleWrite) {
        stand(batch.cursor);
      }
    }
  }

  /** Whether all that the hook shows of these was taken. */
  async function tellAll(client: Client, items: readonly GatewayEvent[]): Promise<boolean> {
    // A filter that is changed begins the line anew.
    const filter = { ...hook.settings, kinds: hook.settings.events };
    for (const event of items) {
      if (signal.aborted || !isOn(hook)) {
        return false;
      }
      if (shows(filter, event) && !isDelivered(event)) {
        if (!(await tell(eventPayload(desk.hub, event)))) {
          return false;
        }
        // Before the position: what is known as told is known as given, whenever the process ends.
        void mark(client, event);
        stand(event.cursor);
      }
    }
    return true;
  }

  /** A message that is addressed to the webhook comes by its delivery, and not as an event beside it. */
  function isDelivered({ kind, message }: GatewayEvent): boolean {
    return (
      kind === 'message.accepted' &&
      message !== undefined &&
      parts.shelf.goesTo(message.id, addressOf(hook.id))
    );
  }

  /** Whether it was taken; otherwise the wait for the next attempt is over, and what is told next is looked up again. */
  async function tell(payload: Payload): Promise<boolean> {
    const at = clock.now();
    const reply = await parts.send(hook, payload, signal);
    // Whoever moved the position meanwhile has the last word.
    life.throwIfAborted();
    const { id, type } = payload;
    const chance = parts.random.fraction();
    const facts = { now: clock.now(), chance, patience: parts.patience(), limits };
    const { progress, delay } = judge(hook.progress, { id, type, at }, reply, facts);
    hook.noted = hook.progress.failingSince === undefined || hook.noted;
    hook.progress = progress;
    parts.onProgress(hook);
    if (isTaken(reply)) {
      // Written with what moves on because of it.
      return true;
    }
    keeper.note(hook);
    if (delay > 0) {
      await clock.sleep(delay, signal);
    }
    return false;
  }

  /** What follows the position is forgotten: the endpoint is told so, and then of what is left. */
  function loseTrack(): void {
    const at = clock.now();
    parts.counters.add('webhook/gap');
    log.warn(
      { webhook: hook.id.slice(0, 8) },
      'events were forgotten before a webhook could be told of them',
    );
    hook.progress = { ...hook.progress, gap: { at, after: hook.position } };
    const left = parts.shelf.remaining(hook.position);
    stand(left === undefined || left === hook.position ? desk.events.cursor : left);
  }

  /** A message that lies in the inbox of the client was given to it, or counts as read. */
  async function mark(client: Client, { kind, message }: GatewayEvent): Promise<void> {
    if (kind !== 'message.accepted' || message === undefined) {
      return;
    }
    try {
      await (hook.settings.acknowledge
        ? desk.inbox.acknowledgeMessage(client, message.id)
        : desk.inbox.pushed(client, [message.id]));
    } catch (error) {
      log.debug({ code: codeOf(error) }, 'a delivery state could not be written');
    }
  }
}

/** Tells when the client that events are read for may not see any more what it could: what was read before is not told then. */
function watchRights(desk: Desk, onEnd: () => void): Disposable & { of(client: Client): void } {
  let watched: Client | undefined;
  let stop = () => {};
  return {
    of(client) {
      if (client !== watched) {
        stop();
        watched = client;
        stop = desk.clients.watch(client, onEnd);
      }
    },
    [Symbol.dispose]: () => stop(),
  };
}
