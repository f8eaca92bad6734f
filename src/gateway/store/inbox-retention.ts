import type { DatabaseSync } from 'node:sqlite';
import { deliveryAdvancer } from './delivery-table.ts';
import type { Sweeper } from './retention.ts';

/** Rows removed, and inboxes looked at, in one job. */
const step = 100;
const inboxStep = 50;

interface Row {
  readonly seq: number;
  readonly id: string;
  readonly accepted_at: number;
  readonly unread: number;
}

/**
 * Forgets what was read long ago, from the beginning of each inbox up to the first message that nobody has read:
 * that one stays until it expires, unless the inbox is crowded; then it expires at once, and its sender is told.
 */
export function inboxSweeper(database: DatabaseSync): Sweeper {
  const advance = deliveryAdvancer(database);
  const nextInbox = database.prepare(
    "SELECT min(recipient) AS recipient FROM deliveries WHERE bridge = 'app' AND recipient > ?",
  );
  const oldest = database.prepare(
    `SELECT seq, id, accepted_at, state IN ('queued', 'sent') AS unread FROM deliveries
     WHERE recipient = ? AND bridge = 'app' ORDER BY seq LIMIT ${step}`,
  );
  const newest = database.prepare(
    "SELECT max(seq) AS seq FROM deliveries WHERE recipient = ? AND bridge = 'app'",
  );
  const crowd = database.prepare(
    `SELECT seq FROM deliveries WHERE recipient = ? AND bridge = 'app' ORDER BY seq DESC LIMIT 1 OFFSET ?`,
  );
  const remove = database.prepare('DELETE FROM deliveries WHERE seq = ?');
  const forget = database.prepare(
    `INSERT INTO inbox_marks (recipient, forgotten) VALUES (?, ?)
     ON CONFLICT (recipient) DO UPDATE SET forgotten = max(forgotten, excluded.forgotten)`,
  );
  let position = '';

  /** The row up to which there are too many. The search for it is long and mostly for nothing: one of them in a job. */
  function crowdedTo(recipient: string, first: number, most: number): { to: number; searched: boolean } {
    const { seq } = newest.get(recipient) as { seq: number };
    const searched = seq - first >= most;
    const found = searched ? (crowd.get(recipient, most) as { seq: number } | undefined) : undefined;
    return { to: found?.seq ?? 0, searched };
  }

  return ({ now, limits, pressed }) => {
    const cut = pressed ? now : now - limits.inboxAge;
    for (let looked = 0; looked < inboxStep; looked++) {
      const { recipient } = nextInbox.get(position) as { recipient: string | null };
      if (recipient === null) {
        position = '';
        return false;
      }
      const rows = oldest.all(recipient) as unknown as Row[];
      const { to: crowded, searched } = crowdedTo(recipient, rows[0]?.seq ?? 0, limits.inboxCount);
      let forgotten = 0;
      let gone = 0;
      for (const row of rows) {
        const old = row.accepted_at < cut && row.unread === 0;
        if (!old && row.seq > crowded) {
          break;
        }
        if (row.unread === 1) {
          advance(row.id, { on: 'expire', unread: true }, now);
        }
        remove.run(row.seq);
        forgotten = row.seq;
        gone += 1;
      }
      if (forgotten > 0) {
        forget.run(recipient, forgotten);
      }
      if (gone === step) {
        return true;
      }
      position = recipient;
      if (gone > 0 || searched) {
        return true;
      }
    }
    return true;
  };
}

/** Ends what nobody read in time. */
export function lateSweeper(database: DatabaseSync): Sweeper {
  const advance = deliveryAdvancer(database);
  const late = database.prepare(
    `SELECT id FROM deliveries WHERE bridge = 'app' AND state IN ('queued', 'sent') AND expires_at <= ?
     ORDER BY expires_at LIMIT ${step}`,
  );
  return ({ now }) => {
    const rows = late.all(now) as { id: string }[];
    const ended = rows.filter(({ id }) => advance(id, { on: 'expire', unread: true }, now) !== undefined);
    return rows.length === step && ended.length > 0;
  };
}
