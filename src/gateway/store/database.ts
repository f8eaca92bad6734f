import { chmodSync, closeSync, openSync, renameSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { GatewayError } from '../../lib/errors.ts';

/** Pages of 4 KiB: what a database may grow to before `store/full`. */
const pageSize = 4096;

export interface WritableOptions {
  readonly path: string;
  readonly schema: readonly string[];
  /** Bytes. */
  readonly limit: number;
}

/**
 * Opens a database for its one writer: WAL, every commit synced, the schema brought up to date.
 * Throws `store/unavailable` where the file was written by a newer version or cannot be opened.
 */
export function openWritable(options: WritableOptions): DatabaseSync {
  const database = attempt(options.path, () => {
    // SQLite gives its side files the mode of the database.
    closeSync(openSync(options.path, 'a', 0o600));
    chmodSync(options.path, 0o600);
    return new DatabaseSync(options.path, { timeout: 2000 });
  });
  try {
    attempt(options.path, () => {
      database.exec(`
        PRAGMA page_size = ${pageSize};
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = 0;
        PRAGMA journal_size_limit = ${64 * 1024 * 1024};
        PRAGMA temp_store = MEMORY;
      `);
    });
    migrate(database, options.path, options.schema);
    look(database, options.path);
    database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(options.limit / pageSize))}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * As `openWritable`, but a file that is damaged is put aside, with its log, and an empty one begun: for what the hub can do
 * without. It is never removed.
 */
export function openOrPutAside(options: WritableOptions, now: number): DatabaseSync {
  return orPutAside(options.path, now, () => openWritable(options));
}

/** What `open` gives; where it meets a damaged file, that is put aside, and it is tried once more. */
export function orPutAside<T>(path: string, now: number, open: () => T, onAside?: (name: string) => void): T {
  try {
    return open();
  } catch (error) {
    if (!isDamage(error)) {
      throw error;
    }
    putAside(path, now);
    onAside?.(`${path}.damaged-${now}`);
    return open();
  }
}

/** Moves a database and what lies beside it to another name: `PATH.damaged-MS`. */
export function putAside(path: string, now: number): void {
  for (const suffix of ['', '-wal', '-shm', '-mark']) {
    if (statSync(path + suffix, { throwIfNoEntry: false }) !== undefined) {
      renameSync(path + suffix, `${path}.damaged-${now}${suffix}`);
    }
  }
}

/** Whether an error, or what caused it, says that a file is no whole database. */
export function isDamage(error: unknown): boolean {
  const { errcode, cause, detail } = error as {
    errcode?: number;
    cause?: unknown;
    detail?: { damaged?: unknown };
  };
  const primary = errcode === undefined ? undefined : errcode & 0xff;
  return (
    primary === sqliteCorrupt ||
    primary === sqliteNotADatabase ||
    detail?.damaged === true ||
    (cause !== undefined && isDamage(cause))
  );
}

/** Opens a database that exists for reading beside its writer. */
export function openReadable(path: string): DatabaseSync {
  return attempt(path, () => new DatabaseSync(path, { readOnly: true, timeout: 2000 }));
}

/** An error of SQLite or of the file system as ours: `store/full` or `store/unavailable`; others unchanged. */
export function storeError(error: unknown): unknown {
  const { errcode, code } = error as { errcode?: number; code?: string };
  const primary = errcode === undefined ? undefined : errcode & 0xff;
  if (primary === sqliteFull || code === 'ENOSPC' || code === 'EDQUOT') {
    return new GatewayError('store/full', 'no room left to store anything', {
      retryable: true,
      cause: error,
    });
  }
  if ((primary !== undefined && unavailable.has(primary)) || code === 'EIO' || code === 'EROFS') {
    return new GatewayError('store/unavailable', `the store cannot be written: ${(error as Error).message}`, {
      retryable: true,
      cause: error,
    });
  }
  return error;
}

/** An error of SQLite while reading as `store/unavailable`, whatever it is: a read asks for nothing that could be wrong. */
export function readError(error: unknown): unknown {
  const ours = storeError(error);
  const { code } = ours as { code?: string };
  return code === 'ERR_SQLITE_ERROR' || code === 'ERR_OUT_OF_RANGE'
    ? new GatewayError('store/unavailable', `the store cannot be read: ${(error as Error).message}`, {
        retryable: true,
        cause: error,
      })
    : ours;
}

const sqliteFull = 13;
const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;
/** Bytes up to which a database is looked through as it is opened: some tens of ms. Larger ones are when they are backed up. */
const looksThrough = 16 * 1024 * 1024;
/** Busy, locked, read-only, I/O, corrupt, cannot open, not a database. */
const unavailable: ReadonlySet<number> = new Set([5, 6, 8, 10, 11, 14, 26]);

function migrate(database: DatabaseSync, path: string, schema: readonly string[]): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > schema.length) {
    throw new GatewayError(
      'store/unavailable',
      `${path} was written by a newer version of this program (schema ${version}, known up to ${schema.length})`,
    );
  }
  for (let step = version; step < schema.length; step++) {
    try {
      database.exec(`BEGIN IMMEDIATE; ${schema[step]} PRAGMA user_version = ${step + 1}; COMMIT;`);
    } catch (cause) {
      const ours = storeError(cause);
      throw new GatewayError(
        ours instanceof GatewayError ? ours.code : 'store/unavailable',
        `${path} cannot be brought from schema ${step} to ${step + 1}: ${(cause as Error).message}. Nothing was changed`,
        { cause },
      );
    }
  }
}

/** Throws `store/unavailable` where the file is no whole database. What a flipped bit made of somebody's words cannot be told. */
export function look(database: DatabaseSync, path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > looksThrough) {
    return;
  }
  const found = attempt(path, () => database.prepare('PRAGMA quick_check(1)').get()?.quick_check);
  if (found !== 'ok') {
    throw damaged(path, String(found).replaceAll(/\s+/g, ' '));
  }
}

/** That a file is no whole database, for people. */
export function damaged(path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError(
    'store/unavailable',
    `${path} is damaged (${why}). Nothing was changed. Copy the data folder away, then put a backup back (kosctl restore), or move this file and its -wal aside to begin without it`,
    { detail: { damaged: true }, cause },
  );
}

function attempt<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (isDamage(error)) {
      throw damaged(path, (error as Error).message, error);
    }
    const ours = storeError(error);
    if (ours instanceof GatewayError) {
      throw new GatewayError(ours.code, `${path}: ${(error as Error).message}`, { cause: error });
    }
    throw error;
  }
}
