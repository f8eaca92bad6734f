import { type Fields, field, joined, listOf, without } from '../fields.ts';
import { parseDate } from './date.ts';

const conditionals = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range'];

/** Fields of a stored response that an update leaves alone: they belong to the bytes. Source: RFC 9111 §3.2. */
const ofTheBytes: ReadonlySet<string> = new Set(['content-length', 'content-encoding', 'content-range']);

/** The request without a client's conditions. */
export function unconditional(request: Fields): Fields {
  return without(request, ...conditionals);
}

/**
 * The request that asks whether any of the stored responses still holds: every entity tag of them, and the date
 * of the one that would be sent. The client's own conditions are looked at afterwards, here.
 *
 * Source: RFC 9111 §4.3.1.
 */
export function conditional(request: Fields, stored: readonly Fields[], chosen: Fields | undefined): Fields {
  const tags = [...new Set(stored.map(headers => field(headers, 'etag')).filter(tag => tag !== undefined))];
  const modified = chosen === undefined ? undefined : field(chosen, 'last-modified');
  return [
    ...unconditional(request),
    ...(tags.length > 0 ? [['If-None-Match', tags.join(', ')] as const] : []),
    ...(modified !== undefined ? [['If-Modified-Since', modified] as const] : []),
  ];
}

/**
 * Which of the stored responses a 304 speaks of, by its validators; -1 where of none of them.
 *
 * Source: RFC 9111 §4.3.4.
 */
export function confirmedBy(update: Fields, stored: readonly Fields[], chosen: number): number {
  const tag = field(update, 'etag');
  if (tag !== undefined) {
    if (chosen >= 0 && sameTag(tag, field(stored[chosen] ?? [], 'etag'))) {
      return chosen;
    }
    return stored.findIndex(headers => sameTag(tag, field(headers, 'etag')));
  }
  const modified = field(update, 'last-modified');
  if (modified !== undefined && chosen >= 0) {
    const known = field(stored[chosen] ?? [], 'last-modified');
    return known === undefined || known === modified ? chosen : -1;
  }
  return chosen;
}

/** The stored fields with those of a 304 in place of theirs. */
export function updated(stored: Fields, update: Fields): Fields {
  const news = update.filter(([name]) => !ofTheBytes.has(name.toLowerCase()));
  const names = new Set(news.map(([name]) => name.toLowerCase()));
  return [...stored.filter(([name]) => !names.has(name.toLowerCase())), ...news];
}

/** Weak comparison of two entity tags. Source: RFC 9110 §8.8.3.2. */
export function sameTag(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && opaque(one) === opaque(other);
}

/** Strong comparison. */
export function sameStrongTag(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && one === other && one.startsWith('"');
}

/** What a client's conditions make of a stored response. */
export type Condition = 'send' | 'not-modified' | 'failed';

/**
 * Looks at the conditions of a GET or HEAD: If-None-Match wins over If-Modified-Since.
 *
 * Source: RFC 9110 §13.2.2; RFC 9111 §4.3.2.
 */
export function conditionOf(
  request: Fields,
  status: number,
  stored: Fields,
  responseTime: number,
): Condition {
  if (status < 200 || status > 299) {
    return 'send';
  }
  const tag = field(stored, 'etag');
  const match = joined(request, 'if-match');
  if (match !== undefined) {
    if (match.trim() !== '*' && !listOf(match).some(each => sameStrongTag(each, tag))) {
      return 'failed';
    }
  } else {
    const unmodified = parseDate(field(request, 'if-unmodified-since'), responseTime);
    const modified = parseDate(field(stored, 'last-modified'), responseTime);
    if (unmodified !== undefined && modified !== undefined && modified > unmodified) {
      return 'failed';
    }
  }
  const none = joined(request, 'if-none-match');
  if (none !== undefined) {
    return none.trim() === '*' || listOf(none).some(each => sameTag(each, tag)) ? 'not-modified' : 'send';
  }
  const since = parseDate(field(request, 'if-modified-since'), responseTime);
  if (since === undefined) {
    return 'send';
  }
  const changed =
    parseDate(field(stored, 'last-modified'), responseTime) ??
    parseDate(field(stored, 'date'), responseTime) ??
    responseTime;
  return changed <= since ? 'not-modified' : 'send';
}

/** Fields of a 304 made from a stored response: what says something of it, without what describes bytes that are not sent. */
export function notModifiedFields(stored: Fields): Fields {
  return stored.filter(([name]) => {
    const lower = name.toLowerCase();
    return !lower.startsWith('content-') || lower === 'content-location';
  });
}

function opaque(tag: string): string {
  return tag.replace(/^W\//, '');
}
