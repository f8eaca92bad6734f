/** Moments remembered: enough to tell the highest rate that is configured by default from a little less. */
const samples = 64;
/** Share of them that must have come for a rate to be exceeded, whatever the rate. */
const enough = 48;
/** ms after which a moment says nothing any more. */
const memory = 10_000;
/** ms that a rate is measured over at the least, where nothing else is said. */
const defaultSpan = 5000;

/** How often something happened lately. */
export class Frequency {
  readonly #leastSpan: number;
  readonly #times = new Float64Array(samples);
  #first = 0;
  #count = 0;

  /** `leastSpan`: ms that its rate is measured over at the least. */
  constructor(leastSpan = defaultSpan) {
    this.#leastSpan = leastSpan;
  }

  /** It happens now, monotonic ms. */
  note(now: number): void {
    if (this.#count === samples) {
      this.#first = (this.#first + 1) % samples;
      this.#count -= 1;
    }
    this.#times[(this.#first + this.#count) % samples] = now;
    this.#count += 1;
  }

  /** How often it happened in the last ten seconds, as far as that is remembered. */
  lately(now: number): number {
    while (this.#count > 0 && now - this.#times[this.#first]! > memory) {
      this.#first = (this.#first + 1) % samples;
      this.#count -= 1;
    }
    return this.#count;
  }

  /** Whether it happens more often than `rate` times a second. */
  exceeds(rate: number, now: number): boolean {
    this.lately(now);
    if (this.#count === 0) {
      return false;
    }
    const span = Math.max(now - this.#times[this.#first]!, Math.min(this.#leastSpan, (enough * 1000) / rate));
    return (this.#count * 1000) / span > rate;
  }
}

/** When too much is too much. */
export interface BurstLimits {
  /** Times a second. */
  readonly rate: number;
  /** ms without more than that until it is over. */
  readonly calm: number;
}

/** Whether something comes in bursts: from when it is too often, until it has not been for some time. */
export class Burst {
  readonly #frequency: Frequency;
  #sustained = 0;
  #since: number | undefined;

  /** `leastSpan`: see `Frequency`. */
  constructor(leastSpan?: number) {
    this.#frequency = new Frequency(leastSpan);
  }

  /** Monotonic ms at which the burst began that lasts still, as far as is known. */
  get since(): number | undefined {
    return this.#since;
  }

  /** Monotonic ms at which the burst began that lasts at this moment; asking begins and ends none. */
  runsSince(calm: number, now: number): number | undefined {
    return now <= this.#sustained + calm ? this.#since : undefined;
  }

  /** It happens once more. */
  note(now: number): void {
    this.#frequency.note(now);
  }

  /** See `Frequency.lately`. */
  lately(now: number): number {
    return this.#frequency.lately(now);
  }

  /** Whether it is more than the rate at this moment. */
  exceeds(limits: BurstLimits, now: number): boolean {
    return this.#frequency.exceeds(limits.rate, now);
  }

  /** Whether a burst lasts. */
  lasts(limits: BurstLimits, now: number): boolean {
    if (this.exceeds(limits, now)) {
      this.#sustained = now;
      this.#since ??= now;
    } else if (this.#since !== undefined && now > this.#sustained + limits.calm) {
      this.#since = undefined;
    }
    return this.#since !== undefined;
  }
}
