import { type Fields, field, joined, listOf } from '../fields.ts';
import { parseDate } from './date.ts';
import { type Directives, responseDirectives, seconds } from './directives.ts';

/** A stored response as the calculations need it. Times in ms epoch of this machine. */
export interface StoredHead {
  readonly status: number;
  readonly headers: Fields;
  /** When the request for it was sent and its head came. */
  readonly requestTime: number;
  readonly responseTime: number;
  /** Something happened to the resource since: it counts as stale whatever it says. */
  readonly invalid: boolean;
}

/** Statuses that may be given a lifetime by guess. Source: RFC 9110 §15.1, RFC 9111 §4.2.2. */
const heuristic: ReadonlySet<number> = new Set([200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501]);

export function isHeuristicallyCacheable(status: number): boolean {
  return heuristic.has(status);
}

/** A guess is a tenth of the time since the last change, at most a day. */
const guessedShare = 0.1;
const longestGuess = 86_400;

/** A stored time this far ahead of the clock means that the clock was set back: nobody knows its age. ms. */
const clockDoubt = 60_000;

/**
 * Seconds that a response is fresh after it left the origin; below 0 where it was never.
 *
 * Source: RFC 9111 §4.2.1, §4.2.2, §5.3.
 */
export function lifetimeOf(head: StoredHead): number {
  const { directives, targeted } = responseDirectives(head.headers);
  const told = seconds(directives, 's-maxage') ?? seconds(directives, 'max-age');
  if (told !== undefined) {
    return told;
  }
  const date = parseDate(field(head.headers, 'date'), head.responseTime) ?? head.responseTime;
  const expires = targeted ? undefined : joined(head.headers, 'expires');
  if (expires !== undefined) {
    const at = parseDate(expires, head.responseTime);
    return at === undefined ? 0 : (at - date) / 1000;
  }
  const modified = parseDate(field(head.headers, 'last-modified'), head.responseTime);
  if (modified === undefined || !(isHeuristicallyCacheable(head.status) || directives.has('public'))) {
    return 0;
  }
  return Math.max(0, Math.min(((date - modified) / 1000) * guessedShare, longestGuess));
}

/**
 * Seconds since the origin made or confirmed it; infinite where the clock was set back since.
 *
 * Source: RFC 9111 §4.2.3.
 */
export function ageOf(head: StoredHead, now: number): number {
  if (head.responseTime > now + clockDoubt) {
    return Number.POSITIVE_INFINITY;
  }
  const date = parseDate(field(head.headers, 'date'), head.responseTime) ?? head.responseTime;
  const apparent = Math.max(0, (head.responseTime - date) / 1000);
  const delay = Math.max(0, (head.responseTime - head.requestTime) / 1000);
  const corrected = ageField(head.headers) + delay;
  return Math.max(apparent, corrected) + Math.max(0, (now - head.responseTime) / 1000);
}

/** Seconds of the Age field: the first member of the first line, nothing where that is no number. Source: RFC 9111 §5.1. */
export function ageField(headers: Fields): number {
  const [first = ''] = listOf(field(headers, 'age'));
  return /^\d+$/.test(first) ? Math.min(Number(first), 2 ** 31) : 0;
}

/** Whether a response says itself how long it is fresh. */
export function hasExplicitLifetime(headers: Fields, directives: Directives): boolean {
  return directives.has('max-age') || directives.has('s-maxage') || field(headers, 'expires') !== undefined;
}
