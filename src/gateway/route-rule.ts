import { type Address, type Message, nameOf, type Priority, priorities, schemeOf } from './message.ts';
import { hubRoom, sensorRoom } from './own-rooms.ts';

/**
 * A rule that adds recipients to what is said in the hub's own rooms, `room:hub` and `room:sensors`, and is otherwise
 * only kept, or in the room it names: `{from: 'mqtt:dev/#', type: 'sensor.reading', to: ['lxmf:…'], maxRate: '1/10m'}`.
 */
export interface RouteRule {
  /** By which it is changed; one of the configuration that has none gets one from what it says. */
  readonly id?: string | undefined;
  /** False: it is not used. */
  readonly enabled?: boolean | undefined;
  /** Whose messages: an address in which `*` stands for one piece of a topic and `#`, at its end, for all the rest. */
  readonly from: string;
  /** Only what is said in this room; without it, in either of the hub's own. */
  readonly room?: string | undefined;
  /** Only messages of this type; with `.*` at its end, of all that begin so. */
  readonly type?: string | undefined;
  /** Only messages at least as urgent. */
  readonly minPriority?: Priority | undefined;
  readonly to: readonly Address[];
  /** The place in the queue, instead of the message's own. */
  readonly priority?: Priority | undefined;
  /**
   * `<number>/<time>`, such as `1/10m` or `6/h`: at most so many of each sender go to each recipient in any such time. What
   * comes faster is not delivered by this rule, now or later; it is counted, and the newest is not kept for then.
   */
  readonly maxRate?: string | undefined;
  /** What recipients other than apps read instead: see `template.ts`. */
  readonly template?: RuleTemplate | undefined;
  /** Rules with a smaller one come first; 0 without. */
  readonly order?: number | undefined;
  /** What it matches, no later rule does. */
  readonly stop?: boolean | undefined;
}

/** Texts of templates. */
export interface RuleTemplate {
  readonly text: string;
  readonly title?: string | undefined;
  /** Of the message that is made of it. */
  readonly type?: string | undefined;
  /** Leaves the machine part out: it costs airtime. */
  readonly withoutData?: boolean | undefined;
}

export interface Rate {
  readonly count: number;
  /** ms */
  readonly per: number;
}

/** A rate allows 1000 messages in its time at most. */
export const rateShape = /^(1000|[1-9]\d{0,2})\/([1-9]\d{0,3})?([smhd])$/;
const unit = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
export const patternShape = /^[a-z]+:(?:(?:[^\s#]*\/)?#|[^\s#]*)$/;

/** The rate of a text such as `1/10m`; undefined where it is none. */
export function rateOf(text: string): Rate | undefined {
  const [, count, times = '1', name] = rateShape.exec(text) ?? [];
  return count === undefined
    ? undefined
    : { count: Number(count), per: Number(times) * unit[name as keyof typeof unit] };
}

/** Whether a text can be a rule's `from`. */
export function isPattern(text: string): boolean {
  return patternShape.test(text);
}

/** Whether the rule is about the message: in a room, and written to it under its own name. */
export function matches(
  rule: RouteRule,
  message: Pick<Message, 'from' | 'type'> & Partial<Pick<Message, 'to' | 'priority'>>,
): boolean {
  return (
    rule.enabled !== false &&
    (message.to === undefined || isIn(rule, message.to)) &&
    (rule.type === undefined || isOfType(rule.type, message.type)) &&
    (rule.minPriority === undefined ||
      priorities.indexOf(message.priority ?? 'normal') <= priorities.indexOf(rule.minPriority)) &&
    fits(rule.from, message.from)
  );
}

function isIn({ room }: RouteRule, to: Address): boolean {
  const name = schemeOf(to) === 'room' ? nameOf(to) : undefined;
  return room === undefined ? name === hubRoom || name === sensorRoom : name === room;
}

function isOfType(wanted: string, type: string): boolean {
  return wanted.endsWith('.*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted;
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
