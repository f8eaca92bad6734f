import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';

/*
 * A database of messages whose state is an earlier one than what was acknowledged: it was put back from a backup, or its newest changes are
 * gone. The world has gone on since, perhaps with another copy of this hub: nothing is sent that may have been sent already.
 */

export interface Rewinding {
  /** Why it is of an earlier state: one of the beginnings of `isHeld`. */
  readonly since: string;
  /** ms epoch. */
  readonly now: number;
  /** Send again what waited, instead of asking. */
  readonly resend: boolean;
}

export interface Rewound {
  /** Deliveries held as ambiguous, and queued again. */
  readonly held: number;
  readonly queued: number;
}

/** Beginnings of the reasons of what is held. */
export const restoredSince = 'restored from a backup';
export const lostSince = 'the newest changes of the database were lost';

/** Whether a delivery that is ambiguous is so because the hub is of an earlier state, by its reason. */
export function isHeld(reason: string | null | undefined): boolean {
  return reason?.startsWith(restoredSince) === true || reason?.startsWith(lostSince) === true;
}

/**
 * Holds what waited as ambiguous, but for what its far side knows again as a repeat, and makes every cursor expire: one of the time
 * that is gone would skip what comes now. Only webhooks stand where they stood: their place is of this state. In one transaction.
 */
export function rewind(database: DatabaseSync, { since, now, resend }: Rewinding): Rewound {
  const before = database.prepare("SELECT value FROM meta WHERE key = 'epoch'").get()?.value;
  let epoch = before;
  while (epoch === before) {
    epoch = randomBytes(2).toString('hex');
  }
  const rows = database
    .prepare(
      `SELECT seq, bridge, history, EXISTS (SELECT 1 FROM remembered WHERE delivery = seq) AS same
       FROM deliveries WHERE bridge <> 'app' AND (state IN ('queued', 'sending') OR underway = 1)`,
    )
    .all() as { seq: number; bridge: string; history: string; same: number }[];
  const put = database.prepare(
    'UPDATE deliveries SET state = ?, reason = ?, code = NULL, underway = 0, next_at = NULL, history = ? WHERE seq = ?',
  );
  let held = 0;
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const { seq, bridge, history, same } of rows) {
      // The very bytes of the first attempt: an LXMF peer knows them again for months, whatever has become of them since.
      const isKnown = bridge === 'lxmf' && same === 1;
      const state = resend || isKnown ? 'queued' : 'ambiguous';
      const reason =
        state === 'queued'
          ? `${since}: sent again${isKnown ? ', a repeat is known as one' : ' on request'}`
          : `${since}: it may have arrived since`;
      held += state === 'ambiguous' ? 1 : 0;
      const steps = [...(JSON.parse(history) as unknown[]), { state, at: now, reason }];
      put.run(state, reason, JSON.stringify(steps), seq);
    }
    database.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('epoch', ?)").run(epoch ?? null);
    moveWebhooks(database, String(before), String(epoch), now);
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
  return { held, queued: rows.length - held };
}

/** An endpoint that has not been told of all there is goes on where it was, once it has been told that something may be missing. */
function moveWebhooks(database: DatabaseSync, before: string, epoch: string, now: number): void {
  // A backup may be of a time without them.
  if (database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'webhooks'").get() !== undefined) {
    database
      .prepare(
        `UPDATE webhooks SET position = substr(position, 1, 1) || ? || substr(position, 6),
           status = json_set(status, '$.gap', json_object('at', ?, 'after', position)) WHERE substr(position, 2, 4) = ?`,
      )
      .run(epoch, now, before);
  }
}

/**
 * A write for a cloud service that waited may have been sent since: it is taken for one whose answer was lost, which is asked for or held.
 * `at` is the ms epoch of the state; gives how many there were. In one transaction.
 */
export function rewindWrites(
  database: DatabaseSync,
  { at, now, reason }: { readonly at: number; readonly now: number; readonly reason: string },
): number {
  const rows = database.prepare("SELECT seq, status FROM operations WHERE state = 'queued'").all() as {
    seq: number;
    status: string;
  }[];
  const put = database.prepare(
    "UPDATE operations SET state = 'inflight', next_at = NULL, status = ? WHERE seq = ?",
  );
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const { seq, status } of rows) {
      const {
        nextAt: _,
        waits: __,
        ...was
      } = JSON.parse(status) as {
        nextAt?: number;
        waits?: string;
        sentAt?: number;
        history: unknown[];
      };
      const history = [...was.history, { state: 'inflight', at: now, reason }];
      put.run(JSON.stringify({ ...was, state: 'inflight', sentAt: was.sentAt ?? at, reason, history }), seq);
    }
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
  return rows.length;
}
