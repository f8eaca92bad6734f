import { GatewayError } from '../lib/errors.ts';
import { holds } from './access.ts';
import { type CursorKind, type Cursors, eventOf } from './cursor.ts';
import type { Client, Events, GatewayEvent } from './desk.ts';
import { createEventTail } from './event-tail.ts';
import type { RecentMessages } from './recent-messages.ts';
import type { EventRow } from './store/event-table.ts';
import type { Store } from './store/store.ts';

/** Rows looked at in one read, so that a client that may see little does not hold everybody up. */
const scanned = 4000;
const chunk = 200;
/** Events kept as they were read: a thousand streams that follow the newest read each of them once together. */
const shared = 64;

export interface EventDesk extends Events {
  /** The rows say something else now: what was read of them is read again. */
  forget(): void;
  close(): void;
}

/** Everything that happened, in the order of commits; each client sees its part. */
export function createEvents(options: {
  readonly store: Store;
  readonly cursors: Cursors;
  readonly recent: RecentMessages;
}): EventDesk {
  const { store, cursors } = options;
  const listeners = new Set<() => void>();
  let newest = store.committer.ready.newestEvent;
  const tail = createEventTail(newest);
  const stop = store.committer.onEvents((row, rows) => {
    newest = row;
    tail.grown(row, rows);
    for (const listener of [...listeners]) {
      listener();
    }
  });

  /** A reader among what is left of forgotten events stays `unread` until it is past them. */
  const cursorAt = (row: number, kind: CursorKind) =>
    cursors.encode(kind === 'unread' && row < store.read.eventsForgotten() ? kind : 'event', row);

  const read = new Map<string, GatewayEvent | undefined>();

  function shown(row: EventRow, kind: CursorKind): GatewayEvent | undefined {
    const key = `${row.seq} ${kind}`;
    if (!read.has(key)) {
      read.set(key, eventIn(row, kind));
      if (read.size > shared) {
        read.delete(read.keys().next().value as string);
      }
    }
    return read.get(key);
  }

  function eventIn(row: EventRow, kind: CursorKind): GatewayEvent | undefined {
    const event = { cursor: cursorAt(row.seq, kind), at: row.at, kind: row.kind };
    const members = row.body === null ? {} : (JSON.parse(row.body) as Partial<GatewayEvent>);
    if (row.message === null) {
      return { ...event, ...members };
    }
    if (members.delivery !== undefined) {
      return { ...event, ...members };
    }
    const message = options.recent.message(row.message) ?? store.read.message(row.message);
    return message === undefined ? undefined : { ...event, ...members, message };
  }

  function forget(): void {
    read.clear();
    tail.forget(newest);
  }

  const eventsAfter = (row: number) =>
    tail.covers(row) ? tail.after(row, chunk) : store.read.eventsAfter(row, chunk);

  return {
    get cursor() {
      return cursors.encode('event', newest);
    },
    read(client, after, limit = 100) {
      const { row: first, kind } = eventOf(cursors, after);
      let at = first;
      if (at > newest && at > store.read.newestEvent()) {
        throw expired();
      }
      if (kind === 'event' && !tail.covers(at) && at < store.read.eventsForgotten()) {
        throw expired();
      }
      const items: GatewayEvent[] = [];
      for (let looked = 0; looked < scanned && items.length < limit; ) {
        const rows = at >= newest ? [] : eventsAfter(at);
        for (const row of rows) {
          at = row.seq;
          looked += 1;
          const event = isVisible(client, row) ? shown(row, kind) : undefined;
          if (event !== undefined) {
            items.push(event);
            if (items.length >= limit) {
              break;
            }
          }
        }
        if (rows.length < chunk) {
          break;
        }
      }
      return { items, cursor: cursorAt(at, kind) };
    },
    isAfter: (cursor, other) => eventOf(cursors, cursor).row > eventOf(cursors, other).row,
    onCommit(listener) {
      listeners.add(listener);
      store.committer.carryEvents(true);
      return () => {
        listeners.delete(listener);
        store.committer.carryEvents(listeners.size > 0);
      };
    },
    forget,
    close() {
      stop();
      listeners.clear();
      forget();
    },
  };
}

function expired(): GatewayError {
  return new GatewayError('request/cursor-expired', 'what follows this cursor is not kept any more');
}

function isVisible(client: Client, row: EventRow): boolean {
  return (
    holds(client, 'admin') ||
    row.audience.includes(` app:${client.name} `) ||
    client.scopes.some(scope => row.audience.includes(` scope:${scope} `))
  );
}
