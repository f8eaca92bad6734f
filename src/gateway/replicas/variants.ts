import { type Fields, field } from './fields.ts';
import { parseDate } from './rfc9111/date.ts';
import { selects } from './rfc9111/vary.ts';
import type { CacheEntry } from './store/cache-entry.ts';

/**
 * The stored answer a request selects: of several the one its origin made last, a whole one before a part.
 *
 * Source: RFC 9111 §4.
 */
export function chosenOf(entries: readonly CacheEntry[], request: Fields): CacheEntry | undefined {
  const fitting = entries.filter(({ vary }) => selects(vary, request));
  return fitting.toSorted(
    (one, other) =>
      partly(one) - partly(other) || madeAt(other) - madeAt(one) || other.responseTime - one.responseTime,
  )[0];
}

function partly(entry: CacheEntry): number {
  return entry.status === 206 ? 1 : 0;
}

function madeAt(entry: CacheEntry): number {
  return parseDate(field(entry.headers, 'date'), entry.responseTime) ?? entry.responseTime;
}
