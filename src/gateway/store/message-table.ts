import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { GatewayError } from '../../lib/errors.ts';
import type { DeliveryId } from '../bridge.ts';
import type { Fold } from '../folding.ts';
import type { Address, Message, MessageId, RemoteId } from '../message.ts';
import { type Ended, missedBy } from '../missed.ts';
import type { Reached } from '../router.ts';
import type { Ruling } from '../ruling.ts';
import { deliveryAdvancer, rewriter } from './delivery-table.ts';
import { audienceText } from './event-table.ts';
import { newDeliveryBody } from './new-delivery.ts';
import { type AcceptArgs, isBare, type PackedAccept, packAccept, unpackAccept } from './packed-accept.ts';
import { rowWriter } from './row-writer.ts';

export type AcceptResult =
  | {
      readonly repeated: false;
      /** Rows of the deliveries, in the order given. */
      readonly seqs: readonly number[];
    }
  | {
      readonly repeated: true;
      readonly id: MessageId /** Whether the fingerprint is the first one's. */;
      readonly same: boolean;
    };

export interface MessageJobs {
  /** Message, deliveries, remote id and events at once, or the id the remote id had before. */
  accept: { args: PackedAccept; result: AcceptResult };
  /** The same of several for which `isPlainAccept` holds. */
  acceptPlain: { args: readonly PackedAccept[]; result: readonly AcceptResult[] };
  /** The same of several, of which all are new or all are known: `request/idempotency-mismatch` otherwise, and nothing is written. */
  acceptAll: { args: readonly AcceptArgs[]; result: readonly AcceptResult[] };
}

export interface MessageRow {
  readonly seq: number;
  readonly body: string;
}

export function messageVerbs(database: DatabaseSync) {
  const known = database.prepare(knownQuery);
  const exists = database.prepare('SELECT seq FROM messages WHERE id = ?');
  const identify = database.prepare(
    'INSERT INTO remote_ids (scheme, remote_id, message, fingerprint, known_to) VALUES (?, ?, ?, ?, ?)',
  );
  const insert = rowWriter(
    database,
    'messages (id, type, sender, recipient, accepted_at, correlation, body)',
    '?, ?, ?, ?, ?, ?, ?',
  );
  const tell = rowWriter(database, 'events (at, kind, message, body, audience)', '?, ?, ?, ?, ?');
  const deliver = rowWriter(
    database,
    `deliveries (id, message, bridge, recipient, priority, accepted_at, expires_at, state, reason, code,
       attempts, underway, history, event)`,
    '?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?',
  );
  const remember = database.prepare('INSERT INTO remembered (delivery, bytes) VALUES (?, ?)');
  const name = database.prepare(
    'INSERT OR IGNORE INTO remote_ids (scheme, remote_id, message, known_to) VALUES (?, ?, ?, ?)',
  );
  const carry = database.prepare('INSERT OR IGNORE INTO message_blobs (sha256, message) VALUES (?, ?)');
  const read = database.prepare('INSERT OR REPLACE INTO readings (device, message, at) VALUES (?, ?, ?)');
  const advance = deliveryAdvancer(database);
  const reword = rewriter(database);
  const word = database.prepare('INSERT INTO rewritten (delivery, body) VALUES (?, ?)');
  const rule = database.prepare('INSERT OR IGNORE INTO rulings (body) VALUES (?)');
  const ruled = database.prepare(
    'INSERT INTO ruled (delivery, ruling) SELECT ?, seq FROM rulings WHERE body = ?',
  );

  function applyFold({ delivery, input, rewrite: words }: Fold, at: number): void {
    if (words !== undefined) {
      reword(delivery, words);
    }
    advance(delivery, input, at);
  }

  /** What it is a repeat of, if that is known: by the name it has, or by the id that is made of it. */
  function repeatOf({ scheme, message, fingerprint }: AcceptArgs, remoteId: RemoteId) {
    const first = known.get(scheme, remoteId) as KnownRow | undefined;
    if (first !== undefined) {
      const same = sameBytes(first.fingerprint, fingerprint);
      return { repeated: true, id: first.message, same } as const;
    }
    const there = exists.get(message.id) as { seq: number } | undefined;
    if (there === undefined) {
      return undefined;
    }
    identify.run(scheme, remoteId, there.seq, fingerprint ?? null, message.from);
    return { repeated: true, id: message.id, same: fingerprint === undefined } as const;
  }

  /**
   * Messages that are new, with their events and deliveries: of each table the rows of all at once, because most of what a
   * statement takes it takes once. The rows of one statement follow each other.
   */
  function add(all: readonly PackedAccept[]): AcceptResult[] {
    const rows: SQLInputValue[] = [];
    const events: SQLInputValue[] = [];
    for (const [, , , id, type, from, to, at, correlation, body, deliveries, audience] of all) {
      rows.push(id, type, from, to, at, correlation, body);
      events.push(at, 'message.accepted', id, null, audienceText(audience));
      for (const delivery of deliveries) {
        const told = audienceText([from, delivery[2]].filter(isApp));
        events.push(at, 'delivery.changed', id, newDeliveryBody(delivery, id, correlation), told);
      }
    }
    const firstRow = insert(rows);
    let event = tell(events);
    const given: SQLInputValue[] = [];
    for (const [n, { 7: acceptedAt, 10: deliveries }] of all.entries()) {
      for (const [id, bridge, recipient, priority, expiresAt, ...status] of deliveries) {
        given.push(id, firstRow + n, bridge, recipient, priority, acceptedAt, expiresAt, ...status, event);
      }
      event += 1 + deliveries.length;
    }
    let seq = deliver(given);
    return all.map((packed, n) => {
      const seqs = packed[10].map((_, at) => seq + at);
      seq += seqs.length;
      if (!isBare(packed)) {
        complete(unpackAccept(packed), firstRow + n, seqs);
      }
      return { repeated: false, seqs };
    });
  }

  /** What belongs to a message beside its row, its events and those of its deliveries. */
  function complete(args: AcceptArgs, row: number, seqs: readonly number[]): void {
    const { message, prepared } = args;
    if (args.remoteId !== undefined) {
      identify.run(args.scheme, args.remoteId, row, args.fingerprint ?? null, message.from);
    }
    for (const [n, [id, bridge, recipient]] of args.deliveries.entries()) {
      const seq = seqs[n] ?? 0;
      const words = args.rewrites?.get(id);
      if (words !== undefined) {
        word.run(seq, words);
      }
      const ruling = args.rulings?.get(id);
      if (ruling !== undefined) {
        rule.run(ruling);
        ruled.run(seq, ruling);
      }
      if (prepared !== undefined) {
        remember.run(seq, prepared.bytes);
        name.run(bridge, prepared.remoteId, row, recipient);
      }
    }
    for (const fold of args.folds ?? []) {
      applyFold(fold, message.acceptedAt);
    }
    for (const sha256 of args.blobs) {
      carry.run(sha256, row);
    }
    if (args.device !== undefined) {
      read.run(args.device, row, message.acceptedAt);
    }
  }

  function accept(packed: PackedAccept): AcceptResult {
    const [, remoteId] = packed;
    const before = remoteId === null ? undefined : repeatOf(unpackAccept(packed), remoteId);
    return before ?? (add([packed])[0] as AcceptResult);
  }

  return {
    accept,
    acceptAll(all: readonly AcceptArgs[]): AcceptResult[] {
      const results = all.map(args => accept(packAccept(args)));
      if (results.some(one => one.repeated !== results[0]?.repeated || (one.repeated && !one.same))) {
        throw new GatewayError('request/idempotency-mismatch', 'the key was used for other messages');
      }
      return results;
    },
    acceptPlain: add,
  };
}

function isApp(address: string): boolean {
  return address.startsWith('app:');
}

interface ReachedRow extends Ended {
  readonly recipient: Address;
  readonly bridge: string;
  readonly ruling: string | null;
}

interface KnownRow {
  readonly message: MessageId;
  readonly fingerprint: Uint8Array | null;
}

const knownQuery = `SELECT m.id AS message, r.fingerprint FROM remote_ids r JOIN messages m ON m.seq = r.message
  WHERE r.scheme = ? AND r.remote_id = ?`;

export interface MessageFilter {
  /** Rows before this one; newest first. */
  readonly before: number;
  readonly limit: number;
  readonly recipient?: string;
  readonly peer?: string;
  readonly type?: string;
  /** Whose messages: its address and the rooms it is a member of; undefined for all. */
  readonly viewer?: { readonly address: string; readonly rooms: readonly string[] };
}

/** Whether the viewer sent it, gets it, or is in its room. */
const seenBy = `(:viewer IS NULL OR m.sender = :viewer
          OR m.recipient IN (SELECT value FROM json_each(:rooms))
          OR EXISTS (SELECT 1 FROM deliveries d WHERE d.message = m.seq AND d.recipient = :viewer))`;

/** Messages that one read looks at, where its filter may let few of them through: it must not hold up everybody. */
const looked = 4000;

export function messageReads(database: DatabaseSync) {
  const one = database.prepare('SELECT seq, body FROM messages WHERE id = ?');
  const head = database.prepare('SELECT sender, recipient FROM messages WHERE id = ?');
  const told = database.prepare(
    'SELECT d.recipient FROM messages m JOIN deliveries d ON d.message = m.seq WHERE m.id = ? ORDER BY d.seq',
  );
  const reached = database.prepare(
    `SELECT d.recipient, r.body AS ruling, m.type, d.bridge, d.state, d.reason, d.attempts, d.history
     FROM messages m JOIN deliveries d ON d.message = m.seq
       LEFT JOIN ruled ON ruled.delivery = d.seq LEFT JOIN rulings r ON r.seq = ruled.ruling
     WHERE m.id = ? ORDER BY d.seq`,
  );
  const rulings = database.prepare('SELECT count(*) AS count FROM rulings');
  // One that was taken back stays so, whatever was said after it.
  const lastChange = database.prepare(
    `SELECT m.body FROM messages m JOIN messages t ON t.id = :target
     WHERE m.sender = :sender AND m.seq > t.seq AND m.type IN ('chat.edit', 'chat.redaction')
       AND CASE WHEN json_valid(m.body) THEN json_extract(m.body, '$.inReplyTo') END = :target
       AND (m.recipient = t.recipient
         OR EXISTS (SELECT 1 FROM deliveries d WHERE d.message = m.seq AND d.recipient = :recipient))
     ORDER BY m.type = 'chat.redaction' DESC, m.seq DESC LIMIT 1`,
  );
  const ruling = database.prepare(
    `SELECT r.body FROM ruled JOIN rulings r ON r.seq = ruled.ruling
     WHERE ruled.delivery = (SELECT seq FROM deliveries WHERE id = ?)`,
  );
  const known = database.prepare(knownQuery);
  const remoteIds = database.prepare(
    `SELECT remote_id FROM remote_ids WHERE message = (SELECT seq FROM messages WHERE id = :message)
       AND scheme = :scheme AND (:to IS NULL OR known_to = :to)`,
  );
  const reads = database.prepare(
    'SELECT r.device, m.id AS message, r.at FROM readings r JOIN messages m ON m.seq = r.message ORDER BY r.device',
  );
  /** Newest first; a filter that has an index goes by it. */
  const listWhere = (indexed: string) => `
      SELECT m.seq, m.body FROM messages m
      WHERE m.seq < :before AND m.seq >= :floor AND ${indexed}
        AND (:recipient IS NULL OR m.recipient = :recipient)
        AND (:peer IS NULL OR m.sender = :peer OR m.recipient = :peer)
        AND (:type IS NULL OR m.type = :type)
        AND ${seenBy}
      ORDER BY m.seq DESC LIMIT :limit`;
  const list = {
    all: database.prepare(listWhere('true')),
    recipient: database.prepare(listWhere('m.recipient = :recipient')),
    // Each side by its own index, so that neither is sorted as a whole.
    peer: database.prepare(`
      SELECT * FROM (SELECT * FROM (${listWhere('m.sender = :peer')})
        UNION ALL SELECT * FROM (${listWhere('m.recipient = :peer AND m.sender <> :peer')}))
      ORDER BY seq DESC LIMIT :limit`),
  };
  const boundary = (column: 'sender' | 'recipient') =>
    database.prepare(
      `SELECT seq FROM messages WHERE ${column} = ? AND seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ${looked - 1}`,
    );
  const boundaries = { sender: boundary('sender'), recipient: boundary('recipient') };

  /** The row down to which a filter looks at most; 0 where it is through with all by then. */
  function floorOf({ before, recipient, peer, type, viewer }: MessageFilter): number {
    const to = (column: 'sender' | 'recipient', address: string) =>
      (boundaries[column].get(address, before) as { seq: number } | undefined)?.seq ?? 0;
    if (recipient !== undefined) {
      return to('recipient', recipient);
    }
    if (peer !== undefined) {
      return type === undefined && viewer === undefined
        ? 0
        : Math.max(to('sender', peer), to('recipient', peer));
    }
    const filters = type !== undefined || viewer !== undefined;
    return filters ? Math.max(0, Math.min(before, newestSeq() + 1) - looked) : 0;
  }

  const at = database.prepare('SELECT body FROM messages WHERE seq = ?');
  const heads = database.prepare(`
      SELECT m.seq, m.sender, m.recipient FROM messages m
      WHERE m.seq < :before AND m.seq >= :floor AND ${seenBy} ORDER BY m.seq DESC`);
  const newest = database.prepare(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) AS seq",
  );
  const newestSeq = () => (newest.get() as { seq: number }).seq;
  return {
    message(id: MessageId): Message | undefined {
      const row = one.get(id) as unknown as MessageRow | undefined;
      return row === undefined ? undefined : messageIn(row.body);
    },
    /** Who sent a message and where to. */
    headOf(id: MessageId): { from: Address; to: Address } | undefined {
      const row = head.get(id) as { sender: string; recipient: string } | undefined;
      return row && { from: row.sender, to: row.recipient };
    },
    /** Who a message was for. */
    toldOf: (id: MessageId) => (told.all(id) as { recipient: Address }[]).map(row => row.recipient),
    /**
     * Whom a message was for, and what the rules said that added them; `missed` where it has not reached them and will not by itself.
     * An edit that went into the message it changes has reached them. `tells`: see `missedBy`.
     */
    reachedBy: (id: MessageId, tells: (bridge: string) => boolean): readonly Reached[] =>
      (reached.all(id) as unknown as ReachedRow[]).map(row => {
        const missed = missedBy(row, tells(row.bridge));
        return {
          address: row.recipient,
          ...(row.ruling === null ? {} : { ruling: JSON.parse(row.ruling) as Ruling }),
          ...(missed === undefined ? {} : { missed }),
        };
      }),
    /** The last edit of a message by its sender that concerns the recipient, or the redaction of it. */
    lastChange(target: MessageId, sender: Address, recipient: Address): Message | undefined {
      const row = lastChange.get({ target, sender, recipient }) as { body: string } | undefined;
      return row && messageIn(row.body);
    },
    /** What the rule said that made a delivery. */
    rulingOf(delivery: DeliveryId): Ruling | undefined {
      const row = ruling.get(delivery) as { body: string } | undefined;
      return row && (JSON.parse(row.body) as Ruling);
    },
    /** What rules said that is kept: distinct ones. */
    rulings: () => (rulings.get() as { count: number }).count,
    /** The message a far side's id stands for, and the fingerprint of the draft that made it. */
    knownAs: (scheme: string, remoteId: RemoteId) => known.get(scheme, remoteId) as KnownRow | undefined,
    remoteIds: (scheme: string, message: MessageId, to?: Address) =>
      (remoteIds.all({ scheme, message, to: to ?? null }) as { remote_id: RemoteId }[]).map(
        row => row.remote_id,
      ),
    newestReadings: () => reads.all() as unknown as { device: string; message: MessageId; at: number }[],
    messageAt(seq: number): Message | undefined {
      const row = at.get(seq) as unknown as MessageRow | undefined;
      return row === undefined ? undefined : messageIn(row.body);
    },
    /** Who wrote to whom, newest first and without the bodies: those the viewer may see of the rows from `floor` on. */
    messageHeads: (filter: Pick<MessageFilter, 'before' | 'viewer'> & { readonly floor: number }) =>
      heads.all({
        before: filter.before,
        floor: filter.floor,
        viewer: filter.viewer?.address ?? null,
        rooms: roomsJson(filter.viewer),
      }) as unknown as { seq: number; sender: Address; recipient: Address }[],
    newestMessage: newestSeq,
    /**
     * Messages the filter lets through, and the row down to which was looked; 0 where there are no more. `seqs` are all rows
     * that were found, those that are damaged too.
     */
    messages(filter: MessageFilter): {
      readonly rows: readonly { readonly seq: number; readonly message: Message }[];
      readonly seqs: readonly number[];
      readonly floor: number;
    } {
      const floor = floorOf(filter);
      const by = filter.recipient !== undefined ? 'recipient' : filter.peer !== undefined ? 'peer' : 'all';
      const rows = list[by].all({
        before: filter.before,
        floor,
        recipient: filter.recipient ?? null,
        peer: filter.peer ?? null,
        type: filter.type ?? null,
        viewer: filter.viewer?.address ?? null,
        rooms: roomsJson(filter.viewer),
        limit: filter.limit,
      }) as unknown as MessageRow[];
      const found = rows.flatMap(({ seq, body }) => {
        const message = messageIn(body);
        return message === undefined ? [] : [{ seq, message }];
      });
      return { rows: found, seqs: rows.map(({ seq }) => seq), floor };
    },
  };
}

function roomsJson(viewer: MessageFilter['viewer']): string {
  return JSON.stringify(viewer?.rooms.map(room => `room:${room}`) ?? []);
}

/** The message in a row, or undefined where the row is damaged: it must not hide the others. */
export function messageIn(body: string): Message | undefined {
  try {
    return JSON.parse(body) as Message;
  } catch {
    return undefined;
  }
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | undefined): boolean {
  return a === null || b === undefined ? a === null && b === undefined : Buffer.from(a).equals(b);
}
