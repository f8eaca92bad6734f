import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book } from './book.ts';
import { matrixLimits } from './config.ts';
import { type RoomEvent, readEvent } from './events.ts';

export interface InboxParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly book: Book;
}

/**
 * Takes in one event; resolves when nothing can be lost any more. What it throws is tried again, unless it is a
 * refusal that would only come again: it has said so to the sender by then.
 */
export type Take = (event: RoomEvent, signal: AbortSignal) => Promise<void>;

/**
 * What the homeserver pushed, in order for each room, until it is taken in. An event that the switch accepts at once is
 * never written here; one that has to wait is a row on disk before the homeserver is answered.
 */
export interface Inbox {
  /** Resolves when every event is taken in or on disk. Throws `store/full`, `store/unavailable`. */
  offer(events: readonly RoomEvent[]): Promise<void>;
  /**
   * Events read back from a room: they go before what waits for it, in their order, and those that wait already take
   * their place among them. What the same `pass` inserted earlier stays before them. Resolves as `offer` does.
   */
  insert(room: string, events: readonly RoomEvent[], pass: symbol): Promise<void>;
  /** Works through the rooms until the signal, beginning with what an earlier process left. */
  run(take: Take, signal: AbortSignal): Promise<void>;
  /** Events that wait. */
  readonly size: number;
}

interface Entry {
  readonly event: RoomEvent;
  /** Its row, once it has one. */
  row: number | undefined;
  /** The reading back that found it last. */
  pass: symbol | undefined;
  readonly done: Promise<void>;
  readonly finish: () => void;
}

export function createInbox(parts: InboxParts): Inbox {
  const { clock, log, counters, book } = parts;
  const lanes = new Map<string, Entry[]>();
  const waiting = new Map<string, Entry>();
  const recent = new Set<string>();
  const working = new Set<string>();
  let bytes = 0;
  let work: { readonly take: Take; readonly signal: AbortSignal; readonly ended: () => void } | undefined;

  for (const { seq, body } of book.events()) {
    const event = readEvent(JSON.parse(body));
    if (event === undefined || waiting.has(event.id)) {
      book.forgetEvent(seq);
    } else {
      laneOf(event.room).push(add(event, seq));
    }
  }

  function laneOf(room: string): Entry[] {
    return lanes.getOrInsertComputed(room, () => []);
  }

  function add(event: RoomEvent, row?: number): Entry {
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry: Entry = { event, row, pass: undefined, done: promise, finish: resolve };
    waiting.set(event.id, entry);
    bytes += event.size;
    return entry;
  }

  function finished(entry: Entry): void {
    const { event, row } = entry;
    if (row !== undefined) {
      try {
        book.forgetEvent(row);
      } catch (error) {
        // It is offered once more after a restart, and the switch knows it.
        log.warn({ code: codeOf(error) }, 'an event that was taken in could not be crossed out');
      }
    }
    waiting.delete(event.id);
    bytes -= event.size;
    recent.add(event.id);
    if (recent.size > matrixLimits.recentEvents) {
      recent.delete(recent.values().next().value ?? '');
    }
    entry.finish();
  }

  /** Entries for events that are neither waiting nor done; gives all that are not done. */
  function admit(events: readonly RoomEvent[]): Entry[] {
    const fresh = events.filter(event => !recent.has(event.id) && !waiting.has(event.id));
    const more = fresh.reduce((sum, event) => sum + event.size, 0);
    if (waiting.size + fresh.length > matrixLimits.inboxEvents || bytes + more > matrixLimits.inboxBytes) {
      counters.add('matrix/inbox/full');
      throw new GatewayError('store/full', 'too many events wait to be taken in', { retryable: true });
    }
    counters.add('matrix/inbox/repeated', events.length - fresh.length);
    return events.flatMap(event => {
      if (recent.has(event.id)) {
        return [];
      }
      return [waiting.get(event.id) ?? add(event)];
    });
  }

  /** Resolves when every entry is done or has a row. */
  async function settle(entries: readonly Entry[]): Promise<void> {
    if (work !== undefined) {
      const patience = new AbortController();
      await Promise.race([
        Promise.all(entries.map(({ done }) => done)),
        clock.sleep(matrixLimits.acceptPatience, patience.signal).catch(() => undefined),
      ]);
      patience.abort();
    }
    const open = entries.filter(entry => waiting.get(entry.event.id) === entry);
    if (open.length === 0) {
      return;
    }
    const left = open.filter(({ row }) => row === undefined);
    if (left.length > 0) {
      const rows = book.keepEvents(left.map(({ event }) => ({ room: event.room, body: event.json })));
      counters.add('matrix/inbox/kept', left.length);
      for (const [index, entry] of left.entries()) {
        entry.row = rows[index];
      }
    }
    // Those that had a row before may have been asked for again before that was on disk.
    await book.synced();
  }

  function pump(room: string): void {
    if (work === undefined || working.has(room) || (lanes.get(room)?.length ?? 0) === 0) {
      return;
    }
    working.add(room);
    const { take, signal, ended } = work;
    void drain(room, take, signal).finally(() => {
      working.delete(room);
      if (signal.aborted) {
        ended();
      } else {
        pump(room);
      }
    });
  }

  async function drain(room: string, take: Take, signal: AbortSignal): Promise<void> {
    const lane = laneOf(room);
    for (let failures = 0; !signal.aborted && lane.length > 0; ) {
      const entry = lane[0] as Entry;
      try {
        await take(entry.event, signal);
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        if (isGatewayError(error) && error.retryable) {
          failures += 1;
          const delay = Math.min(
            matrixLimits.firstRetry * 2 ** Math.min(failures - 1, 20),
            matrixLimits.longestRetry,
          );
          log.warn({ code: error.code, ms: delay }, `an event is taken in later: ${error.message}`);
          counters.add('matrix/inbox/retried');
          await clock.sleep(delay, signal).catch(() => undefined);
          continue;
        }
        // Another try would end the same way, and everything behind it would wait for ever.
        counters.add(`matrix/inbox/failed/${codeOf(error)}`);
        log.error({ code: codeOf(error), type: entry.event.type, error }, 'an event could not be taken in');
      }
      failures = 0;
      lane.splice(lane.indexOf(entry), 1);
      finished(entry);
    }
    if (lane.length === 0) {
      lanes.delete(room);
    }
  }

  return {
    get size() {
      return waiting.size;
    },
    async offer(events) {
      const entries = admit(events);
      for (const entry of entries) {
        const lane = laneOf(entry.event.room);
        if (!lane.includes(entry)) {
          lane.push(entry);
          pump(entry.event.room);
        }
      }
      await settle(entries);
    },
    async insert(room, events, pass) {
      const entries = admit(events);
      const lane = laneOf(room);
      const before = lane.filter(entry => entry.pass === pass && !entries.includes(entry));
      const others = lane.filter(entry => entry.pass !== pass && !entries.includes(entry));
      // The entry under way keeps its place: it is taken out by whoever works on it.
      const head = working.has(room) && lane[0] !== undefined ? [lane[0]] : [];
      const rest = [...before, ...entries, ...others].filter(entry => !head.includes(entry));
      lane.splice(0, lane.length, ...head, ...rest);
      for (const entry of entries) {
        entry.pass = pass;
      }
      pump(room);
      await settle(entries);
    },
    async run(take, signal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const ended = () => {
        if (signal.aborted && working.size === 0) {
          resolve();
        }
      };
      work = { take, signal, ended };
      signal.addEventListener('abort', ended, { once: true });
      for (const room of [...lanes.keys()]) {
        pump(room);
      }
      ended();
      try {
        await promise;
      } finally {
        work = undefined;
        signal.removeEventListener('abort', ended);
      }
    },
  };
}
