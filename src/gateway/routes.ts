import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { RouteView } from './desk.ts';
import type { Address } from './message.ts';
import { type Rate, type RouteRule, rateOf } from './route-rule.ts';
import type { Recipient } from './router.ts';

/** The rules in use: holds their rates, and says what passed and what did not. */
export interface Routes {
  readonly rules: readonly RouteRule[];
  /**
   * The recipients that get a message of this sender: without those whose rule has no place for it now. `undo` gives
   * the places back, where it was not accepted after all.
   */
  admit(
    from: Address,
    recipients: readonly Recipient[],
  ): { readonly recipients: readonly Recipient[]; undo(): void };
  views(): readonly RouteView[];
  /** Other rules from now on; one that stays keeps its counts and its rates. */
  replace(rules: readonly RouteRule[]): void;
}

interface Rule {
  readonly rule: RouteRule;
  readonly key: number;
  readonly rate: Rate | undefined;
  passed: number;
  leftOut: number;
}

/** Pairs of sender and recipient whose times are remembered; the one unused longest is forgotten first. */
const pairsMost = 10_000;

export function createRoutes(options: {
  readonly rules: readonly RouteRule[];
  readonly clock: Clock;
  readonly counters: Counters;
}): Routes {
  const { clock, counters } = options;
  let keys = 0;
  let rules = options.rules.map(begin);
  /** By rule, sender and recipient: when the latest passed, by the monotonic clock, oldest first. */
  const times = new Map<string, readonly number[]>();

  function begin(rule: RouteRule): Rule {
    keys += 1;
    const rate = rule.maxRate === undefined ? undefined : rateOf(rule.maxRate);
    return { rule, key: keys, rate, passed: 0, leftOut: 0 };
  }

  /** Takes a place; undefined where there is none now. */
  function take(rate: Rate | undefined, key: string): (() => void) | undefined {
    if (rate === undefined) {
      return () => {};
    }
    const now = clock.monotonic();
    const before = (times.get(key) ?? []).filter(at => now - at < rate.per);
    times.delete(key);
    const full = before.length >= rate.count;
    times.set(key, full ? before : [...before, now]);
    if (times.size > pairsMost) {
      times.delete(times.keys().next().value as string);
    }
    return full ? undefined : () => times.set(key, before);
  }

  return {
    get rules() {
      return rules.map(({ rule }) => rule);
    },
    admit(from, recipients) {
      const undo: (() => void)[] = [];
      const admitted = recipients.filter(({ route, address }) => {
        if (route === undefined) {
          return true;
        }
        const count = rules[route];
        const giveBack = take(count?.rate, `${count?.key} ${from} ${address}`);
        if (giveBack === undefined) {
          counters.add('routes/over-rate');
          if (count !== undefined) {
            count.leftOut += 1;
          }
          return false;
        }
        counters.add('routes/passed');
        if (count !== undefined) {
          count.passed += 1;
        }
        undo.push(() => {
          giveBack();
          if (count !== undefined) {
            count.passed -= 1;
          }
        });
        return true;
      });
      return {
        recipients: admitted,
        undo() {
          for (const one of undo.splice(0)) {
            one();
          }
        },
      };
    },
    views: () => rules.map(({ rule, passed, leftOut }) => ({ ...rule, passed, leftOut })),
    replace(wanted) {
      const left = new Set(rules);
      rules = wanted.map(rule => {
        const same = [...left].find(one => isDeepStrictEqual(one.rule, rule)) ?? begin(rule);
        left.delete(same);
        return same;
      });
    },
  };
}
