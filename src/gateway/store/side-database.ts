import { closeSync, openSync, statSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { look, orPutAside } from './database.ts';
import { createSideLog, type SideLog } from './side-log.ts';

/** A small database of one bridge. */
export interface SideDatabase extends Disposable {
  readonly database: DatabaseSync;
  /** What the action gives. Throws `store/unavailable`, retryable, for whatever goes wrong in it. */
  guarded<T>(action: () => T): T;
  /** Resolves when what was written before is on disk, against power cuts too, without stopping anybody. Throws `store/unavailable`. */
  synced(): Promise<void>;
}

export interface SideDatabaseOptions {
  /** `:memory:` for none. */
  readonly file: string;
  /** What makes its tables where they are not there. */
  readonly schema: string;
  /** What it is, for people: `the journal of the broker`. */
  readonly name: string;
  /** ms epoch: names what is put aside. */
  readonly now: number;
  /** A damaged file lies aside under this path, and an empty one was begun. */
  readonly onAside?: (path: string) => void;
}

/**
 * Opens the SQLite file of a bridge: what it must know again after a kill and the switch does not keep. Written without an
 * fsync unless its user asks for one, and folded by another thread. A damaged file is put aside with its log, never removed: it may hold what was
 * acknowledged. Throws `store/unavailable`.
 */
export function openSideDatabase(options: SideDatabaseOptions): SideDatabase {
  const { file, name, now, onAside } = options;
  const failure = (cause: unknown) =>
    isGatewayError(cause)
      ? cause
      : new GatewayError('store/unavailable', `${name} cannot be written`, { retryable: true, cause });
  let log: SideLog | undefined;
  const guarded = <T>(action: () => T): T => {
    try {
      const result = action();
      log?.look();
      return result;
    } catch (cause) {
      throw failure(cause);
    }
  };
  const database = guarded(() => orPutAside(file, now, () => open(options), onAside));
  if (file !== ':memory:') {
    log = createSideLog(database, { path: file, inode: statSync(file).ino });
  }
  return {
    database,
    guarded,
    async synced() {
      if (file === ':memory:') {
        return;
      }
      try {
        // What is not in the log any more was synced by whoever folded it.
        await using wal = await openFile(`${file}-wal`, 'r+');
        await wal.datasync();
      } catch (cause) {
        throw failure(cause);
      }
    },
    [Symbol.dispose]() {
      log?.[Symbol.dispose]();
      database.close();
    },
  };
}

function open({ file, schema }: SideDatabaseOptions): DatabaseSync {
  if (file !== ':memory:') {
    // SQLite gives its side files the mode of the database.
    closeSync(openSync(file, 'a', 0o600));
  }
  const database = new DatabaseSync(file);
  try {
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; ${schema}`,
    );
    look(database, file);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
