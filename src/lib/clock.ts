import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';

/** Stops something that was arranged; calling it twice does nothing. */
export type Cancel = () => void;

/**
 * The time, passed in so that tests and simulations own it. `now` is wall time and may jump;
 * `monotonic` never goes back, and durations are measured with it. All in ms.
 */
export interface Clock {
  /** ms since 1970, by the machine's clock. */
  now(): number;
  /** ms since some fixed moment; never goes back. */
  monotonic(): number;
  /** ms since the machine was started, its sleep included, where the system says so; to a second or so. */
  readonly uptime?: () => number;
  /** Resolves after `delay` ms; rejects with the signal's reason if it is aborted before. */
  sleep(delay: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once after `delay` ms unless cancelled. Does not keep the process alive. */
  after(delay: number, callback: () => void): Cancel;
}

/** Longest delay of a Node timer; a longer one would fire at once. */
const longestTimer = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  uptime: () => uptime() * 1000,
  sleep(delay, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
        Math.min(Math.max(delay, 0), longestTimer),
      );
      signal?.addEventListener('abort', abort, { once: true });
    });
  },
  after(delay, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delay, 0), longestTimer));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
