import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Address, Message } from './message.ts';
import { type Rate, type RouteRule, rateOf } from './route-rule.ts';
import type { Recipient } from './router.ts';
import type { RouteView } from './society-contract.ts';
import { fill, readTemplate, type Template, type TemplateFacts } from './template.ts';

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
  /** Whether the rate of a rule has a place for the sender and the recipient now; nothing is taken. */
  hasPlace(from: Address, recipient: Recipient): boolean;
  /** What a recipient that a rule adds reads instead of the message; undefined where it reads the message itself. */
  wordsFor(recipient: Recipient, message: Message): Words | undefined;
  /** What came of the rules, by id. */
  counts(): ReadonlyMap<string, Pick<RouteView, 'passed' | 'leftOut'>>;
  /** Other rules from now on; one that stays keeps its counts and its rates. */
  replace(rules: readonly RouteRule[]): void;
}

/** Members of a message that a rule words anew; `without` are left out of it. */
export type Words = Partial<Pick<Message, 'text' | 'title' | 'type'>> & {
  readonly without?: readonly ['data'];
};

interface Rule {
  readonly rule: RouteRule;
  readonly key: number;
  readonly rate: Rate | undefined;
  readonly text: Template | undefined;
  readonly title: Template | undefined;
  passed: number;
  leftOut: number;
}

/** Pairs of sender and recipient whose times are remembered; the one unused longest is forgotten first. */
const pairsMost = 10_000;
/** Characters of a title that a template makes. */
const longestTitle = 200;

export function createRoutes(options: {
  readonly rules: readonly RouteRule[];
  readonly clock: Clock;
  readonly counters: Counters;
  /** What templates know beside the message. */
  readonly facts?: Omit<TemplateFacts, 'message'>;
}): Routes {
  const { clock, counters } = options;
  let keys = 0;
  let rules = options.rules.map(begin);
  /** By rule, sender and recipient: when the latest passed, by the monotonic clock, oldest first. */
  const times = new Map<string, readonly number[]>();

  function begin(rule: RouteRule): Rule {
    keys += 1;
    const rate = rule.maxRate === undefined ? undefined : rateOf(rule.maxRate);
    const { text, title } = rule.template ?? {};
    return { rule, key: keys, rate, text: template(text), title: template(title), passed: 0, leftOut: 0 };
  }

  const pairOf = (rule: Rule | undefined, from: Address, to: Address) => `${rule?.key} ${from} ${to}`;

  /** When those passed that a rate still counts. */
  function recent(rate: Rate, key: string, now: number): readonly number[] {
    return (times.get(key) ?? []).filter(at => now - at < rate.per);
  }

  /** Takes a place; undefined where there is none now. */
  function take(rate: Rate | undefined, key: string): (() => void) | undefined {
    if (rate === undefined) {
      return () => {};
    }
    const now = clock.monotonic();
    const before = recent(rate, key, now);
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
        const giveBack = take(count?.rate, pairOf(count, from, address));
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
    hasPlace(from, { route, address }) {
      const rule = route === undefined ? undefined : rules[route];
      const key = pairOf(rule, from, address);
      return rule?.rate === undefined || recent(rule.rate, key, clock.monotonic()).length < rule.rate.count;
    },
    wordsFor({ route, bridge }, message) {
      const rule = route === undefined ? undefined : rules[route];
      // An app reads the message as it is, and words it as it likes.
      if (rule?.text === undefined || options.facts === undefined || bridge === 'app') {
        return undefined;
      }
      const facts = { ...options.facts, message };
      const { type, withoutData } = rule.rule.template ?? {};
      const title = rule.title === undefined ? '' : fill(rule.title, facts).replace(/\s+/g, ' ').trim();
      return {
        text: fill(rule.text, facts),
        ...(title === '' ? {} : { title: title.slice(0, longestTitle) }),
        ...(type === undefined ? {} : { type }),
        ...(withoutData === true ? { without: ['data'] as const } : {}),
      };
    },
    counts: () => new Map(rules.map(({ rule, passed, leftOut }) => [rule.id ?? '', { passed, leftOut }])),
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

/** A template that was checked when its rule was written. */
function template(source: string | undefined): Template | undefined {
  const read = source === undefined ? undefined : readTemplate(source);
  return read !== undefined && 'template' in read ? read.template : undefined;
}
