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
  /** Where it fails the log stays as it is, and after some seconds it is tried again. */
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
/** ms until it is tried again where the disk was full. */
const failedPause = 5000;
/** Pages after which it happens without a pause, 64 MiB: the log is written over from its beginning then. */
const long = 16_384;

export function createCheckpoints(database: DatabaseSync): Checkpoints {
  let pages = 0;
  let failed = false;
  let notBefore = 0;
  function fold(): void {
    if (pages > 0 && (!failed || performance.now() >= notBefore)) {
      try {
        database.exec('PRAGMA wal_checkpoint(PASSIVE)');
        pages = 0;
        failed = false;
      } catch {
        // A full disk: what is committed stays in the log and is read from there.
        failed = true;
        notBefore = performance.now() + failedPause;
      }
    }
  }
  return {
    grown(jobs) {
      pages += pagesPerCommit + jobs * pagesPerJob;
    },
    get patience() {
      if (failed) {
        return failedPause;
      }
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
