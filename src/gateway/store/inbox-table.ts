import type { DatabaseSync } from 'node:sqlite';
import type { Message } from '../message.ts';
import { deliveryAdvancer } from './delivery-table.ts';
import { messageIn } from './message-table.ts';

/** An app's inbox: the deliveries to its address, by their row numbers. */
export interface InboxJobs {
  /** These deliveries were given to the app. */
  'inbox.given': { args: { ids: readonly string[]; at: number }; result: undefined };
  /** Messages were shown on a stream: the app's own deliveries of them. */
  'inbox.pushed': { args: { recipient: string; messages: readonly string[]; at: number }; result: undefined };
  /** Everything up to a row is acknowledged; `more` where the job must be given again. */
  'inbox.acknowledge': { args: { recipient: string; upTo: number; at: number }; result: { more: boolean } };
  /** One message by itself; gives the row up to which all is acknowledged then. */
  'inbox.acknowledgeOne': {
    args: { recipient: string; message: string; at: number };
    result: { acknowledged: number };
  };
}

export interface InboxMark {
  readonly acknowledged: number;
  /** Rows up to here have been forgotten. */
  readonly forgotten: number;
}

export interface InboxRow {
  readonly seq: number;
  readonly id: string;
  readonly state: string;
  /** Undefined where the row is damaged. */
  readonly message: Message | undefined;
}

/** Deliveries acknowledged in one job, so that a long inbox does not hold up a group. */
const acknowledgeStep = 500;

export function inboxVerbs(database: DatabaseSync) {
  const advance = deliveryAdvancer(database);
  const unread = database.prepare(
    `SELECT id FROM deliveries WHERE recipient = ? AND bridge = 'app' AND state IN ('queued', 'sent') AND seq <= ?
     ORDER BY seq LIMIT ${acknowledgeStep}`,
  );
  const one = database.prepare(
    `SELECT d.id FROM messages m JOIN deliveries d ON d.message = m.seq
     WHERE d.recipient = ? AND d.bridge = 'app' AND m.id = ?
       AND (d.state IN ('queued', 'sent', 'delivered') OR instr(d.history, '"sent"') > 0)`,
  );
  const firstUnread = database.prepare(
    "SELECT min(seq) AS seq FROM deliveries WHERE recipient = ? AND bridge = 'app' AND state IN ('queued', 'sent')",
  );
  const last = database.prepare(
    "SELECT max(seq) AS seq FROM deliveries WHERE recipient = ? AND bridge = 'app'",
  );
  const mark = database.prepare(
    `INSERT INTO inbox_marks (recipient, acknowledged) VALUES (?, ?)
     ON CONFLICT (recipient) DO UPDATE SET acknowledged = max(acknowledged, excluded.acknowledged)`,
  );
  const marked = database.prepare('SELECT acknowledged FROM inbox_marks WHERE recipient = ?');
  return {
    'inbox.given'({ ids, at }: InboxJobs['inbox.given']['args']): undefined {
      for (const id of ids) {
        advance(id, { on: 'progress', state: 'sent' }, at);
      }
    },
    'inbox.pushed'({ recipient, messages, at }: InboxJobs['inbox.pushed']['args']): undefined {
      for (const message of messages) {
        for (const { id } of one.all(recipient, message) as { id: string }[]) {
          advance(id, { on: 'progress', state: 'sent' }, at);
        }
      }
    },
    'inbox.acknowledge'({ recipient, upTo, at }: InboxJobs['inbox.acknowledge']['args']) {
      const rows = unread.all(recipient, upTo) as { id: string }[];
      for (const { id } of rows) {
        advance(id, { on: 'progress', state: 'delivered' }, at);
      }
      mark.run(recipient, upTo);
      return { more: rows.length === acknowledgeStep };
    },
    'inbox.acknowledgeOne'({ recipient, message, at }: InboxJobs['inbox.acknowledgeOne']['args']) {
      for (const { id } of one.all(recipient, message) as { id: string }[]) {
        advance(id, { on: 'progress', state: 'delivered' }, at);
      }
      const first = (firstUnread.get(recipient) as { seq: number | null }).seq;
      const newest = (last.get(recipient) as { seq: number | null }).seq ?? 0;
      mark.run(recipient, first === null ? newest : first - 1);
      return { acknowledged: (marked.get(recipient) as { acknowledged: number }).acknowledged };
    },
  };
}

export function inboxReads(database: DatabaseSync) {
  const after = database.prepare(
    `SELECT d.seq, d.id, d.state, m.body FROM deliveries d JOIN messages m ON m.seq = d.message
     WHERE d.recipient = ? AND d.bridge = 'app' AND d.seq > ? AND d.state IN ('queued', 'sent', 'delivered', 'read')
       AND (d.state NOT IN ('queued', 'sent') OR d.expires_at > ?)
     ORDER BY d.seq LIMIT ?`,
  );
  const unread = database.prepare(
    `SELECT d.seq, d.id, d.state, m.body FROM deliveries d JOIN messages m ON m.seq = d.message
     WHERE d.recipient = ? AND d.bridge = 'app' AND d.seq > ? AND d.state IN ('queued', 'sent') AND d.expires_at > ?
     ORDER BY d.seq LIMIT ?`,
  );
  const marks = database.prepare('SELECT acknowledged, forgotten FROM inbox_marks WHERE recipient = ?');
  const newest = database.prepare(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'), 0) AS seq",
  );
  const upTo = database.prepare(
    `SELECT seq, event FROM deliveries WHERE recipient = ? AND bridge = 'app' AND seq <= ? ORDER BY seq DESC LIMIT 1`,
  );
  const firstUnread = database.prepare(
    `SELECT event FROM deliveries WHERE recipient = ? AND bridge = 'app' AND state IN ('queued', 'sent')
       AND expires_at > ? ORDER BY seq LIMIT 1`,
  );
  return {
    /** The newest row whose message was accepted by an event at or before this one: rows and events are in one order. */
    inboxRowAt(recipient: string, event: number): number {
      let found = 0;
      for (let low = 1, high = (newest.get() as { seq: number }).seq; low <= high; ) {
        const middle = Math.floor((low + high) / 2);
        const row = upTo.get(recipient, middle) as { seq: number; event: number } | undefined;
        if (row === undefined || row.event <= event) {
          found = row?.seq ?? found;
          low = middle + 1;
        } else {
          high = row.seq - 1;
        }
      }
      return found;
    },
    /** The event of the oldest message that is not acknowledged. */
    firstUnreadEvent: (recipient: string, now: number) =>
      (firstUnread.get(recipient, now) as { event: number } | undefined)?.event,
    /** Rows after one, oldest first; only what was not acknowledged by itself with `unreadOnly`. */
    inboxAfter(query: {
      recipient: string;
      seq: number;
      now: number;
      limit: number;
      unreadOnly: boolean;
    }): InboxRow[] {
      const rows = (query.unreadOnly ? unread : after).all(
        query.recipient,
        query.seq,
        query.now,
        query.limit,
      ) as unknown as { seq: number; id: string; state: string; body: string }[];
      return rows.map(({ body, ...row }) => ({ ...row, message: messageIn(body) }));
    },
    inboxMark: (recipient: string) =>
      (marks.get(recipient) as InboxMark | undefined) ?? { acknowledged: 0, forgotten: 0 },
    newestDelivery: () => (newest.get() as { seq: number }).seq,
  };
}
