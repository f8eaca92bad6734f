import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Cancel, Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../errors.ts';
import { compress } from './compress.ts';
import { decompress } from './decompress.ts';

/** bzip2 beside the event loop. Bytes given are copied, bytes gotten are fresh. */
export interface Compressor {
  /** The bytes compressed; undefined where that makes them no smaller, or too much waits already. */
  compress(bytes: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Rejects with `wire/truncated`, `wire/malformed`, with `mesh/too-large` over `limit` bytes, and with
   * `store/full` (retryable) where too much waits already.
   */
  decompress(bytes: Uint8Array, limit: number): Promise<Uint8Array>;
  /** Stops the workers; what waits is rejected with `store/unavailable`. */
  close(): Promise<void>;
}

export interface CompressorOptions {
  readonly clock?: Clock;
  /** ms without work after which the workers, and their memory, are given back. Default 10 s. */
  readonly idle?: number;
  /** Most workers at once. Default two, or one where the machine has no more processors. */
  readonly workers?: number;
  /** Most bytes that may wait. Default 32 MiB. */
  readonly capacity?: number;
}

/** To the worker: `limit` is there to decompress. */
export interface Task {
  readonly bytes: Uint8Array;
  readonly limit?: number;
}

/** From the worker. */
export type Answer = { readonly bytes: Uint8Array } | { readonly code: ErrorCode; readonly message: string };

interface Job {
  readonly task: Task;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Up to here it takes about a millisecond, less than to start a worker for it. */
const smallInput = 8192;
const smallOutput = 65_536;

/** Workers, each started when there is work for it; small things are done at once. */
export function createCompressor(options: CompressorOptions = {}): Compressor {
  const workers = new LazyWorkers(options);
  return {
    async compress(bytes) {
      if (bytes.length <= smallInput) {
        return smaller(compress(bytes), bytes);
      }
      if (!workers.hasRoom(bytes.length)) {
        return undefined;
      }
      return smaller(await workers.run({ bytes: new Uint8Array(bytes) }), bytes);
    },
    async decompress(bytes, limit) {
      if (bytes.length <= smallInput) {
        try {
          return decompress(bytes, { limit: Math.min(limit, smallOutput) });
        } catch (error) {
          if (limit <= smallOutput || !isGatewayError(error, 'mesh/too-large')) {
            throw error;
          }
        }
      }
      if (!workers.hasRoom(bytes.length)) {
        throw new GatewayError('store/full', 'bzip2: too much waits already', { retryable: true });
      }
      return workers.run({ bytes: new Uint8Array(bytes), limit });
    },
    close: () => workers.close(),
  };
}

function smaller(compressed: Uint8Array, bytes: Uint8Array): Uint8Array | undefined {
  return compressed.length < bytes.length ? compressed : undefined;
}

/** Runs jobs in threads that are there only while they are used, one job at a time in each. */
class LazyWorkers {
  readonly #clock: Clock;
  readonly #idle: number;
  readonly #capacity: number;
  readonly #most: number;
  readonly #waiting: Job[] = [];
  #waitingBytes = 0;
  readonly #busy = new Map<Worker, Job>();
  readonly #free: Worker[] = [];
  #cancelIdle: Cancel | undefined;
  #closed = false;

  constructor(options: CompressorOptions) {
    const { clock = systemClock, idle = 10_000, capacity = 32 * 1024 * 1024 } = options;
    this.#clock = clock;
    this.#idle = idle;
    this.#capacity = capacity;
    this.#most = options.workers ?? Math.min(2, availableParallelism());
  }

  /** One job is taken whatever its size, so that nothing is too large for ever. */
  hasRoom(bytes: number): boolean {
    return this.#waitingBytes === 0 || this.#waitingBytes + bytes <= this.#capacity;
  }

  run(task: Task): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    if (this.#closed) {
      reject(closed());
      return promise;
    }
    this.#waiting.push({ task, resolve, reject });
    this.#waitingBytes += task.bytes.length;
    this.#next();
    return promise;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelIdle?.();
    const workers = [...this.#free.splice(0), ...this.#busy.keys()];
    for (const job of [...this.#busy.values(), ...this.#waiting.splice(0)]) {
      job.reject(closed());
    }
    this.#busy.clear();
    this.#waitingBytes = 0;
    await Promise.all(workers.map(worker => worker.terminate()));
  }

  #next(): void {
    this.#cancelIdle?.();
    while (this.#waiting.length > 0 && this.#busy.size < this.#most) {
      const job = this.#waiting.shift()!;
      const { task } = job;
      const worker = this.#free.pop() ?? this.#start();
      this.#waitingBytes -= task.bytes.length;
      this.#busy.set(worker, job);
      worker.ref();
      worker.postMessage(task, [task.bytes.buffer as ArrayBuffer]);
    }
    if (this.#free.length > 0) {
      this.#cancelIdle = this.#clock.after(this.#idle, () => {
        for (const worker of this.#free.splice(0)) {
          void worker.terminate();
        }
      });
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    worker.on('message', (answer: Answer) => {
      const job = this.#busy.get(worker);
      if (job === undefined) {
        return;
      }
      this.#busy.delete(worker);
      this.#free.push(worker);
      worker.unref();
      if ('bytes' in answer) {
        job.resolve(answer.bytes);
      } else {
        job.reject(new GatewayError(answer.code, answer.message));
      }
      this.#next();
    });
    worker.on('error', cause => this.#lost(worker, cause));
    worker.on('exit', () => this.#lost(worker, undefined));
    return worker;
  }

  /** The thread ended by itself, out of memory perhaps: its job fails, the next one gets a new thread. */
  #lost(worker: Worker, cause: unknown): void {
    const at = this.#free.indexOf(worker);
    if (at !== -1) {
      this.#free.splice(at, 1);
    }
    const job = this.#busy.get(worker);
    if (job !== undefined) {
      this.#busy.delete(worker);
      job.reject(new GatewayError('internal', 'bzip2: the worker ended', { cause }));
      this.#next();
    }
  }
}

function closed(): GatewayError {
  return new GatewayError('store/unavailable', 'bzip2: closed');
}
