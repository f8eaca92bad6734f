import type { DatabaseSync } from 'node:sqlite';
import { createCommitMarker } from './commit-mark.ts';

/** Counts the commits of a database, in it and beside it. */
export interface CommitCount {
  /** To be called inside the transaction, before its COMMIT; it counts where anything was changed. */
  count(): void;
  /** The transaction stands. */
  keep(): void;
  /** Notes beside the database what it has, while nobody waits: a busy one does so now and then by itself. */
  note(): void;
  /** Whether the log that was written last is still the one at its place; looked at now and then. */
  hasLog(): boolean;
  /** To be called when the database was closed. */
  close(): void;
}

/** ms between two notes of a busy database, and between two looks whether its log is still at its place. */
const noteEvery = 50;
const lookEvery = 1000;

export function countCommits(database: DatabaseSync, path: string): CommitCount {
  const changes = database.prepare('SELECT total_changes() AS n');
  const put = database.prepare(
    has(database, 'commits')
      ? 'UPDATE commits SET number = ?'
      : "UPDATE sqlite_sequence SET seq = ? WHERE name = 'commits'",
  );
  const marker = createCommitMarker(path);
  let number = commitsOf(database) ?? begin(database);
  let changed = Number(changes.get()?.n);
  let next = { number, changed };
  let noted = Number.NEGATIVE_INFINITY;
  let said = Number.NaN;
  let looked = performance.now();
  const note = () => {
    if (said !== number) {
      noted = performance.now();
      said = number;
      marker.note(number);
    }
  };
  note();
  return {
    count() {
      const now = Number(changes.get()?.n);
      // One that changes nothing costs no sync, and is not made to.
      const isChange = now !== changed;
      if (isChange) {
        put.run(number + 1);
      }
      next = isChange ? { number: number + 1, changed: now + 1 } : { number, changed };
    },
    keep() {
      ({ number, changed } = next);
      if (performance.now() - noted >= noteEvery) {
        note();
      }
    },
    note() {
      note();
      marker.settle();
    },
    hasLog() {
      const now = performance.now();
      if (now - looked < lookEvery) {
        return true;
      }
      const is = marker.hasLog();
      looked = is ? now : looked;
      return is;
    },
    close() {
      marker.close(number);
    },
  };
}

/**
 * How many a database says it has; undefined for one that does not count yet. It counts in a table of its own or, where most commits write
 * rows that AUTOINCREMENT numbers, in SQLite's table for that, which anybody may write. Source: SQLite, autoinc.html, 2.
 */
export function commitsOf(database: DatabaseSync): number | undefined {
  const number = has(database, 'commits')
    ? database.prepare('SELECT number FROM commits').get()?.number
    : has(database, 'sqlite_sequence')
      ? database.prepare("SELECT seq AS number FROM sqlite_sequence WHERE name = 'commits'").get()?.number
      : undefined;
  return number === undefined ? undefined : Number(number);
}

/** Whoever has made the database anew by its tables may have left out what belongs to none of them. */
function begin(database: DatabaseSync): number {
  database.exec("INSERT INTO sqlite_sequence (name, seq) VALUES ('commits', 0)");
  return 0;
}

/** The page it counts in; undefined for one that does not count yet. */
export function countPage(database: DatabaseSync): number | undefined {
  const page = database
    .prepare(
      "SELECT rootpage FROM sqlite_schema WHERE name IN ('commits', 'sqlite_sequence') ORDER BY name LIMIT 1",
    )
    .get()?.rootpage;
  return page === undefined ? undefined : Number(page);
}

function has(database: DatabaseSync, table: string): boolean {
  return database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table) !== undefined;
}
