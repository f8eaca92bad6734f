import type { Cancel, Clock } from '../../lib/clock.ts';

/**
 * Rings at a moment that may be put off or brought forward at any time. Putting it off costs nothing,
 * which is what packets do that arrive: the timer that runs already finds out when it fires.
 */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #wanted = Number.POSITIVE_INFINITY;
  #set = Number.POSITIVE_INFINITY;
  #cancel: Cancel | undefined;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Ring at this moment, monotonic ms, and not before; `Infinity` for never. */
  at(moment: number): void {
    this.#wanted = moment;
    if (moment >= this.#set) {
      return;
    }
    this.#cancel?.();
    this.#set = moment;
    this.#cancel = this.#clock.after(Math.max(0, moment - this.#clock.monotonic()), () => this.#fired());
  }

  /** Never again, until it is set again. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#set = Number.POSITIVE_INFINITY;
    this.#wanted = Number.POSITIVE_INFINITY;
  }

  #fired(): void {
    this.#cancel = undefined;
    this.#set = Number.POSITIVE_INFINITY;
    const wanted = this.#wanted;
    if (wanted === Number.POSITIVE_INFINITY) {
      return;
    }
    if (wanted > this.#clock.monotonic()) {
      this.at(wanted);
      return;
    }
    this.#wanted = Number.POSITIVE_INFINITY;
    this.#ring();
  }
}
