import { type Fields, field, joined, listOf } from '../fields.ts';

/**
 * Directives of a Cache-Control field by lower-case name: true without an argument, else the argument without
 * its quotes. The first of two with one name counts.
 *
 * Source: RFC 9111 §5.2.
 */
export type Directives = ReadonlyMap<string, string | true>;

/** Reads a Cache-Control field of all its lines. */
export function directivesOf(value: string | undefined): Directives {
  const found = new Map<string, string | true>();
  for (const member of listOf(value)) {
    const equals = member.indexOf('=');
    const name = (equals < 0 ? member : member.slice(0, equals)).trim().toLowerCase();
    if (!found.has(name)) {
      found.set(name, equals < 0 ? true : unquoted(member.slice(equals + 1).trim()));
    }
  }
  return found;
}

/** What a response says to caches such as this one: CDN-Cache-Control where it is well-formed, else Cache-Control. */
export function responseDirectives(headers: Fields): {
  readonly directives: Directives;
  readonly targeted: boolean;
} {
  const targeted = structuredDirectives(joined(headers, 'cdn-cache-control'));
  return targeted === undefined
    ? { directives: directivesOf(joined(headers, 'cache-control')), targeted: false }
    : { directives: targeted, targeted: true };
}

/** Directives of a request; `Pragma: no-cache` counts where there is no Cache-Control. */
export function requestDirectives(headers: Fields): Directives {
  const control = joined(headers, 'cache-control');
  const pragma =
    control === undefined && /(?:^|,)\s*no-cache\s*(?:,|$)/i.test(field(headers, 'pragma') ?? '');
  return pragma ? new Map([['no-cache', true]]) : directivesOf(control);
}

/**
 * Seconds of a directive: undefined where it is absent, 0 where it is no whole number that can be believed.
 * A number too large for anything counts as very long.
 */
export function seconds(directives: Directives, name: string): number | undefined {
  const value = directives.get(name);
  if (value === undefined) {
    return undefined;
  }
  return value !== true && /^\d+$/.test(value) ? Math.min(Number(value), longest) : 0;
}

/** 68 years: what RFC 9111 §1.2.2 has caches take for a number they cannot hold. */
const longest = 2 ** 31;

function unquoted(text: string): string {
  return text.length >= 2 && text.startsWith('"') && text.endsWith('"')
    ? text.slice(1, -1).replace(/\\(.)/g, '$1')
    : text;
}

const key = /^[a-z*][a-z0-9_.*-]*$/;
const integer = /^-?\d{1,15}$/;
const other =
  /^(?:-?\d{1,12}\.\d{1,3}|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*|:[A-Za-z0-9+/=]*:|\?[01])$/;

/**
 * A targeted field is a Structured Fields dictionary: one mistake and all of it is ignored, undefined then. In a
 * dictionary the last member of a name counts.
 *
 * Source: RFC 9213 §2.1, RFC 9651 §3.2.
 */
function structuredDirectives(value: string | undefined): Directives | undefined {
  if (value === undefined || value.trim() === '' || /,\s*(?:,|$)/.test(value)) {
    return undefined;
  }
  const found = new Map<string, string | true>();
  for (const member of listOf(value)) {
    const [head = '', ...parameters] = splitParameters(member);
    if (!parameters.every(isParameter)) {
      return undefined;
    }
    const equals = head.indexOf('=');
    const name = equals < 0 ? head : head.slice(0, equals);
    const item = equals < 0 ? '?1' : head.slice(equals + 1);
    if (!key.test(name) || !(integer.test(item) || other.test(item))) {
      return undefined;
    }
    if (item === '?0') {
      found.delete(name);
    } else {
      found.set(name, item === '?1' ? true : unquoted(item));
    }
  }
  return found;
}

function splitParameters(member: string): string[] {
  return member.split(/;(?=(?:[^"]*"[^"]*")*[^"]*$)/).map((part, at) => (at === 0 ? part : part.trimStart()));
}

function isParameter(text: string): boolean {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const item = equals < 0 ? '?1' : text.slice(equals + 1);
  return key.test(name) && (integer.test(item) || other.test(item));
}
