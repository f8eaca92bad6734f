import type { Duplex } from 'node:stream';
import type { Client } from '../../gateway/desk.ts';
import type { Cancel } from '../../lib/clock.ts';
import { codeOf } from '../../lib/errors.ts';
import { lastResort } from '../last-resort.ts';
import { mqttLimits } from './config.ts';
import { type FeedParts, feedEvents, feedInbox } from './feeds.ts';
import type { Journal } from './journal.ts';
import type { Verdict } from './login.ts';
import { hasScope } from './rights.ts';
import type { Session } from './session.ts';
import { overlap } from './topics.ts';

/** A publish that has been acknowledged for this long, ms, on a connection that still speaks, will not come again. */
const acknowledgementSeen = 30_000;

export interface ConnectionParts extends FeedParts {
  readonly journal: Journal;
  /** Where a persistent session goes on with the events, by session id. */
  readonly positions: Map<string, string>;
}

/** A connection from its first byte to its last. */
export class Connection {
  readonly stream: Duplex;
  /** The far side's IP address. */
  readonly remote: string;
  /** A browser's page from elsewhere: it cannot be what a person means by an anonymous device. */
  readonly foreign: boolean;
  verdict: Verdict | undefined;
  session: Session | undefined;
  /** Ends when every earlier publish is settled: acknowledgements leave in the order of the publishes. */
  turn: Promise<void> = Promise.resolve();
  readonly #parts: ConnectionParts;
  readonly #stop = new AbortController();
  #inbox: AbortController | undefined;
  readonly #inFlight = new Set<string>();
  #position: string | undefined;
  #followsEvents = false;
  /** Acknowledged publishes by packet id, oldest first. */
  readonly #acknowledged = new Map<number, { readonly key: string; readonly at: number }>();
  #saidGoodbye = false;
  #cancelExpiry: Cancel | undefined;

  constructor(stream: Duplex, remote: string, foreign: boolean, parts: ConnectionParts) {
    this.stream = stream;
    this.remote = remote;
    this.foreign = foreign;
    this.#parts = parts;
  }

  get client(): Client | undefined {
    return this.session?.who.client;
  }

  /** The client is in: what happens from now on is its to follow. */
  start(session: Session): void {
    const { desk, positions } = this.#parts;
    this.#position = (session.clean ? undefined : positions.get(session.id)) ?? desk.events.cursor;
    positions.delete(session.id);
    const expiresAt = session.who.client?.expiresAt;
    if (expiresAt !== undefined) {
      this.#closeAt(expiresAt, session);
    }
    this.subscribed([...session.filters.keys()]);
  }

  /** Starts what the new filters ask for; the inbox anew from its acknowledged cursor. */
  subscribed(filters: readonly string[]): void {
    const { session } = this;
    const client = session?.who.client;
    if (session === undefined || client === undefined || this.#position === undefined) {
      return;
    }
    const { topics } = this.#parts;
    const asks = (filter: string) => filters.some(asked => overlap(asked, filter));
    if (asks(`${topics.root}/mesh/+/rx`) && hasScope(session.who, 'messages:read')) {
      this.#inbox?.abort();
      const inbox = new AbortController();
      this.#inbox = inbox;
      const signal = AbortSignal.any([inbox.signal, this.#stop.signal]);
      this.#follow('inbox', signal, () => feedInbox(session, client, this.#inFlight, this.#parts, signal));
    }
    if (!this.#followsEvents && (asks(topics.status('+')) || asks(topics.announce))) {
      this.#followsEvents = true;
      const settled = (cursor: string) => {
        this.#position = cursor;
      };
      const signal = this.#stop.signal;
      const start = this.#position;
      this.#follow('events', signal, () => feedEvents(session, client, start, this.#parts, settled, signal));
    }
  }

  /** A packet came in: what was acknowledged long enough before it has arrived. */
  heard(): void {
    const { journal, clock } = this.#parts;
    for (const [packetId, { key, at }] of this.#acknowledged) {
      if (clock.monotonic() - at < acknowledgementSeen) {
        break;
      }
      this.#acknowledged.delete(packetId);
      journal.forget(this.session?.id ?? '', packetId, key);
    }
  }

  /** A publish with this packet id was accepted under the key and is acknowledged now. */
  acknowledged(packetId: number, key: string): void {
    this.#acknowledged.delete(packetId);
    this.#acknowledged.set(packetId, { key, at: this.#parts.clock.monotonic() });
  }

  /** The client said DISCONNECT. */
  goodbye(): void {
    this.#saidGoodbye = true;
  }

  /** The connection is gone. */
  end(): void {
    this.#stop.abort();
    this.#cancelExpiry?.();
    const { session } = this;
    session?.close();
    if (session === undefined) {
      return;
    }
    const { journal, positions } = this.#parts;
    if (!session.clean && this.#position !== undefined) {
      positions.set(session.id, this.#position);
      if (positions.size > mqttLimits.sessions) {
        positions.delete(positions.keys().next().value ?? '');
      }
    } else if (this.#saidGoodbye) {
      try {
        journal.forgetSession(session.id);
      } catch (error) {
        this.#parts.log.warn({ client: this.client?.name, error }, 'an ended session could not be forgotten');
      }
    }
  }

  /** A timer cannot be as long as a token may live, so it may fire early. */
  #closeAt(expiresAt: number, session: Session): void {
    const { clock } = this.#parts;
    if (clock.now() >= expiresAt) {
      session.close();
    } else {
      this.#cancelExpiry = clock.after(expiresAt - clock.now(), () => this.#closeAt(expiresAt, session));
    }
  }

  #follow(name: string, signal: AbortSignal, feed: () => Promise<void>): void {
    feed()
      .catch(error => {
        if (signal.aborted) {
          return;
        }
        const { log, counters } = this.#parts;
        counters.add('mqtt.feed.failed');
        log.warn({ feed: name, client: this.client?.name, code: codeOf(error), error }, 'an MQTT feed ended');
        // The client comes back and subscribes again: better than a subscription that says nothing.
        if (codeOf(error) !== 'request/forbidden') {
          this.session?.close();
        }
      })
      .catch(lastResort('mqtt.internal', name, this.#parts));
  }
}

/**
 * How many of the connections its client has beside the one it may take over; anonymous devices are one client
 * for each IP address.
 */
export function connectionsLike(verdict: Verdict, remote: string, connections: Iterable<Connection>): number {
  if (!verdict.admitted) {
    return 0;
  }
  const holder = verdict.who.client?.id;
  let count = 0;
  for (const other of connections) {
    if (
      other.verdict?.admitted === true &&
      other.verdict.sessionId !== verdict.sessionId &&
      other.verdict.who.client?.id === holder &&
      (holder !== undefined || other.remote === remote)
    ) {
      count += 1;
    }
  }
  return count;
}
