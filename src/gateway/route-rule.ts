import type { Address, Message, Priority } from './message.ts';

/**
 * A rule that adds recipients to what is said in the hub's own rooms, `room:hub` and `room:sensors`, and is otherwise
 * only kept: `{from: 'mqtt:dev/#', type: 'sensor.reading', to: ['lxmf:…'], priority: 'bulk', maxRate: '1/10m'}`.
 */
export interface RouteRule {
  /** Whose messages: an address in which `*` stands for one piece of a topic and `#`, at its end, for all the rest. */
  readonly from: string;
  /** Only messages of this type. */
  readonly type?: string | undefined;
  readonly to: readonly Address[];
  /** The place in the queue, instead of the message's own. */
  readonly priority?: Priority | undefined;
  /**
   * `<number>/<time>`, such as `1/10m` or `6/h`: at most so many of each sender go to each recipient in any such time. What
   * comes faster is not delivered by this rule, now or later; it is counted, and the newest is not kept for then.
   */
  readonly maxRate?: string | undefined;
}

export interface Rate {
  readonly count: number;
  /** ms */
  readonly per: number;
}

/** Messages a rate may allow: each is remembered for as long as the rate's time. */
export const mostOfRate = 1000;
const rateShape = /^([1-9]\d{0,3})\/([1-9]\d{0,3})?([smhd])$/;
const unit = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const patternShape = /^[a-z]+:[^\s#]*#?$/;

/** The rate of a text such as `1/10m`; undefined where it is none. */
export function rateOf(text: string): Rate | undefined {
  const [, count, times = '1', name] = rateShape.exec(text) ?? [];
  return count === undefined || Number(count) > mostOfRate
    ? undefined
    : { count: Number(count), per: Number(times) * unit[name as keyof typeof unit] };
}

/** Whether a text can be a rule's `from`. */
export function isPattern(text: string): boolean {
  return patternShape.test(text) && (!text.endsWith('#') || /[:/]#$/.test(text));
}

/** Whether the rule is about the message. */
export function matches(rule: RouteRule, message: Pick<Message, 'from' | 'type'>): boolean {
  return (rule.type === undefined || rule.type === message.type) && fits(rule.from, message.from);
}

/** Piece by piece, so that no pattern takes long. */
function fits(pattern: string, address: Address): boolean {
  const scheme = pattern.indexOf(':') + 1;
  if (pattern.slice(0, scheme) !== address.slice(0, scheme)) {
    return false;
  }
  const wanted = pattern.slice(scheme).split('/');
  const pieces = address.slice(scheme).split('/');
  const rest = wanted.at(-1) === '#';
  const fixed = rest ? wanted.slice(0, -1) : wanted;
  return (
    (rest ? pieces.length >= fixed.length : pieces.length === fixed.length) &&
    fixed.every((piece, index) => piece === '*' || piece === pieces[index])
  );
}
