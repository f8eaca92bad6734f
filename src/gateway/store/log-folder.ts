import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';
import { type FolderData, folderState, folderWord } from './checkpoints.ts';

/**
 * The thread that folds a log which has grown long back into its database, beside the writer, which goes on committing. It
 * ends when it has had nothing to do for a while, or when the writer ends.
 */

/** Frames that the writer folds in no time by itself, and rounds in which what came meanwhile is folded too. */
const few = 256;
const rounds = 4;
/** ms without work after which the thread is not worth its memory. */
const idle = 30_000;

const { path, inode, signals } = workerData as FolderData;
let database: DatabaseSync | undefined;

function fold(): void {
  if (statSync(path, { throwIfNoEntry: false })?.ino !== inode) {
    // Another file lies at the path of the one that the writer has open.
    return;
  }
  if (database === undefined) {
    database = new DatabaseSync(path);
    database.exec('PRAGMA synchronous = FULL');
  }
  let before = 0;
  for (let round = 0; round < rounds; round++) {
    const { busy, log } = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() as {
      busy: number;
      log: number;
    };
    if (busy !== 0 || log - before <= few) {
      return;
    }
    before = log;
  }
}

function wait(state: number): boolean {
  return (
    Atomics.load(signals, folderWord.closing) === 0 &&
    (Atomics.wait(signals, folderWord.state, state, idle) !== 'timed-out' ||
      Atomics.compareExchange(signals, folderWord.state, state, folderState.ended) !== state)
  );
}

for (;;) {
  const state = Atomics.load(signals, folderWord.state);
  if (state === folderState.asked) {
    try {
      fold();
    } catch {
      // A full disk, or one that fails: the writer meets the same, and says so.
    }
    Atomics.store(signals, folderWord.state, folderState.done);
  } else if (!wait(state)) {
    break;
  }
}
database?.close();
Atomics.store(signals, folderWord.state, folderState.ended);
Atomics.notify(signals, folderWord.state);
