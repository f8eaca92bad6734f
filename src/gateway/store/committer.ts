import type { Worker } from 'node:worker_threads';
import type { Clock } from '../../lib/clock.ts';
import { type ErrorCode, errorCodes, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { type ServiceHealth, supervise } from '../../lib/service.ts';
import type { EventRow } from './event-table.ts';
import {
  type Args,
  type CommitReport,
  type JobFailure,
  type JobReply,
  type JobRequest,
  type LaneName,
  laneNames,
  type Result,
  type Verb,
  type WriterData,
  type WriterReady,
} from './job.ts';
import { PendingJobs } from './pending-jobs.ts';
import { startWriterThread, type WriterThread } from './writer-thread.ts';

/** How soon a job must be on disk. At most one of them. */
export interface CommitOptions {
  /** Somebody's timer runs: it does not wait behind a group of others. */
  readonly urgent?: boolean;
  /** Nobody waits for it: it goes with the next job that somebody waits for, or after some ms. */
  readonly lazy?: boolean;
}

/** What a job is about; as a function it is asked for when the job leaves for the writer. */
export type Given<T> = T | (() => T);

type EventListener = (newest: number, events?: readonly EventRow[]) => void;

/** The way to the writer thread. */
export interface Committer {
  /**
   * Resolves when the job's transaction is on disk. Jobs of one database that are not urgent are committed in the order
   * they were given. Throws `store/full`, `store/unavailable`, and what the verb itself throws. After
   * `store/unavailable` the job may have been done all the same: the writer died over it.
   */
  commit<V extends Verb>(verb: V, args: Given<Args<V>>, options?: CommitOptions): Promise<Result<V>>;
  /** Lazy jobs wait no longer: somebody waits for one of them now. */
  hasten(): void;
  /** Called after each commit that brought events, with the newest one's number and, where they were carried, all of them. */
  onEvents(listener: EventListener): () => void;
  /** Whether somebody follows the events: few of them are carried to the listeners then. */
  carryEvents(on: boolean): void;
  /** The writer thread is gone, or back: while it is not `up` every job is refused with `store/unavailable`. */
  onHealth(listener: (health: ServiceHealth) => void): () => void;
  /** Whether what is accepted can be kept: called with why not when a job met a full disk, or one that cannot be written, and with undefined when one was written again. */
  onTrouble(listener: (trouble: GatewayError | undefined) => void): () => void;
  /** A job met a database that is damaged: called with its path and what SQLite says. */
  onDamage(listener: (path: string, reason: string) => void): () => void;
  readonly ready: WriterReady;
  /** Jobs posted and not yet answered. */
  readonly waiting: number;
  /** Commits so far, each one sync of a log. */
  readonly commits: number;
  /** Finishes what was posted, folds the logs back and ends the thread. */
  close(): Promise<void>;
}

export interface CommitterOptions extends Omit<WriterData, 'signals' | 'first' | 'now'> {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told of each thread: a test ends one. */
  readonly onWriter?: (worker: Worker) => void;
}

interface Waiting {
  /** Its outcome tells whether messages can be kept. */
  readonly tells: boolean;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

/** Jobs that add to the database of messages, and so tell whether there is room in it. */
const tellingVerbs: ReadonlySet<string> = new Set(['accept', 'acceptAll', 'store.probe']);
/** Jobs that may wait for the writer: past this the disk is slower than what comes in. */
const jobLimit = 20_000;
/** ms a lazy job waits for company: longer than a peer on a LAN takes to say that it has a message. */
const lazyDelay = 20;
/** Replies heard in one turn of the event loop: what follows from them must not hold up everybody else. */
const repliesAtOnce = 16;
/** Jobs that go to a writer which sleeps before the turn is over: a group of fewer costs more than the time that is won. */
const enoughAhead = 12;

/**
 * Starts the writer thread and resolves when all databases are open; a thread that dies later is started
 * again, after a while. Throws `store/unavailable`.
 */
export async function startCommitter(options: CommitterOptions): Promise<Committer> {
  const { clock, random, log, onWriter, ...data } = options;
  const waiting = new PendingJobs<Waiting>();
  const outgoing: Record<LaneName, JobRequest[]> = { urgent: [], gateway: [], mesh: [], outbox: [] };
  let carrying = false;
  const replies: JobReply[] = [];
  const listeners = new Set<EventListener>();
  const troubleListeners = new Set<(trouble: GatewayError | undefined) => void>();
  const damageListeners = new Set<(path: string, reason: string) => void>();
  let trouble: string | undefined;
  const healthListeners = new Set<(health: ServiceHealth) => void>();
  const closing = new AbortController();
  let thread: WriterThread | undefined;
  let gone = new GatewayError('store/unavailable', 'the store is starting', { retryable: true });
  let commitsBefore = 0;
  let flushing = false;
  let cancelLazy: (() => void) | undefined;

  function flush(): void {
    flushing = false;
    cancelLazy?.();
    cancelLazy = undefined;
    for (const lane of laneNames) {
      const jobs = outgoing[lane];
      if (jobs.length > 0) {
        outgoing[lane] = [];
        post(lane, jobs.map(asGiven));
      }
    }
  }

  /** What cannot be sent to a thread fails alone. */
  function post(lane: LaneName, jobs: readonly JobRequest[]): void {
    try {
      thread?.post(lane, jobs);
    } catch (error) {
      if (jobs.length > 1) {
        for (const job of jobs) {
          post(lane, [job]);
        }
        return;
      }
      for (const { id } of jobs) {
        waiting.take(id)?.reject(error);
      }
    }
  }

  /**
   * Everything given in this turn of the event loop travels together: what all sockets that could be read have brought.
   * Where there is much of it and the writer has nothing to do, some goes ahead, so that both work at the same time.
   */
  function flushSoon({ urgent, lazy }: CommitOptions): void {
    if (urgent) {
      flush();
    } else if (lazy) {
      cancelLazy ??= clock.after(lazyDelay, flush);
    } else if (!flushing) {
      flushing = true;
      setImmediate(flush);
    } else if (outgoing.gateway.length >= enoughAhead && thread?.isIdle === true) {
      flush();
    }
  }

  function hear(reply: JobReply): void {
    const job = waiting.take(reply.id);
    const failure = 'failure' in reply ? reply.failure : undefined;
    const error = failure && failureError(failure);
    const met = error?.code.startsWith('store/') === true ? error : undefined;
    // A job that failed by itself tells nothing, and one that was refused for what it asked for neither.
    if (job?.tells === true && met?.code !== trouble && (error === undefined || met !== undefined)) {
      trouble = met?.code;
      for (const listener of troubleListeners) {
        listener(met);
      }
    }
    if (failure?.damaged !== undefined) {
      for (const listener of damageListeners) {
        listener(failure.damaged, failure.message);
      }
    }
    if (error !== undefined) {
      job?.reject(error);
    } else {
      job?.resolve((reply as { value: unknown }).value as never);
    }
  }

  function hearSome(): void {
    for (const reply of replies.splice(0, repliesAtOnce)) {
      hear(reply);
    }
    if (replies.length > 0) {
      setImmediate(hearSome);
    }
  }

  function take(report: CommitReport): void {
    for (const reply of report.urgent) {
      hear(reply);
    }
    const idle = replies.length === 0;
    replies.push(...report.replies);
    if (idle) {
      hearSome();
    }
    if (report.newestEvent !== undefined) {
      for (const listener of listeners) {
        listener(report.newestEvent, report.events);
      }
    }
  }

  function lose(error: GatewayError): void {
    thread = undefined;
    gone = error;
    for (const reply of replies.splice(0)) {
      hear(reply);
    }
    for (const lane of laneNames) {
      outgoing[lane] = [];
    }
    for (const job of waiting.takeAll()) {
      job.reject(error);
    }
  }

  async function start(first: boolean): Promise<WriterThread> {
    const started = await startWriterThread({ ...data, first, now: clock.now() }, take);
    started.follow(carrying);
    onWriter?.(started.worker);
    return started;
  }

  async function live(current: WriterThread): Promise<void> {
    thread = current;
    if (closing.signal.aborted) {
      current.finish();
    }
    const words = await current.ended;
    commitsBefore += current.commits;
    lose(
      closing.signal.aborted
        ? new GatewayError('store/unavailable', 'the store is closed')
        : new GatewayError('store/unavailable', `the store's writer is gone: ${words}`, { retryable: true }),
    );
    throw gone;
  }

  const firstThread = await start(true);
  let unused: WriterThread | undefined = firstThread;
  const running = supervise(
    {
      name: 'store',
      async run(up) {
        const current = unused ?? (await start(false));
        unused = undefined;
        thread = current;
        up();
        await live(current);
      },
    },
    {
      clock,
      random,
      log,
      signal: closing.signal,
      onChange(health) {
        for (const listener of healthListeners) {
          listener(health);
        }
      },
    },
  );

  return {
    ready: firstThread.ready,
    get waiting() {
      return waiting.size;
    },
    get commits() {
      return commitsBefore + (thread?.commits ?? 0);
    },
    commit(verb, args, commit = {}) {
      if (thread === undefined || closing.signal.aborted) {
        return Promise.reject(
          thread === undefined ? gone : new GatewayError('store/unavailable', 'the store is closing'),
        );
      }
      if (waiting.size >= jobLimit) {
        return Promise.reject(
          new GatewayError('store/full', `${jobLimit} writes wait for the disk`, { retryable: true }),
        );
      }
      return new Promise((resolve, reject) => {
        const id = waiting.add({ resolve, reject, tells: tellingVerbs.has(verb) });
        const lane = laneOf(verb, commit);
        outgoing[lane].push({ id, verb, args });
        flushSoon(commit);
      });
    },
    hasten: () => flushSoon({}),
    carryEvents(on) {
      carrying = on;
      thread?.follow(on);
    },
    onEvents(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onTrouble(listener) {
      troubleListeners.add(listener);
      return () => troubleListeners.delete(listener);
    },
    onDamage(listener) {
      damageListeners.add(listener);
      return () => damageListeners.delete(listener);
    },
    onHealth(listener) {
      healthListeners.add(listener);
      return () => healthListeners.delete(listener);
    },
    async close() {
      flush();
      closing.abort();
      thread?.finish();
      await running;
    },
  };
}

function asGiven(job: JobRequest): JobRequest {
  return typeof job.args === 'function' ? { ...job, args: job.args() } : job;
}

/** The database a verb belongs to, by its first word, and how soon. */
function laneOf(verb: Verb, { urgent }: CommitOptions): LaneName {
  if (verb.startsWith('mesh.')) {
    return 'mesh';
  }
  if (verb.startsWith('outbox.')) {
    return 'outbox';
  }
  return urgent ? 'urgent' : 'gateway';
}

function failureError(failure: JobFailure): GatewayError {
  const code = errorCodes.includes(failure.code as ErrorCode) ? (failure.code as ErrorCode) : 'internal';
  return new GatewayError(code, failure.message, { retryable: failure.retryable });
}
