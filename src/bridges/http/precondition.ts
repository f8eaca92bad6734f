import { GatewayError } from '../../lib/errors.ts';
import { type Answer, type Call, matches, tagOf } from './route.ts';

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
