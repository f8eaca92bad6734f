import type { Cancel, Clock } from '../../src/lib/clock.ts';
import { sleepOn } from './clock.ts';

/**
 * One machine's clock, on the time of all: its wall may be wrong, and when its process is killed nothing that waited
 * on it ever goes on.
 */
export class MortalClock implements Clock {
  readonly #time: Clock;
  /** ms that its wall is ahead. */
  readonly #ahead: number;
  readonly #waiting = new Set<Cancel>();
  #dead = false;

  constructor(time: Clock, ahead = 0) {
    this.#time = time;
    this.#ahead = ahead;
  }

  now(): number {
    return this.#time.now() + this.#ahead;
  }

  monotonic(): number {
    return this.#time.monotonic();
  }

  sleep(delay: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delay, signal);
  }

  after(delay: number, callback: () => void): Cancel {
    if (this.#dead) {
      return () => {};
    }
    const cancel = this.#time.after(delay, () => {
      this.#waiting.delete(forget);
      callback();
    });
    const forget = () => {
      cancel();
      this.#waiting.delete(forget);
    };
    this.#waiting.add(forget);
    return forget;
  }

  /** The process is gone. */
  kill(): void {
    this.#dead = true;
    for (const cancel of [...this.#waiting]) {
      cancel();
    }
  }
}
