import { fromHex } from '../../lib/bytes.ts';
import type { AnnouncePolicy } from './interface-policy.ts';
import type { RateFacts } from './interface-stats.ts';

interface Verdict {
  /** When the last announce that was in order came, ms. */
  readonly last: number;
  readonly violations: number;
  readonly blockedUntil: number;
  /** When nothing in it matters any more, ms: one that has kept still for so long begins anew. */
  readonly until: number;
}

interface Rate extends Verdict {
  /** When it was heard lately, ms. */
  readonly heard: readonly number[];
}

/** Destinations whose rate is watched; the one heard least recently goes first. */
const defaultCapacity = 20_000;
/** Times in ms. Source: RNS 1.5.7, on a node that forwards. */
export const rateDefaults = { target: 3_600_000, grace: 5, penalty: 0 } as const;
/** Moments kept of each, for those who look. Source: RNS 1.5.7. */
const momentsKept = 16;
/** Each keeps a destination that is silent in mind for the time of one more announce; beyond these none does. */
const violationsRemembered = 24;

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
    for (const [key, { last, violations, blockedUntil, heard }] of this.#rates) {
      yield { destinationHash: fromHex(key), last, violations, blockedUntil, heard };
    }
  }

  /** An announce of a destination came in; whether it may be passed on. */
  allows(key: string, now: number, policy: AnnouncePolicy = {}): boolean {
    const {
      rateTarget = rateDefaults.target,
      rateGrace = rateDefaults.grace,
      ratePenalty = rateDefaults.penalty,
    } = policy;
    const before = this.#rates.get(key);
    const rate =
      before === undefined
        ? { last: now, violations: 0, blockedUntil: 0, until: now + rateTarget }
        : judge(before, now, rateTarget, rateGrace, ratePenalty);
    const heard = before === undefined ? [now] : [...before.heard, now].slice(-momentsKept);
    this.#rates.delete(key);
    this.#rates.set(key, { ...rate, heard });
    this.#forgetOld(now);
    return rate.blockedUntil <= now;
  }

  /** What has not been heard for long, and what there is no room for; the one heard longest ago is first. */
  #forgetOld(now: number): void {
    for (const [key, { until }] of this.#rates) {
      if (until > now && this.#rates.size <= this.#capacity) {
        break;
      }
      this.#rates.delete(key);
    }
  }
}

function judge(before: Rate, now: number, target: number, grace: number, penalty: number): Verdict {
  if (before.blockedUntil > now) {
    return before;
  }
  const violations = now - before.last < target ? before.violations + 1 : Math.max(0, before.violations - 1);
  const isOver = violations > grace;
  const last = isOver ? before.last : now;
  const blockedUntil = isOver ? last + target + penalty : 0;
  const memory = Math.min(violations, violationsRemembered) * target;
  return { last, violations, blockedUntil, until: Math.max(blockedUntil, last + target) + memory };
}
