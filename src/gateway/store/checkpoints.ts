import type { DatabaseSync } from 'node:sqlite';

/**
 * When the log of a database is folded back into it: while nobody waits, or when the log has grown so long
 * that somebody must. It takes tens of ms, in which nothing is committed.
 */
export interface Checkpoints {
  /** A commit of so many jobs was added to the log. */
  grown(jobs: number): void;
  /** ms without a job after which `fold` is worth it; for ever where the log is empty. */
  readonly patience: number;
  fold(): void;
  foldIfLong(): void;
}

/** Pages a commit and each of its jobs add to the log, about. */
const pagesPerCommit = 9;
const pagesPerJob = 4;
/** Pages after which a short pause is used, and that pause in ms. */
const longish = 1000;
const shortPause = 20;
/** ms of pause that is used for any log. */
const pause = 200;
/** Pages after which it happens without a pause, 64 MiB: the log is written over from its beginning then. */
const long = 16_384;

export function createCheckpoints(database: DatabaseSync): Checkpoints {
  let pages = 0;
  function fold(): void {
    if (pages > 0) {
      database.exec('PRAGMA wal_checkpoint(PASSIVE)');
      pages = 0;
    }
  }
  return {
    grown(jobs) {
      pages += pagesPerCommit + jobs * pagesPerJob;
    },
    get patience() {
      return pages === 0 ? Number.POSITIVE_INFINITY : pages < longish ? pause : shortPause;
    },
    fold,
    foldIfLong() {
      if (pages >= long) {
        fold();
      }
    },
  };
}
