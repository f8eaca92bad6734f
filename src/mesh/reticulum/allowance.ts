import type { Clock } from '../../lib/clock.ts';

/** So many bytes at once, and more as time passes: what strangers can make this node send. */
export class Allowance {
  readonly #clock: Clock;
  /** Bytes a ms. */
  readonly #rate: number;
  readonly #burst: number;
  #left: number;
  #at: number;

  constructor(clock: Clock, rate: number, burst: number) {
    this.#clock = clock;
    this.#rate = rate;
    this.#burst = burst;
    this.#left = burst;
    this.#at = clock.monotonic();
  }

  /** Whether there is room for a packet of so many bytes, which is used up then. */
  take(bytes: number): boolean {
    const now = this.#clock.monotonic();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#rate);
    this.#at = now;
    if (bytes > this.#left) {
      return false;
    }
    this.#left -= bytes;
    return true;
  }
}
