import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Address, Message } from './message.ts';
import { createPace, type Pace } from './pace.ts';
import { type RouteRule, rateOf } from './route-rule.ts';
import type { Recipient } from './router.ts';
import { type Ruling, type Wording, type Words, wordingOf, wordsOf, wordsOfChange } from './ruling.ts';
import type { RouteView } from './society-contract.ts';
import type { TemplateFacts } from './template.ts';

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
  /** What is to be kept with the delivery to a recipient that a rule adds, or added of the message that is changed; undefined where nothing. */
  rulingOf(recipient: Recipient): Ruling | undefined;
  /**
   * What a recipient that a rule adds reads instead of the message; undefined where it reads the message itself. With the
   * message that is changed, for those whom a rule added of that.
   */
  wordsFor(recipient: Recipient, message: Message, target?: Message): Words | undefined;
  /** What came of the rules, by id. */
  counts(): ReadonlyMap<string, Pick<RouteView, 'passed' | 'leftOut'>>;
  /** Other rules from now on; one that stays keeps its counts and its rates. */
  replace(rules: readonly RouteRule[]): void;
}

interface Rule {
  readonly rule: RouteRule;
  /** Where it has a rate. */
  readonly pace: Pace | undefined;
  readonly wording: Wording | undefined;
  passed: number;
  leftOut: number;
}

/** Pairs of sender and recipient that are remembered for all rates; each rule has its share, and no other takes of it. */
const pairsMost = 8192;

export function createRoutes(options: {
  readonly rules: readonly RouteRule[];
  readonly clock: Clock;
  readonly counters: Counters;
  /** What templates know beside the message. */
  readonly facts?: Omit<TemplateFacts, 'message'>;
}): Routes {
  const { clock, counters } = options;
  let rules = options.rules.map(begin);
  share();

  function begin(rule: RouteRule): Rule {
    const rate = rule.maxRate === undefined ? undefined : rateOf(rule.maxRate);
    const pace = rate && createPace(rate, pairsMost);
    return { rule, pace, wording: wordingOf(rule.template), passed: 0, leftOut: 0 };
  }

  function share(): void {
    const paced = rules.flatMap(({ pace }) => pace ?? []);
    for (const pace of paced) {
      pace.limit(Math.max(1, Math.floor(pairsMost / paced.length)));
    }
  }

  const pairOf = (from: Address, to: Address) => `${from} ${to}`;

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
        const rule = rules[route];
        const giveBack = rule?.pace?.take(pairOf(from, address), clock.monotonic());
        if (rule?.pace !== undefined && giveBack === undefined) {
          counters.add('routes/over-rate');
          rule.leftOut += 1;
          return false;
        }
        counters.add('routes/passed');
        if (rule !== undefined) {
          rule.passed += 1;
        }
        undo.push(() => {
          giveBack?.();
          if (rule !== undefined) {
            rule.passed -= 1;
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
      const pace = route === undefined ? undefined : rules[route]?.pace;
      return pace?.hasPlace(pairOf(from, address), clock.monotonic()) ?? true;
    },
    rulingOf({ route, bridge, ruling }) {
      if (ruling !== undefined || route === undefined || bridge === 'app') {
        return ruling;
      }
      const { template, priority } = rules[route]?.rule ?? {};
      return template === undefined && priority === undefined
        ? undefined
        : { ...(template && { template }), ...(priority && { priority }) };
    },
    wordsFor({ route, bridge, ruling }, message, target) {
      const wording = route === undefined ? wordingOf(ruling?.template) : rules[route]?.wording;
      // An app reads the message as it is, and words it as it likes.
      if (wording === undefined || options.facts === undefined || bridge === 'app') {
        return undefined;
      }
      return ruling === undefined
        ? wordsOf(wording, { ...options.facts, message })
        : wordsOfChange(wording, message, target, options.facts);
    },
    counts: () => new Map(rules.map(({ rule, passed, leftOut }) => [rule.id ?? '', { passed, leftOut }])),
    replace(wanted) {
      const left = new Set(rules);
      rules = wanted.map(rule => {
        const same = [...left].find(one => isDeepStrictEqual(one.rule, rule)) ?? begin(rule);
        left.delete(same);
        return same;
      });
      share();
    },
  };
}
