import type { DatabaseSync } from 'node:sqlite';
import type { Sweeper } from './retention.ts';

export interface AuditRow {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly door: string;
  readonly origin: string;
  readonly action: string;
  readonly target: string | null;
  /** JSON array. */
  readonly keys: string | null;
  readonly status: number;
  readonly code: string | null;
  readonly count: number;
  /** 1 for what was done, 0 for what was refused: strangers can cause the second as often as they like. */
  readonly act: number;
}

export interface AuditJobs {
  'audit.add': { args: Omit<AuditRow, 'seq'>; result: undefined };
}

export function auditVerbs(database: DatabaseSync) {
  const insert = database.prepare(
    `INSERT INTO audit (at, actor, door, origin, action, target, keys, status, code, count, act)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return {
    'audit.add'(row: AuditJobs['audit.add']['args']): undefined {
      insert.run(
        row.at,
        row.actor,
        row.door,
        row.origin,
        row.action,
        row.target,
        row.keys,
        row.status,
        row.code,
        row.count,
        row.act,
      );
    },
  };
}

export function auditReads(database: DatabaseSync) {
  const before = database.prepare(
    `SELECT * FROM audit WHERE seq < ?1 AND (?2 IS NULL OR actor = ?2)
       AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || '.')
     ORDER BY seq DESC LIMIT ?4`,
  );
  return {
    /** Lines before this one, the newest first. */
    auditBefore: (query: {
      readonly before: number;
      readonly limit: number;
      readonly actor: string | null;
      readonly action: string | null;
    }) => before.all(query.before, query.actor, query.action, query.limit) as unknown as AuditRow[],
  };
}

/** Rows removed in one job. */
const step = 200;

/** Forgets lines that are too old or too many; what was refused never pushes out what was done. */
export function auditSweeper(database: DatabaseSync): Sweeper {
  const old = database.prepare(
    `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ? ORDER BY seq LIMIT ${step})`,
  );
  const many = database.prepare(
    `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE act = ?1 AND seq <=
       (SELECT seq FROM audit WHERE act = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2) ORDER BY seq LIMIT ${step})`,
  );
  return ({ now, limits }) => {
    const removed = [
      old.run(now - limits.auditAge),
      many.run(1, limits.auditCount),
      many.run(0, limits.auditRefusals),
    ];
    return removed.some(({ changes }) => Number(changes) >= step);
  };
}
