import { type Fields, field } from '../fields.ts';

const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Whether a method changes nothing; one that nobody knows does. Source: RFC 9110 §9.2.1. */
export function isSafe(method: string): boolean {
  return safe.has(method);
}

/**
 * URLs whose stored answers an answered request puts in doubt: its own, and what Location and Content-Location
 * name at the same origin. Nothing where it failed.
 *
 * Source: RFC 9111 §4.4.
 */
export function invalidated(method: string, url: URL, status: number, response: Fields): readonly URL[] {
  if (isSafe(method) || status < 200 || status > 399) {
    return [];
  }
  const named = ['location', 'content-location']
    .map(name => field(response, name))
    .map(value => (value === undefined ? null : URL.parse(value, url)))
    .filter(other => other !== null && other.origin === url.origin) as URL[];
  return [url, ...named];
}
