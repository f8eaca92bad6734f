import type { DatabaseSync } from 'node:sqlite';
import type { JobFailure, JobReply, JobRequest } from './job.ts';

/** Verbs that note something beside the database: done twice, it would be noted twice. */
const onceOnly: ReadonlySet<string> = new Set(['retention.sweep']);

/** The jobs of one transaction, each done as a whole or not at all. */
export interface Group {
  /** No getter: of an object that is made so often it would keep all it sees until the next full collection. */
  size(): number;
  /** Throws where the transaction is lost, and nothing of the group is kept. */
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
 * with its own. Throws what BEGIN does.
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
  database.exec('BEGIN IMMEDIATE');

  function work({ id, verb, args }: JobRequest): JobReply {
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

  function alone(job: JobRequest): JobReply {
    database.exec('SAVEPOINT job');
    try {
      const reply = work(job);
      database.exec('RELEASE job');
      return reply;
    } catch (error) {
      undo(error, 'ROLLBACK TO job; RELEASE job');
      return { id: job.id, failure: describe(error) };
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
      if (onceOnly.has(job.verb)) {
        endRun();
        done.reply = alone(job);
        return;
      }
      if (!isFirst && run.length === 0) {
        database.exec('SAVEPOINT run');
        hasSavepoint = true;
      }
      run.push(done);
      try {
        done.reply = work(job);
      } catch (error) {
        undo(error, hasSavepoint ? 'ROLLBACK TO run' : 'ROLLBACK; BEGIN IMMEDIATE');
        const again = run;
        endRun();
        for (const one of again) {
          one.reply = alone(one.job);
        }
      }
    },
    replies: urgent => all.flatMap(one => (one.urgent === urgent ? (one.reply ?? []) : [])),
    failed: (failure, urgent) =>
      all.flatMap(({ job: { id }, urgent: was }) => (was === urgent ? [{ id, failure }] : [])),
  };
}
