import type { DatabaseSync } from 'node:sqlite';
import type { JobFailure, JobReply, JobRequest, Verb } from './job.ts';

/** Verbs that note something beside the database: done twice, it would be noted twice. */
const onceOnly: ReadonlySet<string> = new Set(['retention.sweep']);

/** Whether a group is committed when this job is done: what makes room must not be undone by a job for which there is none. */
export function endsGroup({ verb }: JobRequest): boolean {
  return onceOnly.has(verb);
}

/** Jobs of a verb that are done as one where they follow each other: that is quicker, and comes to the same. */
export interface Together {
  /** The verb that takes what all of them take, and gives what each gives. */
  readonly verb: Verb;
  readonly most: number;
  takes(job: JobRequest): boolean;
}

/** The jobs of one transaction, each done as a whole or not at all. */
export interface Group {
  /** No getter: of an object that is made so often it would keep all it sees until the next full collection. */
  size(): number;
  /** Throws where the transaction is lost for another reason than a full database, and nothing of the group is kept. */
  run(job: JobRequest, urgent: boolean): void;
  /** To be called before the transaction is committed. Throws as `run` does. */
  end(): void;
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
 * then all but that are done again. Those that are done together wait for each other, until another one comes or the group
 * ends; where they fail each is done again by itself. Throws what BEGIN does.
 */
export function beginGroup(
  database: DatabaseSync,
  verbs: Readonly<Record<string, (args: never) => unknown>>,
  describe: (error: unknown) => JobFailure,
  together?: Together,
): Group {
  const all: Done[] = [];
  /** Those of a run, which stand or fall together. */
  let run: Done[] = [];
  let hasSavepoint = false;
  /** Whether anything was done. */
  let isTouched = false;
  /** Those to be done together with what comes next. */
  let waiting: Done[] = [];
  /** What is being done. */
  let current: readonly Done[] = [];
  database.exec('BEGIN IMMEDIATE');

  function valuesOf(some: readonly Done[]): readonly unknown[] {
    const [one, ...others] = some.map(({ job }) => job);
    if (others.length > 0 && together !== undefined) {
      return verbs[together.verb]?.(some.map(({ job }) => job.args) as never) as readonly unknown[];
    }
    return one === undefined ? [] : [verbs[one.verb]?.(one.args as never)];
  }

  function work(some: readonly Done[]): void {
    current = some;
    const values = valuesOf(some);
    for (const [n, done] of some.entries()) {
      done.reply = { id: done.job.id, value: values[n] };
    }
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

  function alone(done: Done): void {
    database.exec('SAVEPOINT job');
    try {
      work([done]);
      database.exec('RELEASE job');
    } catch (error) {
      undo(error, 'ROLLBACK TO job; RELEASE job');
      done.reply = { id: done.job.id, failure: describe(error) };
    }
  }

  /** One, or several that are done together. */
  function attempt(some: readonly Done[]): void {
    const [first] = some;
    if (first !== undefined && endsGroup(first.job)) {
      endRun();
      alone(first);
      return;
    }
    if (isTouched && run.length === 0) {
      database.exec('SAVEPOINT run');
      hasSavepoint = true;
    }
    run.push(...some);
    try {
      work(some);
    } catch (error) {
      undo(error, hasSavepoint ? 'ROLLBACK TO run' : 'ROLLBACK; BEGIN IMMEDIATE');
      const again = run;
      endRun();
      for (const one of again) {
        alone(one);
      }
    }
  }

  function attemptOrStartOver(some: readonly Done[]): void {
    try {
      attempt(some);
    } catch (error) {
      startOver(error);
    } finally {
      isTouched = true;
    }
  }

  function end(): void {
    if (waiting.length > 0) {
      const some = waiting;
      waiting = [];
      attemptOrStartOver(some);
    }
  }

  /** All that has not failed is done again in another transaction, without the job that has lost this one where that is known. */
  function startOver(error: unknown): void {
    const failure = describe(error);
    const [one, ...others] = current;
    if (database.isTransaction || failure.code !== 'store/full' || one === undefined) {
      throw error;
    }
    if (others.length === 0) {
      one.reply = { id: one.job.id, failure };
    }
    current = [];
    run = [];
    hasSavepoint = false;
    database.exec('BEGIN IMMEDIATE');
    try {
      for (const one of all) {
        if (one.reply === undefined || !('failure' in one.reply)) {
          if (endsGroup(one.job)) {
            one.reply = { id: one.job.id, failure };
          } else {
            alone(one);
          }
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
      const isTogether = together?.takes(job) === true;
      if (!isTogether || waiting.length === together?.most) {
        end();
      }
      all.push(done);
      if (isTogether) {
        waiting.push(done);
      } else {
        attemptOrStartOver([done]);
      }
    },
    end,
    replies: urgent => all.flatMap(one => (one.urgent === urgent ? (one.reply ?? []) : [])),
    failed: (failure, urgent) =>
      all.flatMap(({ job: { id }, urgent: was }) => (was === urgent ? [{ id, failure }] : [])),
  };
}
