import type { Cancel, Clock } from '../lib/clock.ts';

/** One timer for the earliest of many ends. */
export interface Expiry {
  /** Something ends at this time (ms epoch). */
  expect(at: number): void;
  stop(): void;
}

/** ms between two looks for what has run out of time. */
const sweepEvery = 1000;

/** `sweep` ends what has run out of time at `now` and gives the earliest end that is left, or Infinity. */
export function createExpiry(clock: Clock, sweep: (now: number) => number): Expiry {
  let next = Number.POSITIVE_INFINITY;
  let cancel: Cancel | undefined;
  let stopped = false;

  function expect(at: number): void {
    if (at < next && !stopped) {
      next = at;
      cancel?.();
      cancel = clock.after(Math.max(at - clock.now(), 0), look);
    }
  }

  function look(): void {
    const now = clock.now();
    next = Number.POSITIVE_INFINITY;
    const left = sweep(now);
    if (left < Number.POSITIVE_INFINITY) {
      expect(Math.max(left, now + sweepEvery));
    }
  }

  return {
    expect,
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}
