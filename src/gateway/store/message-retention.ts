import type { DatabaseSync } from 'node:sqlite';
import type { Sweeper } from './retention.ts';

/** Messages looked at and removed in one job, and owners of blobs. */
const lookStep = 250;
const removeStep = 50;

/** Forgets messages of which nothing is open or in an inbox, with all that names them, oldest first. */
export function messageSweeper(database: DatabaseSync): Sweeper {
  const after = database.prepare(
    `SELECT seq, accepted_at FROM messages WHERE seq > ? ORDER BY seq LIMIT ${lookStep}`,
  );
  const newest = database.prepare('SELECT max(seq) AS seq FROM messages');
  const needed = database.prepare(
    `SELECT 1 FROM deliveries WHERE message = ?1
       AND (state IN ('queued', 'sending') OR underway = 1 OR bridge = 'app')
     UNION ALL SELECT 1 FROM readings WHERE message = ?1 LIMIT 1`,
  );
  const removeOf = [
    'DELETE FROM remembered WHERE delivery IN (SELECT seq FROM deliveries WHERE message = ?)',
    'DELETE FROM rewritten WHERE delivery IN (SELECT seq FROM deliveries WHERE message = ?)',
    'DELETE FROM ruled WHERE delivery IN (SELECT seq FROM deliveries WHERE message = ?)',
    'DELETE FROM deliveries WHERE message = ?',
    'DELETE FROM remote_ids WHERE message = ?',
    'DELETE FROM message_blobs WHERE message = ?',
    'DELETE FROM messages WHERE seq = ?',
  ].map(sql => database.prepare(sql));
  const forgetRulings = database.prepare(
    'DELETE FROM rulings WHERE NOT EXISTS (SELECT 1 FROM ruled WHERE ruling = rulings.seq)',
  );
  let position = 0;
  return ({ now, limits, pressed }) => {
    const cut = pressed ? now : now - limits.messageAge;
    const crowded = ((newest.get() as { seq: number | null }).seq ?? 0) - limits.messageCount;
    const rows = after.all(position) as { seq: number; accepted_at: number }[];
    let removed = 0;
    for (const { seq, accepted_at } of rows) {
      if (accepted_at >= cut && seq > crowded) {
        position = 0;
        forgetRulings.run();
        return false;
      }
      if (removed === removeStep) {
        return true;
      }
      position = seq;
      if (needed.get(seq) === undefined) {
        for (const statement of removeOf) {
          statement.run(seq);
        }
        removed += 1;
      }
    }
    if (rows.length < lookStep) {
      position = 0;
      forgetRulings.run();
      return false;
    }
    return true;
  };
}

/** Forgets who put a blob there, a while ago, that no message names. */
export function blobOwnerSweeper(database: DatabaseSync): Sweeper {
  const after = database.prepare(
    `SELECT sha256, client, at < ? AND NOT EXISTS (SELECT 1 FROM message_blobs b WHERE b.sha256 = o.sha256) AS idle
     FROM blob_owners o WHERE (sha256, client) > (?, ?) ORDER BY sha256, client LIMIT ${lookStep}`,
  );
  const remove = database.prepare('DELETE FROM blob_owners WHERE sha256 = ? AND client = ?');
  let position = { sha256: '', client: '' };
  return ({ now, limits }) => {
    const rows = after.all(now - limits.orphanAge, position.sha256, position.client) as {
      sha256: string;
      client: string;
      idle: number;
    }[];
    for (const row of rows) {
      position = row;
      if (row.idle === 1) {
        remove.run(row.sha256, row.client);
      }
    }
    if (rows.length < lookStep) {
      position = { sha256: '', client: '' };
      return false;
    }
    return true;
  };
}
