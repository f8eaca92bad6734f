import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { RouteView } from './desk.ts';
import type { Address } from './message.ts';
import { type RouteRule, rateOf } from './route-rule.ts';
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
}

/** Pairs of sender and recipient whose times are remembered; the one unused longest is forgotten first. */
const pairsMost = 10_000;

export function createRoutes(options: {
  readonly rules: readonly RouteRule[];
  readonly clock: Clock;
  readonly counters: Counters;
}): Routes {
  const { rules, clock, counters } = options;
  const rates = rules.map(({ maxRate }) => (maxRate === undefined ? undefined : rateOf(maxRate)));
  const counts = rules.map(() => ({ passed: 0, leftOut: 0 }));
  /** By rule, sender and recipient: when the latest passed, by the monotonic clock, oldest first. */
  const times = new Map<string, readonly number[]>();

  /** Takes a place; undefined where there is none now. */
  function take(index: number, key: string): (() => void) | undefined {
    const rate = rates[index];
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
    rules,
    admit(from, recipients) {
      const undo: (() => void)[] = [];
      const admitted = recipients.filter(({ route, address }) => {
        if (route === undefined) {
          return true;
        }
        const giveBack = take(route, `${route} ${from} ${address}`);
        const count = counts[route];
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
    views: () => rules.map((rule, index) => ({ ...rule, ...(counts[index] ?? { passed: 0, leftOut: 0 }) })),
  };
}
