import type { DatabaseSync } from 'node:sqlite';

export interface TimeJobs {
  /**
   * Moves the times of some rows after `after` by `by` ms, if they were written by the clock that said `was` when it was
   * set. `next` is the row to go on after, where there may be more.
   */
  'time.move': {
    args: { table: 'messages' | 'deliveries' | 'events'; after: number; was: number; by: number };
    result: { next: number | undefined };
  };
  /** What is open or unread and was accepted before a time that cannot be is moved on, the newest of it to `now`. */
  'time.mend': { args: { before: number; now: number }; result: { by: number } };
}

/** Rows of one job. */
const step = 500;
/** ms for which rows of the clock as it is now are not taken for those of the clock as it was. */
const fresh = 5000;

const moveBody = `json_set(body, '$.acceptedAt', body ->> 'acceptedAt' + :by, '$.expiresAt', body ->> 'expiresAt' + :by,
  '$.sentAt', CASE WHEN body ->> 'sentAt' = body ->> 'acceptedAt' THEN body ->> 'sentAt' + :by ELSE body ->> 'sentAt' END)`;

/** What is open or unread and was accepted before a time: by the indexes of such rows. */
const earlyQuery = `
  SELECT seq, message, accepted_at FROM deliveries
    WHERE bridge <> 'app' AND (state IN ('queued', 'sending') OR underway = 1) AND accepted_at < :before
  UNION SELECT seq, message, accepted_at FROM deliveries
    WHERE bridge = 'app' AND state IN ('queued', 'sent') AND accepted_at < :before`;

export function timeReads(database: DatabaseSync) {
  const early = database.prepare(`${earlyQuery} LIMIT 1`);
  return { hasEarly: (before: number) => early.get({ before }) !== undefined };
}

export function timeVerbs(database: DatabaseSync) {
  const move = {
    messages: database.prepare(
      `UPDATE messages SET accepted_at = accepted_at + :by, body = ${moveBody}
       WHERE seq > :after AND seq <= :last AND accepted_at BETWEEN :from AND :was AND json_valid(body)`,
    ),
    deliveries: database.prepare(
      `UPDATE deliveries SET accepted_at = accepted_at + :by, expires_at = expires_at + :by, next_at = next_at + :by
       WHERE seq > :after AND seq <= :last AND accepted_at BETWEEN :from AND :was`,
    ),
    events: database.prepare(
      'UPDATE events SET at = at + :by WHERE seq > :after AND seq <= :last AND at BETWEEN :from AND :was',
    ),
  };
  const newest = {
    messages: database.prepare('SELECT max(seq) AS seq FROM messages'),
    deliveries: database.prepare('SELECT max(seq) AS seq FROM deliveries'),
    events: database.prepare('SELECT max(seq) AS seq FROM events'),
  };
  const early = database.prepare(earlyQuery);
  const mendDelivery = database.prepare(
    'UPDATE deliveries SET accepted_at = accepted_at + :by, expires_at = expires_at + :by WHERE seq = :seq',
  );
  const mendMessage = database.prepare(
    `UPDATE messages SET accepted_at = accepted_at + :by, body = ${moveBody}
     WHERE seq = :seq AND accepted_at < :before AND json_valid(body)`,
  );
  return {
    'time.move'({ table, after, was, by }: TimeJobs['time.move']['args']): TimeJobs['time.move']['result'] {
      const last = after + step;
      // A clock that was ahead: what is accepted by now lies before all that was accepted then.
      const from = by > 0 ? 0 : was + by + fresh;
      move[table].run({ after, last, was, by, from });
      const { seq } = newest[table].get() as { seq: number | null };
      return { next: (seq ?? 0) > last ? last : undefined };
    },
    'time.mend'({ before, now }: TimeJobs['time.mend']['args']): TimeJobs['time.mend']['result'] {
      const rows = early.all({ before }) as { seq: number; message: number; accepted_at: number }[];
      if (rows.length === 0) {
        return { by: 0 };
      }
      const by = now - rows.reduce((latest, row) => Math.max(latest, row.accepted_at), 0);
      for (const row of rows) {
        mendDelivery.run({ by, seq: row.seq });
        mendMessage.run({ by, seq: row.message, before });
      }
      return { by };
    },
  };
}
