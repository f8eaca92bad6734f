import { fromHex } from '../../lib/bytes.ts';
import type { AnnouncePolicy } from './interface-policy.ts';
import type { RateFacts } from './interface-stats.ts';

interface Rate {
  /** When the last announce that was in order came, ms. */
  readonly last: number;
  readonly violations: number;
  readonly blockedUntil: number;
}

/** Destinations whose rate is watched; the one heard least recently goes first. */
const defaultCapacity = 20_000;
/** Source: RNS 1.5.7, on a node that forwards. */
const defaultTarget = 3_600_000;
const defaultGrace = 5;

/**
 * How often each destination announces itself. One that does so too often is still heard, but not
 * passed on: a few nodes with a short timer must not fill every radio's air.
 *
 * Source: Reticulum manual, “Announce Rate Control”.
 */
export class AnnounceRates {
  readonly #capacity: number;
  readonly #rates = new Map<string, Rate>();

  constructor(capacity: number = defaultCapacity) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#rates.size;
  }

  /** Those watched now, the one heard least recently first. */
  *values(): Iterable<RateFacts> {
    for (const [key, { last, violations, blockedUntil }] of this.#rates) {
      yield { destinationHash: fromHex(key), last, violations, blockedUntil };
    }
  }

  /** An announce of a destination came in; whether it may be passed on. */
  allows(key: string, now: number, policy: AnnouncePolicy = {}): boolean {
    const { rateTarget = defaultTarget, rateGrace = defaultGrace, ratePenalty = 0 } = policy;
    const before = this.#rates.get(key);
    const rate =
      before === undefined
        ? { last: now, violations: 0, blockedUntil: 0 }
        : judge(before, now, rateTarget, rateGrace, ratePenalty);
    this.#rates.delete(key);
    this.#rates.set(key, rate);
    if (this.#rates.size > this.#capacity) {
      this.#rates.delete(this.#rates.keys().next().value as string);
    }
    return rate.blockedUntil <= now;
  }
}

function judge(before: Rate, now: number, target: number, grace: number, penalty: number): Rate {
  if (before.blockedUntil > now) {
    return before;
  }
  const violations = now - before.last < target ? before.violations + 1 : Math.max(0, before.violations - 1);
  return violations > grace
    ? { last: before.last, violations, blockedUntil: before.last + target + penalty }
    : { last: now, violations, blockedUntil: 0 };
}
