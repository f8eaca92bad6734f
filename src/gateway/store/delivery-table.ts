import type { DatabaseSync } from 'node:sqlite';
import { type DeliveryInput, type DeliveryStatus, type DeliveryStep, step } from '../delivery.ts';
import type { DeliveryState, DeliveryView } from '../desk.ts';
import type { Rewrite } from '../folding.ts';
import { latestTime } from '../message.ts';
import { eventWriter } from './event-table.ts';
import { lostSince, restoredSince } from './rewound.ts';
import { endedInVain } from './schema.ts';

/** A delivery as it is stored; `priority` counts from 0, the most urgent. */
export interface DeliveryRow {
  readonly seq: number;
  readonly id: string;
  readonly message: string;
  readonly bridge: string;
  readonly recipient: string;
  readonly priority: number;
  readonly expires_at: number;
  readonly state: DeliveryState;
  readonly reason: string | null;
  readonly code: string | null;
  readonly attempts: number;
  /** 0 or 1. */
  readonly underway: number;
  readonly next_at: number | null;
  readonly history: string;
}

/** What the outbox holds of a delivery that is not over. */
export interface OpenDelivery {
  readonly seq: number;
  readonly id: string;
  readonly message: string;
  readonly bridge: string;
  readonly recipient: string;
  readonly priority: number;
  readonly expires_at: number;
  readonly attempts: number;
  /** 0 or 1. */
  readonly underway: number;
  /** 1 where its far side may have something of it. */
  readonly left?: number;
  /** 1 where an edit was folded into it. */
  readonly rewritten?: number;
}

/** What was heard of a delivery, and when. */
export interface Happened {
  readonly input: DeliveryInput;
  readonly at: number;
}

export interface DeliveryJobs {
  /** What happened to a delivery, in order; gives the state after the last of it, or undefined where that changed nothing. */
  'delivery.advance': {
    args: {
      id: string;
      inputs: readonly Happened[];
      remoteId?: string;
      /** What it says from now on, where it waits after that. */
      rewrite?: Rewrite;
    };
    result: DeliveryState | undefined;
  };
  'delivery.remember': { args: { id: string; bytes: Uint8Array; remoteId?: string }; result: undefined };
}

/** As a number JavaScript can hold, whatever an older version let in: one row must not hide the others. */
const expiresAt = `max(0, min(d.expires_at, ${latestTime})) AS expires_at`;
const columns = `d.seq, d.id, m.id AS message, d.bridge, d.recipient, d.priority, ${expiresAt}, d.state, d.reason,
  d.code, d.attempts, d.underway, d.next_at, d.history`;

/** Applies an input to a stored delivery and writes the event of its change. */
export function deliveryAdvancer(database: DatabaseSync) {
  const advance = historian(database);
  return (id: string, input: DeliveryInput, at: number) => advance(id, [{ input, at }]);
}

/** Applies what happened to stored deliveries and writes the event of every change; gives what the last of it made. */
function historian(database: DatabaseSync) {
  const find = database.prepare(
    `SELECT ${columns}, m.sender, m.correlation FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.id = ?`,
  );
  const update = database.prepare(
    'UPDATE deliveries SET state = ?, reason = ?, code = ?, attempts = ?, underway = ?, next_at = ?, history = ? WHERE seq = ?',
  );
  const forget = database.prepare('DELETE FROM remembered WHERE delivery = ?');
  const forgetWords = database.prepare('DELETE FROM rewritten WHERE delivery = ?');
  const write = eventWriter(database);
  return (id: string, inputs: readonly Happened[]): DeliveryStatus | undefined => {
    const row = find.get(id) as unknown as
      | (DeliveryRow & { readonly sender: string; readonly correlation: string | null })
      | undefined;
    if (row === undefined) {
      return undefined;
    }
    const message = { id: row.message, from: row.sender, ...given('correlation', row.correlation) };
    const first = statusOf(row);
    let after = first;
    let last: DeliveryStatus | undefined;
    for (const { input, at } of inputs) {
      last = step(after, input, at);
      // A new time of the next attempt alone is not worth an event.
      if (last !== undefined && last.history !== after.history) {
        write(deliveryEvent(row, viewOfStatus(row, last), message, at));
      }
      after = last ?? after;
    }
    if (after === first) {
      return undefined;
    }
    update.run(
      after.state,
      after.reason ?? null,
      after.code ?? null,
      after.attempts,
      after.underway ? 1 : 0,
      after.nextAt ?? null,
      JSON.stringify(after.history),
      row.seq,
    );
    if (row.bridge !== 'app' && isOver(after.state)) {
      forget.run(row.seq);
      // What failed may be sent again on request, and says the same then.
      if (after.state !== 'failed') {
        forgetWords.run(row.seq);
      }
    }
    return last;
  };
}

/** Gives a delivery that waits other words than those of its message. */
export function rewriter(database: DatabaseSync) {
  // Its row may be behind the truth, which is that nothing of it has left: whoever folds knows.
  const rewrite = database.prepare(
    `INSERT OR REPLACE INTO rewritten (delivery, body) SELECT seq, ? FROM deliveries
     WHERE id = ? AND state IN ('queued', 'sending')`,
  );
  const unpack = database.prepare(
    'DELETE FROM remembered WHERE delivery = (SELECT seq FROM deliveries WHERE id = ?)',
  );
  const carry = database.prepare(
    'INSERT OR IGNORE INTO message_blobs (sha256, message) SELECT ?, message FROM deliveries WHERE id = ?',
  );
  return (id: string, { body, blobs }: Rewrite): void => {
    if (rewrite.run(body, id).changes > 0) {
      unpack.run(id);
      for (const sha256 of blobs) {
        carry.run(sha256, id);
      }
    }
  };
}

/** Whether no attempt can follow. */
function isOver(state: DeliveryState): boolean {
  return state !== 'queued' && state !== 'sending' && state !== 'sent' && state !== 'ambiguous';
}

/** The `delivery.changed` event of a delivery as it is now. */
export function deliveryEvent(
  row: { readonly recipient: string },
  view: DeliveryView,
  message: { readonly id: string; readonly from: string; readonly correlation?: string },
  at: number,
) {
  const delivery = { ...view, message: message.id, ...given('correlation', message.correlation ?? null) };
  return {
    at,
    kind: 'delivery.changed' as const,
    message: message.id,
    body: JSON.stringify({ delivery }),
    audience: [message.from, row.recipient].filter(address => address.startsWith('app:')),
  };
}

function given<K extends string, V>(key: K, value: V | null): { [P in K]?: V } {
  return (value === null ? {} : { [key]: value }) as { [P in K]?: V };
}

export function statusOf(row: Omit<DeliveryRow, 'seq'>): DeliveryStatus {
  return {
    state: row.state,
    attempts: row.attempts,
    underway: row.underway === 1,
    history: JSON.parse(row.history) as DeliveryStep[],
    ...(row.reason === null ? {} : { reason: row.reason }),
    ...(row.code === null ? {} : { code: row.code }),
    ...(row.next_at === null ? {} : { nextAt: row.next_at }),
  };
}

type Named = Pick<DeliveryRow, 'id' | 'recipient' | 'bridge'>;

/** A stored delivery as interfaces show it. */
export function viewOf(row: Omit<DeliveryRow, 'seq'>): DeliveryView {
  return viewOfStatus(row, statusOf(row));
}

function viewOfStatus(row: Named, { underway: _, ...status }: DeliveryStatus): DeliveryView {
  return { id: row.id, to: row.recipient, bridge: row.bridge, ...status };
}

export function deliveryVerbs(database: DatabaseSync) {
  const advance = historian(database);
  const reword = rewriter(database);
  const remember = database.prepare(
    'INSERT OR REPLACE INTO remembered (delivery, bytes) SELECT seq, ? FROM deliveries WHERE id = ?',
  );
  const identify = database.prepare(
    `INSERT OR IGNORE INTO remote_ids (scheme, remote_id, message, known_to)
     SELECT bridge, ?, message, recipient FROM deliveries WHERE id = ?`,
  );
  return {
    'delivery.advance'({ id, inputs, remoteId, rewrite }: DeliveryJobs['delivery.advance']['args']) {
      if (remoteId !== undefined) {
        identify.run(remoteId, id);
      }
      const state = advance(id, inputs)?.state;
      if (rewrite !== undefined) {
        reword(id, rewrite);
      }
      return state;
    },
    'delivery.remember'({ id, bytes, remoteId }: DeliveryJobs['delivery.remember']['args']): undefined {
      remember.run(bytes, id);
      if (remoteId !== undefined) {
        identify.run(remoteId, id);
      }
    },
  };
}

export function deliveryReads(database: DatabaseSync) {
  const ofMessage = database.prepare(
    `SELECT ${columns} FROM messages m JOIN deliveries d ON d.message = m.seq WHERE m.id = ? ORDER BY d.seq`,
  );
  const open = database.prepare(
    `SELECT d.seq, d.id, m.id AS message, d.bridge, d.recipient, d.priority, ${expiresAt}, d.attempts, d.underway,
       instr(d.history, '"sent"') > 0 OR instr(d.history, '"delivered"') > 0
         OR instr(d.history, '"ambiguous"') > 0 OR EXISTS (SELECT 1 FROM remembered b WHERE b.delivery = d.seq) AS left,
       EXISTS (SELECT 1 FROM rewritten r WHERE r.delivery = d.seq) AS rewritten
     FROM deliveries d JOIN messages m ON m.seq = d.message
     WHERE (d.state IN ('queued', 'sending') OR d.underway = 1) AND d.bridge <> 'app' ORDER BY d.seq`,
  );
  const one = database.prepare(
    `SELECT ${columns} FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.id = ?`,
  );
  const oneTo = database.prepare(
    `SELECT ${columns}, m.sender, m.type FROM messages m JOIN deliveries d ON d.message = m.seq WHERE m.id = ? AND d.recipient = ? LIMIT 1`,
  );
  const ended = database.prepare(
    `SELECT ${columns} FROM deliveries d JOIN messages m ON m.seq = d.message
     WHERE d.state = ? AND d.state IN (${endedInVain}) AND d.bridge <> 'app' AND d.seq < ? ORDER BY d.seq DESC LIMIT ?`,
  );
  const held = database.prepare(
    `SELECT count(*) AS count, max(reason) AS reason FROM deliveries
     WHERE state = 'ambiguous' AND state IN (${endedInVain}) AND bridge <> 'app'
       AND (substr(reason, 1, ${restoredSince.length}) = '${restoredSince}' OR substr(reason, 1, ${lostSince.length}) = '${lostSince}')`,
  );
  const remembered = database.prepare(
    'SELECT bytes FROM remembered WHERE delivery = (SELECT seq FROM deliveries WHERE id = ?)',
  );
  const rewritten = database.prepare(
    'SELECT body FROM rewritten WHERE delivery = (SELECT seq FROM deliveries WHERE id = ?)',
  );
  return {
    deliveriesOf: (message: string) => ofMessage.all(message) as unknown as DeliveryRow[],
    delivery: (id: string) => one.get(id) as unknown as DeliveryRow | undefined,
    /** That of a message to one of its recipients. */
    deliveryTo: (message: string, recipient: string) =>
      oneTo.get(message, recipient) as unknown as
        | (DeliveryRow & { readonly sender: string; readonly type: string })
        | undefined,
    /** Those in one of the states of `endedInVain`, newest first. */
    endedDeliveries: (state: DeliveryState, before: number, limit: number) =>
      ended.all(state, before, limit) as unknown as DeliveryRow[],
    /** Everything the outbox has to work off, in the order it was accepted. */
    openDeliveries: () => open.all() as unknown as OpenDelivery[],
    /** How many are held because the hub is of an earlier state, and a reason of theirs. */
    heldDeliveries: () => held.get() as { count: number; reason: string | null },
    /** JSON of what it says instead of its message. */
    rewritten: (id: string) => (rewritten.get(id) as { body: string } | undefined)?.body,
    remembered: (id: string) => (remembered.get(id) as { bytes: Uint8Array } | undefined)?.bytes,
  };
}
