import type { DatabaseSync } from 'node:sqlite';
import { type DeliveryInput, type DeliveryStatus, type DeliveryStep, step } from '../delivery.ts';
import type { DeliveryState, DeliveryView } from '../desk.ts';
import { eventWriter } from './event-table.ts';

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
}

export interface DeliveryJobs {
  /** The state after, or undefined where there is no such delivery or nothing changed. */
  'delivery.advance': {
    args: { id: string; input: DeliveryInput; at: number; remoteId?: string };
    result: DeliveryState | undefined;
  };
  'delivery.remember': { args: { id: string; bytes: Uint8Array; remoteId?: string }; result: undefined };
}

const columns =
  'd.seq, d.id, d.message, d.bridge, d.recipient, d.priority, d.expires_at, d.state, d.reason, d.code, d.attempts, d.underway, d.next_at, d.history';

/** Applies inputs to stored deliveries and writes the event of every change. */
export function deliveryAdvancer(database: DatabaseSync) {
  const find = database.prepare(
    `SELECT ${columns}, m.sender FROM deliveries d LEFT JOIN messages m ON m.id = d.message WHERE d.id = ?`,
  );
  const update = database.prepare(
    'UPDATE deliveries SET state = ?, reason = ?, code = ?, attempts = ?, underway = ?, next_at = ?, history = ? WHERE seq = ?',
  );
  const write = eventWriter(database);
  return (id: string, input: DeliveryInput, at: number): DeliveryRow | undefined => {
    const row = find.get(id) as unknown as (DeliveryRow & { readonly sender: string | null }) | undefined;
    if (row === undefined) {
      return undefined;
    }
    const before = statusOf(row);
    const after = step(before, input, at);
    if (after === undefined) {
      return undefined;
    }
    const history = JSON.stringify(after.history);
    update.run(
      after.state,
      after.reason ?? null,
      after.code ?? null,
      after.attempts,
      after.underway ? 1 : 0,
      after.nextAt ?? null,
      history,
      row.seq,
    );
    const changed = {
      ...row,
      state: after.state,
      reason: after.reason ?? null,
      code: after.code ?? null,
      attempts: after.attempts,
      underway: after.underway ? 1 : 0,
      next_at: after.nextAt ?? null,
      history,
    };
    // A new time of the next attempt alone is not worth an event.
    if (after.history !== before.history) {
      write(deliveryEvent(changed, row.sender ?? '', at));
    }
    return changed;
  };
}

/** The `delivery.changed` event of a row as it is now. */
export function deliveryEvent(row: DeliveryRow, sender: string, at: number) {
  return {
    at,
    kind: 'delivery.changed' as const,
    message: row.message,
    body: JSON.stringify({ delivery: { ...viewOf(row), message: row.message } }),
    audience: [sender, row.recipient].filter(address => address.startsWith('app:')),
  };
}

export function statusOf(row: DeliveryRow): DeliveryStatus {
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

/** A stored delivery as interfaces show it. */
export function viewOf(row: DeliveryRow): DeliveryView {
  const { underway: _, ...status } = statusOf(row);
  return { id: row.id, to: row.recipient, bridge: row.bridge, ...status };
}

export function deliveryVerbs(database: DatabaseSync) {
  const advance = deliveryAdvancer(database);
  const remember = database.prepare('UPDATE deliveries SET remembered = ? WHERE id = ?');
  const identify = database.prepare(
    `INSERT OR IGNORE INTO remote_ids (scheme, remote_id, message)
     SELECT bridge, ?, message FROM deliveries WHERE id = ?`,
  );
  return {
    'delivery.advance'({ id, input, at, remoteId }: DeliveryJobs['delivery.advance']['args']) {
      if (remoteId !== undefined) {
        identify.run(remoteId, id);
      }
      return advance(id, input, at)?.state;
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
    `SELECT ${columns} FROM deliveries d WHERE d.message = ? ORDER BY d.seq`,
  );
  const one = database.prepare(`SELECT ${columns} FROM deliveries d WHERE d.id = ?`);
  const open = database.prepare(
    `SELECT seq, id, message, bridge, recipient, priority, expires_at, attempts, underway FROM deliveries
     WHERE (state IN ('queued', 'sending') OR underway = 1) AND bridge <> 'app' ORDER BY seq`,
  );
  const remembered = database.prepare('SELECT remembered FROM deliveries WHERE id = ?');
  return {
    deliveriesOf: (message: string) => ofMessage.all(message) as unknown as DeliveryRow[],
    delivery: (id: string) => one.get(id) as unknown as DeliveryRow | undefined,
    /** Everything the outbox has to work off, in the order it was accepted. */
    openDeliveries: () => open.all() as unknown as OpenDelivery[],
    remembered: (id: string) =>
      (remembered.get(id) as { remembered: Uint8Array | null } | undefined)?.remembered ?? undefined,
  };
}
