import { GatewayError } from '../lib/errors.ts';
import { holds } from './access.ts';
import { type CursorKind, type Cursors, eventOf } from './cursor.ts';
import type { Client, Events, GatewayEvent } from './desk.ts';
import { createEventTail } from './event-tail.ts';
import { sizeOf } from './page-bytes.ts';
import type { RecentMessages } from './recent-messages.ts';
import type { EventRow } from './store/event-table.ts';
import type { Store } from './store/store.ts';

/** Rows looked at in one read, so that a client that may see little does not hold everybody up. */
const scanned = 4000;
const chunk = 200;
/** Events kept as they were read: a thousand streams that follow the newest read each of them once together. */
const shared = 64;
/** Characters of all these, but for a single larger one. */
const sharedLength = 4 * 1024 * 1024;
/** Characters of what the events of one read say: what a reader that is slow holds of them, but for a single larger one. */
const readLength = 256 * 1024;

/** An event as readers see it. */
interface Shown {
  readonly event: GatewayEvent;
  /** Characters of what it says: found once, however many read it. */
  readonly length: number;
}

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

  const read = new Map<string, Shown | undefined>();
  let readTotal = 0;

  function shown(row: EventRow, kind: CursorKind): Shown | undefined {
    const key = `${row.seq} ${kind}`;
    if (!read.has(key)) {
      const one = shownIn(row, kind);
      read.set(key, one);
      readTotal += one?.length ?? 0;
      while (read.size > shared || (readTotal > sharedLength && read.size > 1)) {
        const [oldest, gone] = read.entries().next().value as [string, Shown | undefined];
        read.delete(oldest);
        readTotal -= gone?.length ?? 0;
      }
    }
    return read.get(key);
  }

  function shownIn(row: EventRow, kind: CursorKind): Shown | undefined {
    const event = eventIn(row, kind);
    if (event === undefined) {
      return undefined;
    }
    const said = event.message === undefined ? 0 : sizeOf(event.message);
    return { event, length: said + (row.body?.length ?? 0) };
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
    readTotal = 0;
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
      let length = 0;
      let isFull = false;
      for (let looked = 0; looked < scanned && !isFull; ) {
        const rows = at >= newest ? [] : eventsAfter(at);
        for (const row of rows) {
          const one = isVisible(client, row) ? shown(row, kind) : undefined;
          length += one?.length ?? 0;
          if (one !== undefined && items.length > 0 && length > readLength) {
            isFull = true;
            break;
          }
          at = row.seq;
          looked += 1;
          if (one !== undefined && items.push(one.event) >= limit) {
            isFull = true;
            break;
          }
        }
        if (rows.length < chunk) {
          break;
        }
      }
      return { items, cursor: cursorAt(at, kind), isFull };
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
