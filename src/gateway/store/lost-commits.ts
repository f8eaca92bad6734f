import { renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { utf8 } from '../../lib/bytes.ts';
import { isGatewayError } from '../../lib/errors.ts';
import { commitsOf, countPage } from './commit-count.ts';
import { type CommitMark, compareLog, type LogFound, readMark } from './commit-mark.ts';
import { damaged } from './database.ts';
import { baseOfLog } from './log-base.ts';
import { writeDurably } from './synced.ts';

/** What a database has lost between two starts of the hub. */
export interface LostCommits {
  /** Name of its file. */
  readonly file: string;
  /** Commits that were acknowledged and are not in it. */
  readonly commits: number;
  /** Name of the file that tells people so, until they take it away. */
  readonly note: string;
}

/**
 * Looks, before a database is opened for its writer, whether all is in it that was acknowledged. SQLite cannot tell: without its
 * log, or with that of another database, it is whole and older, or a mixture. A log that is not its own is put aside, never
 * removed. What is missing is noted in a file beside it. Throws `store/unavailable` where what is left is no whole
 * database.
 */
export function findLost(path: string, now: number): LostCommits | undefined {
  const mark = readMark(path);
  if (mark === undefined || mark.number === 0) {
    return undefined;
  }
  let log = compareLog(path, mark);
  if (log === 'other') {
    putLogAside(path, now);
  }
  let found = look(path, mark, log);
  if (found === 'uncounted' && (log === 'same' || log === 'new')) {
    // With the pages of another database over its own it is that one.
    putLogAside(path, now);
    log = 'other';
    found = look(path, mark, log);
  }
  found = found === 'uncounted' ? 0 : found;
  if (found === undefined || found >= mark.number) {
    return undefined;
  }
  const commits = mark.number - found;
  const file = basename(path);
  const note = `${file}.lost-${now}`;
  const why =
    found === 0
      ? `${file} was not there, or empty`
      : log === 'same' || log === 'new'
        ? `${file} or its log ${file}-wal is older than it was`
        : log === 'none'
          ? `its log ${file}-wal is gone`
          : `its log ${file}-wal was another one, which lies aside as ${file}-wal.damaged-${now}`;
  writeDurably(
    dirname(path),
    note,
    utf8(`at least ${commits} commits that were acknowledged are not in ${file}: ${why}\n`),
  );
  return { file, commits, note };
}

/** SQLite makes `-shm` of the log, and anew where it is missing. */
function putLogAside(path: string, now: number): void {
  renameSync(`${path}-wal`, `${path}-wal.damaged-${now}`);
  rmSync(`${path}-shm`, { force: true });
}

/** How many commits there are; undefined where it cannot be said and whoever opens it will say why. */
function look(path: string, mark: CommitMark, log: LogFound): number | 'uncounted' | undefined {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) {
    return 0;
  }
  let database: DatabaseSync | undefined;
  try {
    // One that only reads leaves everything as it is, however it ends.
    database = new DatabaseSync(path, { readOnly: true, timeout: 2000 });
    const found = commitsOf(database);
    if (found === undefined) {
      return 'uncounted';
    }
    const base = log === 'same' ? baseOfLog(path, countPage(database) ?? 0) : undefined;
    if (base !== undefined && base.inFile < base.atBegin - 1) {
      const between = base.atBegin - 1 - base.inFile;
      throw damaged(
        path,
        `it is older than its log ${basename(path)}-wal: ${between} commits lie between them`,
      );
    }
    // A log may be gone while some of it was folded back, and one that was not expected may be anybody's.
    const isDoubtful = found < mark.number || log === 'new' || (log !== 'same' && mark.salt !== 0);
    const check = isDoubtful ? database.prepare('PRAGMA integrity_check(1)').get()?.integrity_check : 'ok';
    if (check !== 'ok') {
      throw damaged(
        path,
        `${String(check).replaceAll(/\s+/g, ' ')}; ${mark.number} commits were acknowledged, it has ${found}`,
      );
    }
    return found;
  } catch (error) {
    if (isGatewayError(error)) {
      throw error;
    }
    return undefined;
  } finally {
    database?.close();
  }
}
