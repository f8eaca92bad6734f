import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { look, orPutAside } from './database.ts';

/** A small database of one bridge. */
export interface SideDatabase extends Disposable {
  readonly database: DatabaseSync;
  /** What the action gives. Throws `store/unavailable`, retryable, for whatever goes wrong in it. */
  guarded<T>(action: () => T): T;
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
 * fsync unless its user asks for one. A damaged file is put aside with its log, never removed: it may hold what was
 * acknowledged. Throws `store/unavailable`.
 */
export function openSideDatabase(options: SideDatabaseOptions): SideDatabase {
  const { file, name, now, onAside } = options;
  const guarded = <T>(action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw isGatewayError(cause)
        ? cause
        : new GatewayError('store/unavailable', `${name} cannot be written`, { retryable: true, cause });
    }
  };
  const database = guarded(() => orPutAside(file, now, () => open(options), onAside));
  return { database, guarded, [Symbol.dispose]: () => database.close() };
}

function open({ file, schema }: SideDatabaseOptions): DatabaseSync {
  if (file !== ':memory:') {
    // SQLite gives its side files the mode of the database.
    closeSync(openSync(file, 'a', 0o600));
  }
  const database = new DatabaseSync(file);
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; ${schema}`);
    look(database, file);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
