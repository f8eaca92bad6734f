import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { isGatewayError } from '../../lib/errors.ts';
import { auditVerbs } from './audit-table.ts';
import { blobVerbs } from './blob-table.ts';
import { clientVerbs } from './client-table.ts';
import { storeError } from './database.ts';
import { deliveryVerbs } from './delivery-table.ts';
import { eventVerbs } from './event-table.ts';
import { inboxVerbs } from './inbox-table.ts';
import type { GatewayJobs, Verbs } from './job.ts';
import { messageVerbs } from './message-table.ts';
import { noteVerbs } from './note-table.ts';
import { peerVerbs } from './peer-table.ts';
import { residentVerbs } from './resident-table.ts';
import { retentionVerbs } from './retention.ts';
import { roomVerbs } from './room-table.ts';
import { timeVerbs } from './time-table.ts';
import { webhookVerbs } from './webhook-table.ts';

/** Every verb the writer of gateway.db knows. */
export function gatewayVerbs(database: DatabaseSync): Verbs<GatewayJobs> {
  return {
    ...messageVerbs(database),
    ...deliveryVerbs(database),
    ...inboxVerbs(database),
    ...clientVerbs(database),
    ...eventVerbs(database),
    ...peerVerbs(database),
    ...residentVerbs(database),
    ...roomVerbs(database),
    ...noteVerbs(database),
    ...blobVerbs(database),
    ...retentionVerbs(database),
    ...timeVerbs(database),
    ...auditVerbs(database),
    ...webhookVerbs(database),
  };
}

/**
 * Counts this start of the hub, unless it is another writer of the same process. `epoch` is made with the
 * database and stays: cursors carry it, so that one of another data directory is told apart.
 */
export function generation(database: DatabaseSync, counts: boolean): { boot: number; epoch: string } {
  const get = database.prepare('SELECT value FROM meta WHERE key = ?');
  const put = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
  const boot = Number(get.get('boot')?.value ?? 0) + (counts ? 1 : 0);
  const epoch = String(get.get('epoch')?.value ?? randomBytes(2).toString('hex'));
  if (counts) {
    try {
      database.exec('BEGIN IMMEDIATE');
      put.run('boot', String(boot));
      put.run('epoch', epoch);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) {
        database.exec('ROLLBACK');
      }
      // A full disk keeps nobody from starting and reading; a number that is not kept is given again.
      if (boot === 1 || !isGatewayError(storeError(error), 'store/full')) {
        throw error;
      }
    }
  }
  return { boot, epoch };
}
