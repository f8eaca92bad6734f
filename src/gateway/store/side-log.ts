import type { DatabaseSync } from 'node:sqlite';
import { createLogFolder, type LogFile } from './checkpoints.ts';

/** Keeps the log of a bridge's database short. */
export interface SideLog extends Disposable {
  /** Something may have been added to it. */
  look(): void;
}

interface Lengths {
  /** Frames that are not in the database yet after which another thread puts them there, about 6 MiB. */
  readonly long: number;
  /** Frames after which the log is begun anew though it never was folded whole, 64 MiB: then its owner folds the last of it. */
  readonly tooLong: number;
}

const lengths: Lengths = { long: 1500, tooLong: 16_384 };
/** Writes between two looks at its length. */
const often = 16;

/**
 * Its owner writes on the thread of the event loop, where the syncs of folding would stop everybody: `log-folder.ts` folds it, and
 * where nothing is written meanwhile the next write begins it anew, with one sync of its first page.
 */
export function createSideLog(
  database: DatabaseSync,
  file: LogFile,
  { long, tooLong }: Lengths = lengths,
): SideLog {
  const length = database.prepare('PRAGMA wal_checkpoint(NOOP)');
  const fold = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  const folder = createLogFolder(file);
  let writes = 0;
  return {
    look() {
      writes += 1;
      if (writes % often !== 0 || folder.isBusy) {
        return;
      }
      const { log, checkpointed } = length.get() as { log: number; checkpointed: number };
      if (log - checkpointed >= long) {
        folder.ask();
      } else if (log >= tooLong) {
        fold.get();
      }
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}
