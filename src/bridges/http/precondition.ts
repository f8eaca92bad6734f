import { GatewayError } from '../../lib/errors.ts';
import type { Answer, Call } from './route.ts';
import { matches, tagOf } from './validator.ts';

/** Headers by which a change is made only of what was read, for the document of an operation. */
export const preconditions = {
  'If-Match': 'the ETag of what was read, or *: changed only where it is still that',
  'If-None-Match': '*: made only where there is nothing yet',
} as const;

/**
 * Checks the conditions of a change against what is there in that moment, as `json` shows it. Throws
 * `request/precondition-failed`. Source: RFC 9110 §13.1.1 and §13.1.2; without a condition everything is as well.
 */
export function conditionsOf<T>(call: Call<unknown, unknown, unknown>, json: (view: T) => unknown) {
  const ifMatch = call.header('if-match');
  const ifNoneMatch = call.header('if-none-match');
  return (before: T | undefined): void => {
    const tag = before === undefined ? undefined : tagOf(JSON.stringify(json(before)));
    // Strong comparison: a weak tag says nothing that a change could go by.
    const isRead = ifMatch === undefined || (tag !== undefined && strongly(ifMatch, tag));
    const isNew = ifNoneMatch === undefined || tag === undefined || !matches(ifNoneMatch, tag);
    if (!isRead || !isNew) {
      throw new GatewayError(
        'request/precondition-failed',
        isRead ? 'it is there already' : 'it has changed since it was read, or is gone: read it again',
      );
    }
  };
}

function strongly(header: string, tag: string): boolean {
  return header.trim() === '*' || header.split(',').some(one => one.trim() === tag);
}

/** An answer with a thing as it is now, and its tag for the next change. */
export function tagged(
  status: number,
  json: unknown,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return { status, json, headers: { ...headers, etag: tagOf(JSON.stringify(json)) } };
}

/**
 * The tag of something of which a part changes by being used, such as when it was last there: first the version of what
 * others change, which is what a change goes by, then the tag of all of it, which is what a GET goes by.
 */
export function versionTag(version: string, json: unknown): string {
  return `"${version}.${tagOf(JSON.stringify(json)).slice(1)}`;
}

/** Throws `request/precondition-failed` unless an `If-Match` names the version that is there. Source: RFC 9110 §13.1.1. */
export function requireVersion(header: string | undefined, version: string): void {
  const isThere = (tag: string) => tag.startsWith(`"${version}.`) || tag === '*';
  if (header !== undefined && !header.split(',').some(tag => isThere(tag.trim()))) {
    throw new GatewayError('request/precondition-failed', 'it has changed since it was read: read it again');
  }
}
