import type { DatabaseSync } from 'node:sqlite';
import { deliveryAdvancer } from './delivery-table.ts';

export interface RetentionLimits {
  /** ms an event is kept, and how many at most. */
  readonly eventAge: number;
  readonly eventCount: number;
  /** ms an inbox row is kept, and how many per client at most. */
  readonly inboxAge: number;
  readonly inboxCount: number;
  /** ms a message is kept once nothing of it is open, and how many at most. */
  readonly messageAge: number;
  readonly messageCount: number;
}

export interface RetentionJobs {
  /** How the writer keeps its word: what a test asserts, because kill -9 does not prove a sync. */
  pragmas: { args: Record<string, never>; result: { journal_mode: string; synchronous: number } };
  /** Forgets what is too old or too much, a bounded step at a time; `more` where it must be given again. */
  'retention.sweep': { args: { now: number; limits: RetentionLimits }; result: { more: boolean } };
}

/** Senders whose newest reading is kept: far ones cost nothing to invent. */
const readingCount = 10_000;
/** Rows removed in one job: a sweep must not hold up a group. */
const sweepStep = 500;

export function retentionVerbs(database: DatabaseSync) {
  const advance = deliveryAdvancer(database);
  const late = database.prepare(
    `SELECT id FROM deliveries WHERE bridge = 'app' AND state IN ('queued', 'sent') AND expires_at <= ? LIMIT ${sweepStep}`,
  );
  // Events and messages are in the order of time: the first one young enough ends the search.
  const oldEvents = database.prepare(
    `DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq < coalesce(
       (SELECT seq FROM events WHERE at >= ? ORDER BY seq LIMIT 1), 9e15) ORDER BY seq LIMIT ${sweepStep})`,
  );
  const manyEvents = database.prepare(
    `DELETE FROM events WHERE seq IN
       (SELECT seq FROM events WHERE seq <= (SELECT max(seq) FROM events) - ? ORDER BY seq LIMIT ${sweepStep})`,
  );
  const inboxes = database.prepare(
    `WITH RECURSIVE each (recipient) AS (
       SELECT min(recipient) FROM deliveries WHERE bridge = 'app'
       UNION ALL
       SELECT (SELECT min(recipient) FROM deliveries WHERE bridge = 'app' AND recipient > each.recipient)
       FROM each WHERE each.recipient IS NOT NULL)
     SELECT recipient FROM each WHERE recipient IS NOT NULL`,
  );
  const oldInbox = database.prepare(
    `SELECT seq FROM deliveries WHERE recipient = ? AND bridge = 'app' AND accepted_at < ? ORDER BY seq LIMIT ${sweepStep}`,
  );
  const crowdedInbox = database.prepare(
    `SELECT seq FROM deliveries WHERE recipient = ?1 AND bridge = 'app' AND seq <= coalesce(
       (SELECT seq FROM deliveries WHERE recipient = ?1 AND bridge = 'app' ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0)
     ORDER BY seq LIMIT ${sweepStep}`,
  );
  const removeDelivery = database.prepare('DELETE FROM deliveries WHERE seq = ?');
  const forget = database.prepare(
    `INSERT INTO inbox_marks (recipient, forgotten) VALUES (?, ?)
     ON CONFLICT (recipient) DO UPDATE SET forgotten = max(forgotten, excluded.forgotten)`,
  );
  const manyReadings = database.prepare(
    `DELETE FROM readings WHERE device IN
       (SELECT device FROM readings ORDER BY at DESC LIMIT ${sweepStep} OFFSET ?)`,
  );
  const oldMessages = database.prepare(
    `SELECT seq FROM messages m WHERE seq < max(
         coalesce((SELECT seq FROM messages WHERE accepted_at >= ?1 ORDER BY seq LIMIT 1), 9e15),
         (SELECT max(seq) FROM messages) - ?2 + 1)
       AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message = m.seq
         AND (d.state IN ('queued', 'sending') OR d.underway = 1 OR d.bridge = 'app'))
       AND NOT EXISTS (SELECT 1 FROM readings r WHERE r.message = m.seq)
     ORDER BY seq LIMIT ${sweepStep}`,
  );
  const removeOf = [
    'DELETE FROM remembered WHERE delivery IN (SELECT seq FROM deliveries WHERE message = ?)',
    'DELETE FROM deliveries WHERE message = ?',
    'DELETE FROM remote_ids WHERE message = ?',
    'DELETE FROM message_blobs WHERE message = ?',
    'DELETE FROM messages WHERE seq = ?',
  ].map(sql => database.prepare(sql));

  return {
    pragmas() {
      const { journal_mode } = database.prepare('PRAGMA journal_mode').get() as { journal_mode: string };
      const { synchronous } = database.prepare('PRAGMA synchronous').get() as { synchronous: number };
      return { journal_mode, synchronous };
    },
    'retention.sweep'({ now, limits }: RetentionJobs['retention.sweep']['args']) {
      let more = false;
      const swept = (count: number | bigint) => {
        more ||= Number(count) >= sweepStep;
      };
      const expired = late.all(now) as { id: string }[];
      for (const { id } of expired) {
        advance(id, { on: 'expire' }, now);
      }
      swept(expired.length);
      swept(oldEvents.run(now - limits.eventAge).changes);
      swept(manyEvents.run(limits.eventCount).changes);
      for (const { recipient } of inboxes.all() as { recipient: string }[]) {
        for (const rows of [
          oldInbox.all(recipient, now - limits.inboxAge),
          crowdedInbox.all(recipient, limits.inboxCount),
        ]) {
          for (const { seq } of rows as { seq: number }[]) {
            removeDelivery.run(seq);
            forget.run(recipient, seq);
          }
          swept(rows.length);
        }
      }
      swept(manyReadings.run(readingCount).changes);
      const messages = oldMessages.all(now - limits.messageAge, limits.messageCount) as { seq: number }[];
      for (const { seq } of messages) {
        for (const statement of removeOf) {
          statement.run(seq);
        }
      }
      swept(messages.length);
      return { more };
    },
  };
}
