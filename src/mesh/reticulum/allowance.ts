import type { Clock } from '../../lib/clock.ts';

/** So many bytes at once, and more as time passes: what strangers can make this node send. */
export class Allowance {
  readonly #clock: Clock;
  /** Bytes a ms. */
  #rate: number;
  #burst: number;
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
    this.#fill();
    if (bytes > this.#left) {
      return false;
    }
    this.#left -= bytes;
    return true;
  }

  /** From now on it is another: what is left of the one before is no more than that has at once. */
  change(rate: number, burst: number): void {
    this.#fill();
    this.#rate = rate;
    this.#burst = burst;
    this.#left = Math.min(burst, this.#left);
  }

  #fill(): void {
    const now = this.#clock.monotonic();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#rate);
    this.#at = now;
  }
}

interface OfInterface {
  readonly allowance: Allowance;
  /** bit/s that it is a share of. */
  bitrate: number;
}

/** An allowance for each interface, by a share of its bitrate and something at once. */
export class InterfaceAllowances {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #burst: (bytesPerSecond: number) => number;
  readonly #allowances = new WeakMap<object, OfInterface>();

  /** `burst`: bytes at once, by the bytes a second that the share is. */
  constructor(clock: Clock, share: number, burst: (bytesPerSecond: number) => number) {
    this.#clock = clock;
    this.#share = share;
    this.#burst = burst;
  }

  /** Whether so many bytes may leave by an interface now, which uses them up. An interface may be given another bitrate. */
  take(iface: { readonly bitrate: number }, bytes: number): boolean {
    const { bitrate } = iface;
    const bytesPerSecond = (bitrate / 8) * this.#share;
    let own = this.#allowances.get(iface);
    if (own === undefined) {
      const allowance = new Allowance(this.#clock, bytesPerSecond / 1000, this.#burst(bytesPerSecond));
      own = { allowance, bitrate };
      this.#allowances.set(iface, own);
    } else if (own.bitrate !== bitrate) {
      own.allowance.change(bytesPerSecond / 1000, this.#burst(bytesPerSecond));
      own.bitrate = bitrate;
    }
    return own.allowance.take(bytes);
  }
}
