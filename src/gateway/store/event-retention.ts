import type { DatabaseSync } from 'node:sqlite';
import type { Sweeper } from './retention.ts';
import { isKeptEvent } from './schema.ts';

/** Rows looked at and removed in one job, and counted in one. */
const step = 200;
const countStep = 2000;

interface Row {
  readonly seq: number;
  readonly at: number;
  readonly kind: string;
  readonly message: string | null;
  readonly kept: number;
}

/**
 * Forgets events of messages and deliveries, oldest first, but for the `message.accepted` of what somebody has not
 * read yet; `meta` keeps how far, so that a cursor before it is known to have expired.
 */
export function eventSweeper(database: DatabaseSync): Sweeper {
  const count = database.prepare(
    `SELECT count(*) AS rows, max(seq) AS last, coalesce(sum(${isKeptEvent}), 0) AS kept
     FROM (SELECT seq, kind FROM events WHERE seq > ? ORDER BY seq LIMIT ${countStep})`,
  );
  const after = database.prepare(
    `SELECT seq, at, kind, message, ${isKeptEvent} AS kept FROM events WHERE seq > ? ORDER BY seq LIMIT ${step}`,
  );
  const unread = database.prepare(
    `SELECT 1 FROM messages m JOIN deliveries d ON d.message = m.seq
     WHERE m.id = ? AND d.bridge = 'app' AND d.state IN ('queued', 'sent') AND d.expires_at > ? LIMIT 1`,
  );
  const remove = database.prepare('DELETE FROM events WHERE seq = ?');
  const forget = database.prepare(
    `INSERT INTO meta (key, value) VALUES ('eventsForgotten', ?1)
     ON CONFLICT (key) DO UPDATE SET value = ?1 WHERE CAST(value AS INTEGER) < CAST(?1 AS INTEGER)`,
  );
  /** Events of messages and deliveries up to `counted`: found out in steps, because a count reads everything. */
  let kept = 0;
  let counted = 0;
  let position = 0;
  /** Events before the position that stay: they are beyond the number that is kept of all. */
  let spared = 0;
  return ({ now, limits, pressed }) => {
    const found = count.get(counted) as { rows: number; last: number | null; kept: number };
    counted = found.last ?? counted;
    kept += found.kept;
    if (found.rows === countStep) {
      return true;
    }
    const cut = pressed ? now : now - limits.eventAge;
    const rows = after.all(position) as unknown as Row[];
    let forgotten = 0;
    let over = rows.length < step;
    for (const row of rows) {
      const crowded = kept - spared > limits.eventCount;
      if (row.at >= cut && !crowded) {
        over = true;
        break;
      }
      position = row.seq;
      if (row.kept === 0) {
        if (row.at < cut) {
          remove.run(row.seq);
        }
      } else if (row.kind !== 'message.accepted' || unread.get(row.message, now) === undefined) {
        remove.run(row.seq);
        kept -= 1;
        forgotten = row.seq;
      } else {
        spared += 1;
      }
    }
    if (forgotten > 0) {
      forget.run(String(forgotten));
    }
    if (over) {
      position = 0;
      spared = 0;
    }
    return !over;
  };
}

/** Forgets events of peers, paths, interfaces and health: each has a newer one, so nobody is told that they are gone. */
export function otherEventSweeper(database: DatabaseSync): Sweeper {
  const remove = database.prepare(
    `DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE NOT (${isKeptEvent}) AND seq <=
       (SELECT seq FROM events WHERE NOT (${isKeptEvent}) ORDER BY seq DESC LIMIT 1 OFFSET ?)
       ORDER BY seq LIMIT ${step})`,
  );
  return ({ limits }) => Number(remove.run(limits.otherEventCount).changes) >= step;
}
