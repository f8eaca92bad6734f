import { MessageChannel, Worker } from 'node:worker_threads';
import { GatewayError } from '../../lib/errors.ts';
import {
  type CommitReport,
  type JobRequest,
  type LaneName,
  laneNames,
  signal,
  type WriterData,
  type WriterPorts,
  type WriterReady,
} from './job.ts';
import { type PackedReport, packJob, unpackReport } from './packed-reply.ts';

/** One life of the writer thread, seen from the main one. */
export interface WriterThread {
  readonly worker: Worker;
  readonly ready: WriterReady;
  /** Commits in this life. */
  readonly commits: number;
  /** Whether it sleeps, or is about to wake. */
  readonly isIdle: boolean;
  post(lane: LaneName, jobs: readonly JobRequest[]): void;
  /** Whether its reports bring the events themselves. */
  follow(on: boolean): void;
  /** Resolves when the thread is gone, with its last words. */
  readonly ended: Promise<string>;
  /** Lets it finish what was posted and fold the logs back; `ended` tells when. */
  finish(): void;
}

/** Starts the thread; resolves when both databases are open. Throws `store/unavailable`. */
export async function startWriterThread(
  data: Omit<WriterData, 'signals'>,
  onReport: (report: CommitReport) => void,
): Promise<WriterThread> {
  const signals = new Int32Array(new SharedArrayBuffer(32));
  const worker = new Worker(new URL('./writer.ts', import.meta.url), {
    workerData: { ...data, signals } satisfies WriterData,
    name: 'store writer',
  });
  const channels = laneNames.map(name => [name, new MessageChannel()] as const);
  const ours = Object.fromEntries(channels.map(([name, { port1 }]) => [name, port1])) as WriterPorts;
  const theirs = Object.fromEntries(channels.map(([name, { port2 }]) => [name, port2])) as WriterPorts;
  worker.postMessage(theirs, Object.values(theirs));
  let lastWords = 'it ended by itself';
  worker.on('error', error => {
    lastWords = String(error);
  });
  const ended = new Promise<string>(resolve =>
    worker.once('exit', () => {
      for (const port of Object.values(ours)) {
        port.close();
      }
      resolve(lastWords);
    }),
  );
  const ready = await firstWord(worker);
  worker.on('message', (report: PackedReport) => onReport(unpackReport(report)));

  function wake(): void {
    Atomics.add(signals, signal.posted, 1);
    if (Atomics.load(signals, signal.sleeping) === 1) {
      Atomics.notify(signals, signal.posted);
    }
  }

  return {
    worker,
    ready,
    ended,
    get commits() {
      return Atomics.load(signals, signal.commits);
    },
    get isIdle() {
      return Atomics.load(signals, signal.sleeping) === 1;
    },
    post(lane, jobs) {
      ours[lane].postMessage(jobs.map(packJob));
      if (lane === 'urgent') {
        Atomics.add(signals, signal.urgent, jobs.length);
      }
      wake();
    },
    follow(on) {
      Atomics.store(signals, signal.followed, on ? 1 : 0);
    },
    finish() {
      Atomics.store(signals, signal.closing, 1);
      wake();
    },
  };
}

function firstWord(worker: Worker): Promise<WriterReady> {
  return new Promise((resolve, reject) => {
    // An error that came over from the thread has lost its class.
    const failed = (error: unknown) =>
      reject(
        new GatewayError('store/unavailable', error instanceof Error ? error.message : String(error), {
          cause: error,
        }),
      );
    const gone = () => failed('the writer ended before it was ready');
    worker.once('error', failed);
    worker.once('exit', gone);
    worker.once('message', (ready: WriterReady) => {
      worker.off('error', failed);
      worker.off('exit', gone);
      resolve(ready);
    });
  });
}
