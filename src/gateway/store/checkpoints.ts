import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';

/**
 * When the log of a database is folded back into it: while nobody waits, or when it has grown so long that somebody
 * must. Folding a long log takes tens of ms, in which its thread commits nothing: that is done by another (`log-folder.ts`),
 * and what has come meanwhile, which is little, by the writer's own, so that the log begins anew.
 */
export interface Checkpoints extends Disposable {
  /** A commit of so many jobs was added to the log. */
  grown(jobs: number): void;
  /** ms without a job after which `fold` is worth it; for ever where the log is empty. */
  readonly patience: number;
  /** Where it fails the log stays as it is, and after some seconds it is tried again. */
  fold(): void;
  /** Has a long log folded by the other thread, and folds what is left once that has done so. */
  foldIfLong(): void;
}

/** The file that is open as the database. */
export interface LogFile {
  readonly path: string;
  readonly inode: number;
}

export interface FolderData extends LogFile {
  readonly signals: Int32Array<SharedArrayBuffer>;
}

/** Places in the signals shared with the thread that folds. */
export const folderWord = { state: 0, closing: 1 } as const;
/** What it is at: it begins with something to do, and changes from `asked` to `done` and to `ended` by itself. */
export const folderState = { asked: 0, done: 1, ended: 2 } as const;

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
/** Pages after which it happens without a pause, 32 MiB, and after which the writer does it itself, 128 MiB. */
const lengths = { long: 8192, tooLong: 32_768 };
/** ms the thread that folds is waited for at the end. */
const endPatience = 2000;

export function createCheckpoints(
  database: DatabaseSync,
  file: LogFile,
  { long, tooLong }: { readonly long: number; readonly tooLong: number } = lengths,
): Checkpoints {
  const run = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  const look = database.prepare('PRAGMA wal_checkpoint(NOOP)');
  const folder = createLogFolder(file);
  let pages = 0;
  let failed = false;
  let notBefore = 0;
  let isAsked = false;

  function fold(): void {
    if (pages === 0 || (failed && performance.now() < notBefore)) {
      return;
    }
    try {
      const { busy } = run.get() as { busy: number };
      // While the other thread is at it there is nothing to do here.
      pages = busy === 0 ? 0 : pages;
      failed = false;
    } catch {
      // A full disk: what is committed stays in the log and is read from there.
      failed = true;
      notBefore = performance.now() + failedPause;
    }
  }

  /** Pages of the log that are not folded: as many as were guessed where that cannot be found out. */
  function length(): number {
    try {
      const { log, checkpointed } = look.get() as { log: number; checkpointed: number };
      return log - checkpointed;
    } catch {
      return pages;
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
      // The guess is three times too many where hundreds of small jobs share a commit.
      if (pages >= long && !isAsked) {
        pages = length();
      }
      if (pages < long) {
        isAsked = false;
      } else if (!isAsked) {
        isAsked = true;
        folder.ask();
      } else if (pages >= tooLong || !folder.isBusy) {
        isAsked = false;
        fold();
      }
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

/** The thread that folds, begun when there is something to do for it. */
export interface LogFolder extends Disposable {
  /** Whether it is at it. */
  readonly isBusy: boolean;
  /** Has the log folded; where there is no thread to be had nothing happens. */
  ask(): void;
}

export function createLogFolder(file: LogFile): LogFolder {
  let folder: Int32Array<SharedArrayBuffer> | undefined;
  const stateOf = (signals: Int32Array<SharedArrayBuffer>) => Atomics.load(signals, folderWord.state);
  return {
    get isBusy() {
      return folder !== undefined && stateOf(folder) === folderState.asked;
    },
    ask() {
      if (folder !== undefined) {
        const { done, asked, ended } = folderState;
        const before = Atomics.compareExchange(folder, folderWord.state, done, asked);
        Atomics.notify(folder, folderWord.state);
        if (before !== ended) {
          return;
        }
      }
      const signals = new Int32Array(new SharedArrayBuffer(8));
      folder = signals;
      const isEnded = () => Atomics.store(signals, folderWord.state, folderState.ended);
      try {
        const worker = new Worker(new URL('./log-folder.ts', import.meta.url), {
          workerData: { path: file.path, inode: file.inode, signals } satisfies FolderData,
          name: 'store log folder',
        });
        worker.unref();
        worker.on('error', isEnded);
        worker.on('exit', isEnded);
      } catch {
        // The system has no thread to give: the writer folds by itself and asks for one again.
        isEnded();
      }
    },
    [Symbol.dispose]() {
      const until = performance.now() + endPatience;
      while (folder !== undefined && stateOf(folder) !== folderState.ended && performance.now() < until) {
        Atomics.store(folder, folderWord.closing, 1);
        Atomics.notify(folder, folderWord.state);
        Atomics.wait(folder, folderWord.state, stateOf(folder), 10);
      }
    },
  };
}
