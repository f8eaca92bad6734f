import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Address, Message } from './message.ts';
import { createPace, type Pace } from './pace.ts';
import { type RouteRule, rateOf } from './route-rule.ts';
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
  /** Where it has a rate. */
  readonly pace: Pace | undefined;
  readonly text: Template | undefined;
  readonly title: Template | undefined;
  passed: number;
  leftOut: number;
}

/** Pairs of sender and recipient that are remembered for all rates; each rule has its share, and no other takes of it. */
const pairsMost = 8192;
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
  let rules = options.rules.map(begin);
  share();

  function begin(rule: RouteRule): Rule {
    const rate = rule.maxRate === undefined ? undefined : rateOf(rule.maxRate);
    const { text, title } = rule.template ?? {};
    const pace = rate && createPace(rate, pairsMost);
    return { rule, pace, text: template(text), title: template(title), passed: 0, leftOut: 0 };
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
      share();
    },
  };
}

/** A template that was checked when its rule was written. */
function template(source: string | undefined): Template | undefined {
  const read = source === undefined ? undefined : readTemplate(source);
  return read !== undefined && 'template' in read ? read.template : undefined;
}
