import { MessageChannel, Worker } from 'node:worker_threads';
import { type ErrorCode, errorCodes, GatewayError } from '../../lib/errors.ts';
import type {
  Args,
  CommitReport,
  JobFailure,
  JobRequest,
  Result,
  Verb,
  WriterData,
  WriterReady,
} from './job.ts';
import { signal } from './job.ts';

/** The way to the writer thread. */
export interface Committer {
  /**
   * Resolves when the job's transaction is on disk. `urgent` does not wait behind a group of others. Throws
   * `store/full`, `store/unavailable`, and what the verb itself throws.
   */
  commit<V extends Verb>(verb: V, args: Args<V>, options?: { readonly urgent?: boolean }): Promise<Result<V>>;
  /** Called after each commit that brought events, with the newest one's number. */
  onEvents(listener: (newest: number) => void): () => void;
  /** Called once if the writer dies: nothing can be stored from then on. */
  onFailure(listener: (error: GatewayError) => void): void;
  readonly ready: WriterReady;
  /** Jobs posted and not yet answered. */
  readonly waiting: number;
  /** Commits so far, each one sync of a log. */
  readonly commits: number;
  /** Finishes what was posted, folds the logs back and ends the thread. */
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

/** Jobs that may wait for the writer: past this the disk is slower than what comes in. */
const jobLimit = 20_000;

/** Starts the writer thread and resolves when both databases are open. Throws `store/unavailable`. */
export async function startCommitter(options: Omit<WriterData, 'signals'>): Promise<Committer> {
  const signals = new Int32Array(new SharedArrayBuffer(16));
  const worker = new Worker(new URL('./writer.ts', import.meta.url), {
    workerData: { ...options, signals } satisfies WriterData,
    name: 'store writer',
  });
  const lanes = { urgent: new MessageChannel(), gateway: new MessageChannel(), mesh: new MessageChannel() };
  const ports = { urgent: lanes.urgent.port2, gateway: lanes.gateway.port2, mesh: lanes.mesh.port2 };
  worker.postMessage(ports, Object.values(ports));
  const ready = await firstWord(worker);

  const waiting = new Map<number, Waiting>();
  const listeners = new Set<(newest: number) => void>();
  const failures = new Set<(error: GatewayError) => void>();
  let next = 1;
  let dead: GatewayError | undefined;
  let closing = false;

  worker.on('message', (report: CommitReport) => {
    for (const reply of report.replies) {
      const job = waiting.get(reply.id);
      waiting.delete(reply.id);
      if ('failure' in reply) {
        job?.reject(failureError(reply.failure));
      } else {
        job?.resolve(reply.value as never);
      }
    }
    if (report.newestEvent !== undefined) {
      for (const listener of listeners) {
        listener(report.newestEvent);
      }
    }
  });
  let lastWords = 'it ended by itself';
  worker.on('error', error => {
    lastWords = String(error);
  });
  const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()));
  worker.once('exit', () => {
    const error = new GatewayError(
      'store/unavailable',
      closing ? 'the store is closed' : `the store's writer is gone: ${lastWords}`,
    );
    dead = error;
    for (const job of waiting.values()) {
      job.reject(error);
    }
    waiting.clear();
    if (!closing) {
      for (const listener of failures) {
        listener(error);
      }
    }
  });

  return {
    ready,
    get waiting() {
      return waiting.size;
    },
    get commits() {
      return Atomics.load(signals, signal.commits);
    },
    commit(verb, args, { urgent = false } = {}) {
      if (dead !== undefined || closing) {
        return Promise.reject(dead ?? new GatewayError('store/unavailable', 'the store is closing'));
      }
      if (waiting.size >= jobLimit) {
        return Promise.reject(
          new GatewayError('store/full', `${jobLimit} writes wait for the disk`, { retryable: true }),
        );
      }
      const id = next++;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        const lane = verb.startsWith('mesh.') ? lanes.mesh : urgent ? lanes.urgent : lanes.gateway;
        lane.port1.postMessage({ id, verb, args } satisfies JobRequest);
        if (lane === lanes.urgent) {
          Atomics.add(signals, signal.urgent, 1);
        }
        wake(signals);
      });
    },
    onEvents(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onFailure(listener) {
      failures.add(listener);
    },
    async close() {
      closing = true;
      Atomics.store(signals, signal.closing, 1);
      wake(signals);
      await ended;
      for (const lane of Object.values(lanes)) {
        lane.port1.close();
      }
    },
  };
}

function wake(signals: Int32Array<SharedArrayBuffer>): void {
  Atomics.add(signals, signal.posted, 1);
  Atomics.notify(signals, signal.posted);
}

function firstWord(worker: Worker): Promise<WriterReady> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown) => reject(asUnavailable(error));
    worker.once('error', failed);
    worker.once('message', (ready: WriterReady) => {
      worker.off('error', failed);
      resolve(ready);
    });
  });
}

/** An error that came over from the thread has lost its class. */
function asUnavailable(error: unknown): GatewayError {
  const message = error instanceof Error ? error.message : String(error);
  return new GatewayError('store/unavailable', message, { cause: error });
}

function failureError(failure: JobFailure): GatewayError {
  const code = errorCodes.includes(failure.code as ErrorCode) ? (failure.code as ErrorCode) : 'internal';
  return new GatewayError(code, failure.message, { retryable: failure.retryable });
}
