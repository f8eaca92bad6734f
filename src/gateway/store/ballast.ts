import { randomBytes } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freeBytes, neededToStart } from './room.ts';

/** What may go when nothing else can: it is made again by itself. */
const disposable = ['ballast', 'compile-cache'] as const;
/** Bytes that are left alone: the room for what is open when the disk is full. */
const spare = 64 * 1024;
/** Bytes that must be free before the ballast takes its part of them. */
const plenty = 4 * neededToStart;

/**
 * Makes room in a data folder whose disk is full, so that a start finds what SQLite needs to read: a file whose only use
 * is to be deleted then, and the compiled code. True where there is room now.
 */
export async function makeRoomToStart(dir: string): Promise<boolean> {
  for (const name of disposable) {
    const free = await freeBytes(dir);
    if (free === undefined || free >= neededToStart) {
      return true;
    }
    try {
      rmSync(join(dir, name), { recursive: true, force: true });
    } catch {
      // A disk that takes nothing away either: whoever opens the first file says so.
    }
  }
  const free = await freeBytes(dir);
  return free === undefined || free >= neededToStart / 2;
}

/**
 * Puts the ballast back. On a disk with room it takes 1 MiB; on one that is full, what is left over once everything is
 * open: for the next start, and so that nothing is accepted into the last room there is.
 */
export async function keepBallast(dir: string): Promise<void> {
  const free = await freeBytes(dir);
  const path = join(dir, 'ballast');
  const there = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (free === undefined || there >= neededToStart || (free < plenty && free > neededToStart)) {
    return;
  }
  const size = Math.min(neededToStart, there + free - spare);
  if (size <= there) {
    return;
  }
  try {
    // Nothing that a file system could fold.
    writeFileSync(path, randomBytes(size), { mode: 0o600 });
  } catch {
    // Somebody else took the room meanwhile.
  }
}
