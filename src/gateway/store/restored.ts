import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { syncFolder, writeDurably } from './synced.ts';

/*
 * The last part of a restore, by renames alone, so that it can be stopped at any moment and gone on with: the old files move into a
 * folder of their own, then the new ones move in. It works inside the data folder because that may be a mount, which nobody can rename.
 */

/** Where a restore lays what it has read, below the data folder. */
export const restoreFolder = 'restore';
/** Where copies of databases lie while a backup is made, below the data folder. */
export const backupFolder = 'backup.tmp';
/** Files that stay where they are: they belong to the place and not to what is kept there. */
const stays = /^(?:restore|lock\.db.*|compile-cache|ballast|before-restore-.*)$/;

interface Phase {
  /** `out`: old files move aside; `in`: new ones move to their places. */
  readonly phase: 'out' | 'in';
  /** Folder for the old files, below the data folder. */
  readonly aside: string;
}

/** Says that everything read lies whole in `restore/files`: from here on it will be the data folder's content. */
export function decideRestore(dir: string, aside: string): void {
  syncFolder(dir);
  writePhase(dir, { phase: 'out', aside });
}

/** What a start found of a restore: none, one that had been decided and is done now, or one that had not and is gone. */
export type FoundRestore =
  | { readonly found: 'none' }
  | { readonly found: 'finished'; readonly aside: string }
  | { readonly found: 'dropped' };

/**
 * Goes on with a restore that was decided, and takes away what one that was not has left, and the copies of a backup. To be
 * called by whoever holds the lock. `onStep` is told of each step before it is made. Throws `store/unavailable`.
 */
export function finishRestore(dir: string, onStep: (step: string) => void = () => {}): FoundRestore {
  const from = join(dir, restoreFolder);
  try {
    rmSync(join(dir, backupFolder), { recursive: true, force: true });
    if (!existsSync(from)) {
      return { found: 'none' };
    }
    const decided = readPhase(dir);
    if (decided !== undefined) {
      if (decided.phase === 'out') {
        move(dir, join(dir, decided.aside), name => !stays.test(name), onStep);
        onStep('turn');
        writePhase(dir, { ...decided, phase: 'in' });
      }
      if (existsSync(join(from, 'files'))) {
        move(join(from, 'files'), dir, () => true, onStep);
      }
    }
    onStep('tidy');
    rmSync(from, { recursive: true, force: true });
    syncFolder(dir);
    return decided === undefined ? { found: 'dropped' } : { found: 'finished', aside: decided.aside };
  } catch (cause) {
    throw new GatewayError(
      'store/unavailable',
      `the restore in ${dir} could not be finished: ${(cause as Error).message}. Nothing is lost: it goes on at the next start`,
      { cause },
    );
  }
}

function move(
  from: string,
  to: string,
  which: (name: string) => boolean,
  onStep: (step: string) => void,
): void {
  const names = readdirSync(from).filter(which);
  if (names.length > 0) {
    mkdirSync(to, { recursive: true, mode: 0o700 });
  }
  for (const name of names) {
    onStep(`${basename(from)}/${name}`);
    renameSync(join(from, name), join(to, name));
  }
  // Also where the last name was moved just before a kill: nothing says whether that is on disk.
  if (existsSync(to)) {
    syncFolder(to);
    syncFolder(from);
  }
}

function readPhase(dir: string): Phase | undefined {
  const path = join(dir, restoreFolder, 'phase');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Phase) : undefined;
}

function writePhase(dir: string, phase: Phase): void {
  writeDurably(join(dir, restoreFolder), 'phase', utf8(JSON.stringify(phase)));
}
