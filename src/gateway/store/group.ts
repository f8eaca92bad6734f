import type { DatabaseSync } from 'node:sqlite';
import type { JobFailure, JobReply, JobRequest } from './job.ts';

/** Verbs that note something beside the database: done twice, it would be noted twice. */
const onceOnly: ReadonlySet<string> = new Set(['retention.sweep']);

/** Whether a group is committed when this job is done: what makes room must not be undone by a job for which there is none. */
export function endsGroup({ verb }: JobRequest): boolean {
  return onceOnly.has(verb);
}

/** The jobs of one transaction, each done as a whole or not at all. */
export interface Group {
  /** No getter: of an object that is made so often it would keep all it sees until the next full collection. */
  size(): number;
  /** Throws where the transaction is lost for another reason than a full database, and nothing of the group is kept. */
  run(job: JobRequest, urgent: boolean): void;
  /** What became of the jobs, in their order. */
  replies(urgent: boolean): JobReply[];
  /** What became of them where it is the same for all. */
  failed(failure: JobFailure, urgent: boolean): JobReply[];
}

interface Done {
  readonly job: JobRequest;
  readonly urgent: boolean;
  reply: JobReply | undefined;
}

/**
 * Begins the transaction. A savepoint copies every page that is touched after it, so jobs go without one of their own: that
 * hardly ever fails. Where one does, those since the last savepoint, or since the beginning, are undone and done again, each
 * with its own. A database that is full gives the whole transaction up, also what was done before the job that was too much:
 * then all but that are done again. Throws what BEGIN does.
 */
export function beginGroup(
  database: DatabaseSync,
  verbs: Readonly<Record<string, (args: never) => unknown>>,
  describe: (error: unknown) => JobFailure,
): Group {
  const all: Done[] = [];
  /** Those of a run, which stand or fall together. */
  let run: Done[] = [];
  let hasSavepoint = false;
  /** The one that is being done. */
  let current: Done | undefined;
  database.exec('BEGIN IMMEDIATE');

  function work(done: Done): JobReply {
    current = done;
    const { id, verb, args } = done.job;
    return { id, value: verbs[verb]?.(args as never) };
  }

  /** SQLite gives a whole transaction up where the disk fails it: then there is nothing to go back to. */
  function undo(error: unknown, sql: string): void {
    if (!database.isTransaction) {
      throw error;
    }
    try {
      database.exec(sql);
    } catch {
      throw error;
    }
  }

  function endRun(): void {
    if (hasSavepoint) {
      database.exec('RELEASE run');
      hasSavepoint = false;
    }
    run = [];
  }

  function alone(done: Done): JobReply {
    database.exec('SAVEPOINT job');
    try {
      const reply = work(done);
      database.exec('RELEASE job');
      return reply;
    } catch (error) {
      undo(error, 'ROLLBACK TO job; RELEASE job');
      return { id: done.job.id, failure: describe(error) };
    }
  }

  function attempt(done: Done, isFirst: boolean): void {
    if (endsGroup(done.job)) {
      endRun();
      done.reply = alone(done);
      return;
    }
    if (!isFirst && run.length === 0) {
      database.exec('SAVEPOINT run');
      hasSavepoint = true;
    }
    run.push(done);
    try {
      done.reply = work(done);
    } catch (error) {
      undo(error, hasSavepoint ? 'ROLLBACK TO run' : 'ROLLBACK; BEGIN IMMEDIATE');
      const again = run;
      endRun();
      for (const one of again) {
        one.reply = alone(one);
      }
    }
  }

  /** All that has not failed is done again in another transaction, without the job that has lost this one. */
  function startOver(error: unknown): void {
    const failure = describe(error);
    if (database.isTransaction || failure.code !== 'store/full' || current === undefined) {
      throw error;
    }
    current.reply = { id: current.job.id, failure };
    current = undefined;
    run = [];
    hasSavepoint = false;
    database.exec('BEGIN IMMEDIATE');
    try {
      for (const one of all) {
        if (one.reply === undefined || !('failure' in one.reply)) {
          one.reply = endsGroup(one.job) ? { id: one.job.id, failure } : alone(one);
        }
      }
    } catch (again) {
      // One fewer each time.
      startOver(again);
    }
  }

  return {
    size() {
      return all.length;
    },
    run(job, urgent) {
      const done: Done = { job, urgent, reply: undefined };
      const isFirst = all.length === 0;
      all.push(done);
      try {
        attempt(done, isFirst);
      } catch (error) {
        startOver(error);
      }
    },
    replies: urgent => all.flatMap(one => (one.urgent === urgent ? (one.reply ?? []) : [])),
    failed: (failure, urgent) =>
      all.flatMap(({ job: { id }, urgent: was }) => (was === urgent ? [{ id, failure }] : [])),
  };
}
