import type { Fields } from '../fields.ts';
import { requestDirectives, responseDirectives, seconds } from './directives.ts';
import { ageOf, lifetimeOf, type StoredHead } from './freshness.ts';

/** What may be done with a stored response for a request, by HTTP alone. Ages in seconds. */
export interface Reuse {
  /** It may be sent without asking the origin. */
  readonly fresh: boolean;
  /** It may be sent while the origin is asked behind the client's back. */
  readonly whileRevalidate: boolean;
  /** It may be sent where the origin cannot be reached or fails. */
  readonly onError: boolean;
  readonly age: number;
  /** Seconds that it stays fresh; negative where it is stale. */
  readonly ttl: number;
}

export interface ReuseRules {
  /** ms that answers count as fresh whatever they say, or what they say. */
  readonly fresh: 'upstream' | number;
  readonly override: readonly string[];
}

/**
 * Judges a stored response that the request selects.
 *
 * Source: RFC 9111 §4, §4.2.4, §5.2.1, §5.2.2; RFC 5861.
 */
export function judge(head: StoredHead, request: Fields, now: number, rules: ReuseRules): Reuse {
  const { directives } = responseDirectives(head.headers);
  const asked = requestDirectives(request);
  const age = ageOf(head, now);
  const lifetime = rules.fresh === 'upstream' ? lifetimeOf(head) : rules.fresh / 1000;
  const ttl = lifetime - age;
  const ignores = (name: string) => rules.override.includes(name);
  const has = (name: string) => directives.has(name) && !ignores(name);
  const mustAsk = has('no-cache') || (directives.has('no-store') && !directives.has('must-understand'));
  const strict =
    mustAsk ||
    has('must-revalidate') ||
    ((directives.has('proxy-revalidate') || directives.has('s-maxage')) && !ignores('must-revalidate'));

  const atMost = seconds(asked, 'max-age');
  const minFresh = seconds(asked, 'min-fresh');
  const maxStale = asked.get('max-stale') === true ? Number.POSITIVE_INFINITY : seconds(asked, 'max-stale');
  const tooOld = atMost !== undefined && age > atMost;
  const soonStale = minFresh !== undefined && ttl < minFresh;
  const usable = !asked.has('no-cache') && !mustAsk && !head.invalid && !tooOld && !soonStale;
  const takenStale = !strict && maxStale !== undefined && -ttl <= maxStale;
  const whileRevalidate = seconds(directives, 'stale-while-revalidate') ?? 0;
  return {
    fresh: usable && (ttl > 0 || takenStale),
    whileRevalidate: usable && !strict && ttl <= 0 && -ttl <= whileRevalidate,
    onError: !strict,
    age,
    ttl,
  };
}

/** Whether the request asks for what is stored and nothing else. */
export function onlyIfCached(request: Fields): boolean {
  return requestDirectives(request).has('only-if-cached');
}
