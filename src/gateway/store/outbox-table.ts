import type { DatabaseSync } from 'node:sqlite';

/** Sealed parts of an operation, each absent until there is one. */
export interface OutboxParts {
  readonly request: Uint8Array;
  readonly base: Uint8Array | null;
  readonly answer: Uint8Array | null;
  readonly outcome: Uint8Array | null;
  readonly theirs: Uint8Array | null;
}

export interface NewOperation extends OutboxParts {
  readonly id: string;
  readonly service: string;
  readonly partition: string;
  readonly state: string;
  readonly nextAt: number | null;
  readonly clientKey: string | null;
  /** JSON of what never changes and is no secret. */
  readonly facts: string;
  /** JSON of what changes. */
  readonly status: string;
}

/** A change of an operation: what is not named stays. */
export interface OperationChange extends Partial<OutboxParts> {
  readonly seq: number;
  readonly state: string;
  readonly nextAt: number | null;
  readonly status: string;
}

export interface GivenId {
  readonly service: string;
  readonly partition: string;
  readonly provisional: string;
  readonly given: string;
  readonly at: number;
}

/** An operation without its sealed parts; `bytes` is what those take. */
export interface OperationRow {
  readonly seq: number;
  readonly id: string;
  readonly service: string;
  readonly partition: string;
  readonly client_key: string | null;
  readonly facts: string;
  readonly status: string;
  readonly bytes: number;
}

export interface OutboxJobs {
  /** Everything named happens in one transaction; gives the number of the operation added. */
  'outbox.write': {
    args: {
      add?: NewOperation;
      changes?: readonly OperationChange[];
      ids?: readonly GivenId[];
      remove?: readonly number[];
      forgetIds?: {
        before: number;
        ids: readonly Pick<GivenId, 'service' | 'partition' | 'provisional'>[];
      };
    };
    result: number | undefined;
  };
}

export type OutboxWrite = OutboxJobs['outbox.write']['args'];

/** The writing side of replica-outbox.db. */
export function outboxVerbs(database: DatabaseSync) {
  const add = database.prepare(
    `INSERT INTO operations (id, service, partition, state, next_at, client_key, facts, status, request, base, answer,
       outcome, theirs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const change = database.prepare('UPDATE operations SET state = ?, next_at = ?, status = ? WHERE seq = ?');
  const parts = Object.fromEntries(
    partNames.map(name => [name, database.prepare(`UPDATE operations SET ${name} = ? WHERE seq = ?`)]),
  );
  const remove = database.prepare('DELETE FROM operations WHERE seq = ?');
  const give = database.prepare('INSERT OR REPLACE INTO given_ids VALUES (?, ?, ?, ?, ?)');
  const forget = database.prepare('DELETE FROM given_ids WHERE at < ?');
  const forgetOne = database.prepare(
    'DELETE FROM given_ids WHERE service = ? AND partition = ? AND provisional = ?',
  );
  return {
    'outbox.write'(write: OutboxWrite): number | undefined {
      for (const one of write.changes ?? []) {
        change.run(one.state, one.nextAt, one.status, one.seq);
        for (const name of partNames) {
          const bytes = one[name];
          if (bytes !== undefined) {
            parts[name]?.run(bytes, one.seq);
          }
        }
      }
      for (const id of write.ids ?? []) {
        give.run(id.service, id.partition, id.provisional, id.given, id.at);
      }
      for (const seq of write.remove ?? []) {
        remove.run(seq);
      }
      if (write.forgetIds !== undefined) {
        forget.run(write.forgetIds.before);
        for (const { service, partition, provisional } of write.forgetIds.ids) {
          forgetOne.run(service, partition, provisional);
        }
      }
      if (write.add === undefined) {
        return undefined;
      }
      const one = write.add;
      const { lastInsertRowid } = add.run(
        one.id,
        one.service,
        one.partition,
        one.state,
        one.nextAt,
        one.clientKey,
        one.facts,
        one.status,
        one.request,
        one.base,
        one.answer,
        one.outcome,
        one.theirs,
      );
      return Number(lastInsertRowid);
    },
  };
}

const partNames = ['request', 'base', 'answer', 'outcome', 'theirs'] as const;

export interface OutboxReads {
  /** Every operation, oldest first. */
  operations(): readonly OperationRow[];
  givenIds(): readonly GivenId[];
  countGiven(): number;
  parts(seq: number): OutboxParts | undefined;
}

/** What is committed, read beside the writer. */
export function outboxReads(database: DatabaseSync): OutboxReads {
  const size = partNames.map(name => `coalesce(length(${name}), 0)`).join(' + ');
  const all = database.prepare(
    `SELECT seq, id, service, partition, client_key, facts, status, ${size} AS bytes FROM operations ORDER BY seq`,
  );
  const given = database.prepare(
    'SELECT service, partition, provisional, given, at FROM given_ids ORDER BY at',
  );
  const count = database.prepare('SELECT count(*) AS n FROM given_ids');
  const parts = database.prepare(`SELECT ${partNames.join(', ')} FROM operations WHERE seq = ?`);
  return {
    operations: () => all.all() as unknown as OperationRow[],
    givenIds: () => given.all() as unknown as GivenId[],
    countGiven: () => (count.get() as { n: number }).n,
    parts: seq => parts.get(seq) as unknown as OutboxParts | undefined,
  };
}
