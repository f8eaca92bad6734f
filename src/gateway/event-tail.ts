import type { EventRow } from './store/event-table.ts';

/** Events kept, and characters of them all. */
const most = 512;
const mostLength = 1024 * 1024;

/** The newest events in memory, without a gap: whoever follows them closely has nothing to read from the disk. */
export interface EventTail {
  /** Whether everything after this row is here. */
  covers(row: number): boolean;
  /** The events after a row that it covers, oldest first. */
  after(row: number, limit: number): readonly EventRow[];
  /** A commit brought events up to `newest`; `rows` are all of them, or undefined where they were not carried. */
  grown(newest: number, rows: readonly EventRow[] | undefined): void;
  /** Only what comes after this row is of use. */
  forget(newest: number): void;
}

export function createEventTail(newest: number): EventTail {
  let rows: EventRow[] = [];
  let length = 0;
  /** Everything after this row is here, up to `last`. */
  let from = newest;
  let last = newest;

  const lengthOf = ({ body, audience }: EventRow) => (body?.length ?? 0) + audience.length + 100;

  function startAt(row: number): void {
    rows = [];
    length = 0;
    from = row;
    last = row;
  }

  return {
    covers: row => row >= from,
    after(row, limit) {
      // Readers follow closely: their place is near the end.
      let at = rows.length;
      while (at > 0 && rows[at - 1]!.seq > row) {
        at -= 1;
      }
      return rows.slice(at, at + limit);
    },
    grown(newest, fresh) {
      // A writer that died may have committed events and told nobody.
      if (fresh === undefined || fresh[0]?.seq !== last + 1 || fresh.length !== newest - last) {
        startAt(newest);
        return;
      }
      last = newest;
      rows.push(...fresh);
      length += fresh.reduce((sum, row) => sum + lengthOf(row), 0);
      if (rows.length <= most && length <= mostLength) {
        return;
      }
      // Half of it at once, so that it is not moved for every event.
      let gone = 0;
      while (gone < rows.length && (rows.length - gone > most / 2 || length > mostLength / 2)) {
        length -= lengthOf(rows[gone]!);
        from = rows[gone]!.seq;
        gone += 1;
      }
      rows = rows.slice(gone);
    },
    forget: startAt,
  };
}
