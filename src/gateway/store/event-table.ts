import type { DatabaseSync } from 'node:sqlite';
import type { EventKind } from '../desk.ts';

/** An event as it is written: who may see it is decided when it happens. */
export interface EventDraft {
  readonly at: number;
  readonly kind: EventKind;
  readonly message?: string;
  /** JSON of the event's own members (`{delivery}`, `{peer}`, …), where it has any. */
  readonly body?: string;
  /** Addresses `app:<name>` and `scope:<scope>` marks; an admin sees everything. */
  readonly audience: readonly string[];
}

export interface EventRow {
  readonly seq: number;
  readonly at: number;
  readonly kind: EventKind;
  readonly message: string | null;
  readonly body: string | null;
  readonly audience: string;
}

export interface EventJobs {
  'events.add': { args: { events: readonly EventDraft[] }; result: undefined };
}

/** Writes one event inside the transaction that made it true; gives its row. */
export function eventWriter(database: DatabaseSync): (event: EventDraft) => number {
  const insert = database.prepare(
    'INSERT INTO events (at, kind, message, body, audience) VALUES (?, ?, ?, ?, ?)',
  );
  return event => {
    const { lastInsertRowid } = insert.run(
      event.at,
      event.kind,
      event.message ?? null,
      event.body ?? null,
      audienceText(event.audience),
    );
    return Number(lastInsertRowid);
  };
}

/** As it is stored: each between blanks. */
export function audienceText(audience: readonly string[]): string {
  return audience.length === 0 ? '' : ` ${audience.join(' ')} `;
}

export function eventVerbs(database: DatabaseSync) {
  const write = eventWriter(database);
  return {
    'events.add'({ events }: EventJobs['events.add']['args']): undefined {
      for (const event of events) {
        write(event);
      }
    },
  };
}

export function eventReads(database: DatabaseSync) {
  const after = database.prepare('SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?');
  const oldest = database.prepare('SELECT min(seq) AS seq FROM events');
  const newest = database.prepare(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS seq",
  );
  const forgotten = database.prepare("SELECT value FROM meta WHERE key = 'eventsForgotten'");
  return {
    /** The newest event of a message or a delivery that is not kept any more: a reader before it has missed it. */
    eventsForgotten: () => Number(forgotten.get()?.value ?? 0),
    newestEvent: () => (newest.get() as { seq: number }).seq,
    eventsAfter: (seq: number, limit: number) => after.all(seq, limit) as unknown as EventRow[],
    /** The oldest event still kept, or undefined if there is none. */
    oldestEvent: () => (oldest.get() as { seq: number | null }).seq ?? undefined,
  };
}
