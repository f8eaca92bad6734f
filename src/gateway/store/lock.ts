import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { storeError } from './database.ts';

/**
 * One data directory, one process. The lock is a write transaction left open in a tiny database: the
 * kernel gives it up with its holder, however that ends, and it means the same in a container, where
 * every pid is 1. Nothing else may open the file: closing any descriptor of it in this process would
 * give the lock up as well. Throws `store/unavailable` that names the holder's pid.
 */
export function lockDirectory(directory: string): Disposable {
  const path = join(directory, 'lock.db');
  const database = openLock(path);
  try {
    chmodSync(path, 0o600);
    database.exec('BEGIN IMMEDIATE');
    sign(database);
  } catch (cause) {
    const ours = storeError(cause);
    const who = holder(database);
    database.close();
    if (isGatewayError(ours, 'store/full') || (ours instanceof GatewayError && !isBusy(cause))) {
      throw new GatewayError(ours.code, `${path} cannot be locked: ${(cause as Error).message}`, { cause });
    }
    throw new GatewayError('store/unavailable', `${directory} is in use by another gateway${who}`, { cause });
  }
  return { [Symbol.dispose]: () => database.close() };
}

function openLock(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path);
  } catch (cause) {
    throw new GatewayError('store/unavailable', `${path} cannot be opened: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function isBusy(error: unknown): boolean {
  const { errcode = 0 } = error as { errcode?: number };
  return [5, 6].includes(errcode & 0xff);
}

/** Leaves word of the holder, for people: on a disk that is full, or fails, there is none, and the lock holds all the same. */
function sign(database: DatabaseSync): void {
  try {
    database.exec(`
      CREATE TABLE IF NOT EXISTS holder (pid INTEGER NOT NULL, since TEXT NOT NULL) STRICT;
      DELETE FROM holder;
      INSERT INTO holder VALUES (${process.pid}, datetime('now'));
      COMMIT;
      BEGIN IMMEDIATE;
    `);
  } catch (error) {
    if (isBusy(error)) {
      throw error;
    }
    if (!database.isTransaction) {
      database.exec('BEGIN IMMEDIATE');
    }
  }
}

function holder(database: DatabaseSync): string {
  try {
    const row = database.prepare('SELECT pid, since FROM holder').get();
    return row === undefined ? '' : ` (pid ${row.pid}, since ${row.since} UTC)`;
  } catch {
    return '';
  }
}
