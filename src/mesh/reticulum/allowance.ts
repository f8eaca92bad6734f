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

/** An allowance for each interface, by a share of its bitrate and something at once. */
export class InterfaceAllowances {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #burst: (bytesPerSecond: number) => number;
  readonly #allowances = new WeakMap<object, Allowance>();

  /** `burst`: bytes at once, by the bytes a second that the share is. */
  constructor(clock: Clock, share: number, burst: (bytesPerSecond: number) => number) {
    this.#clock = clock;
    this.#share = share;
    this.#burst = burst;
  }

  /** Whether so many bytes may leave by an interface now, which uses them up. */
  take(iface: { readonly bitrate: number }, bytes: number): boolean {
    let allowance = this.#allowances.get(iface);
    if (allowance === undefined) {
      const bytesPerSecond = (iface.bitrate / 8) * this.#share;
      allowance = new Allowance(this.#clock, bytesPerSecond / 1000, this.#burst(bytesPerSecond));
      this.#allowances.set(iface, allowance);
    }
    return allowance.take(bytes);
  }
}
