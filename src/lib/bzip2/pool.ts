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
  /** Stops the worker; what waits is rejected with `store/unavailable`. */
  close(): Promise<void>;
}

export interface CompressorOptions {
  readonly clock?: Clock;
  /** ms without work after which the worker, and its memory, are given back. Default 10 s. */
  readonly idle?: number;
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

/** One worker, started when there is work for it; small things are done at once. */
export function createCompressor(options: CompressorOptions = {}): Compressor {
  const worker = new LazyWorker(options);
  return {
    async compress(bytes) {
      if (bytes.length <= smallInput) {
        return smaller(compress(bytes), bytes);
      }
      if (!worker.hasRoom(bytes.length)) {
        return undefined;
      }
      return smaller(await worker.run({ bytes: new Uint8Array(bytes) }), bytes);
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
      if (!worker.hasRoom(bytes.length)) {
        throw new GatewayError('store/full', 'bzip2: too much waits already', { retryable: true });
      }
      return worker.run({ bytes: new Uint8Array(bytes), limit });
    },
    close: () => worker.close(),
  };
}

function smaller(compressed: Uint8Array, bytes: Uint8Array): Uint8Array | undefined {
  return compressed.length < bytes.length ? compressed : undefined;
}

/** Runs one job after the other in a thread that is there only while it is used. */
class LazyWorker {
  readonly #clock: Clock;
  readonly #idle: number;
  readonly #capacity: number;
  readonly #waiting: Job[] = [];
  #waitingBytes = 0;
  #current: Job | undefined;
  #worker: Worker | undefined;
  #cancelIdle: Cancel | undefined;
  #closed = false;

  constructor({ clock = systemClock, idle = 10_000, capacity = 32 * 1024 * 1024 }: CompressorOptions) {
    this.#clock = clock;
    this.#idle = idle;
    this.#capacity = capacity;
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
    await this.#stop(closed());
  }

  #next(): void {
    if (this.#current !== undefined) {
      return;
    }
    const job = this.#waiting.shift();
    if (job === undefined) {
      this.#worker?.unref();
      this.#cancelIdle?.();
      this.#cancelIdle = this.#clock.after(this.#idle, () => void this.#stop(closed()));
      return;
    }
    this.#cancelIdle?.();
    this.#waitingBytes -= job.task.bytes.length;
    this.#current = job;
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#worker.postMessage(job.task, [job.task.bytes.buffer as ArrayBuffer]);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    worker.on('message', (answer: Answer) => {
      const job = this.#current;
      this.#current = undefined;
      if ('bytes' in answer) {
        job?.resolve(answer.bytes);
      } else {
        job?.reject(new GatewayError(answer.code, answer.message));
      }
      this.#next();
    });
    worker.on('error', cause => this.#lost(worker, cause));
    worker.on('exit', () => this.#lost(worker, undefined));
    return worker;
  }

  /** The thread ended by itself, out of memory perhaps: its job fails, the next one gets a new thread. */
  #lost(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) {
      return;
    }
    this.#worker = undefined;
    this.#current?.reject(new GatewayError('internal', 'bzip2: the worker ended', { cause }));
    this.#current = undefined;
    this.#next();
  }

  async #stop(why: GatewayError): Promise<void> {
    this.#cancelIdle?.();
    const worker = this.#worker;
    this.#worker = undefined;
    for (const job of [this.#current, ...this.#waiting.splice(0)]) {
      job?.reject(why);
    }
    this.#current = undefined;
    this.#waitingBytes = 0;
    await worker?.terminate();
  }
}

function closed(): GatewayError {
  return new GatewayError('store/unavailable', 'bzip2: closed');
}
