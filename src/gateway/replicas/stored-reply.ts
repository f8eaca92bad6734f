import type { Reply } from './exchange.ts';
import { type Fields, field, withField, without } from './fields.ts';
import { type Label, labelled } from './labels.ts';
import { partFields, partOf, rangeHolds, rangeOf } from './rfc9111/range.ts';
import { conditionOf, notModifiedFields } from './rfc9111/validation.ts';

/** A stored representation: a whole one, or a part where the fields of a 206 say which. */
export interface Representation {
  readonly status: number;
  readonly headers: Fields;
  readonly body: Uint8Array;
  readonly responseTime: number;
  readonly requestTime: number;
}

/**
 * Answers a GET or HEAD from a stored representation: conditions first, then the range. Undefined where it holds only
 * a part and the request is about another one.
 */
export function storedReply(
  method: string,
  request: Fields,
  stored: Representation,
  label: Label,
): Reply | undefined {
  const { status, body } = stored;
  const part = status === 206 ? partOf(stored.headers) : undefined;
  const total = part?.total ?? body.length;
  const wanted = rangeHolds(request, stored.headers) ? rangeOf(field(request, 'range'), total) : undefined;
  if (status === 206) {
    const inside =
      part !== undefined &&
      typeof wanted === 'object' &&
      wanted.first >= part.first &&
      wanted.last <= part.last;
    if (!inside || method === 'HEAD') {
      return undefined;
    }
  }
  const headers = labelled(stored.headers, label);
  const condition = conditionOf(request, status, stored.headers, stored.responseTime);
  if (condition === 'not-modified') {
    return { status: 304, headers: notModifiedFields(headers) };
  }
  if (condition === 'failed') {
    return {
      status: 412,
      headers: [...without(notModifiedFields(headers), 'etag'), ['Content-Length', '0']],
    };
  }
  if (method === 'HEAD') {
    return { status, headers: withLength(headers, status, body.length) };
  }
  if ((status === 200 || status === 206) && wanted === 'unsatisfiable') {
    const bare = without(headers, 'content-length', 'content-encoding', 'content-type', 'content-range');
    return {
      status: 416,
      headers: [...bare, ['Content-Range', `bytes */${total}`], ['Content-Length', '0']],
    };
  }
  if ((status === 200 || status === 206) && typeof wanted === 'object') {
    const from = wanted.first - (part?.first ?? 0);
    return {
      status: 206,
      headers: partFields(headers, wanted, total),
      body: body.subarray(from, from + wanted.last - wanted.first + 1),
    };
  }
  return { status, headers: withLength(headers, status, body.length), body };
}

/** A stored body has the length it has, whatever form it came in. */
function withLength(headers: Fields, status: number, length: number): Fields {
  return status === 204
    ? without(headers, 'content-length')
    : withField(headers, 'Content-Length', String(length));
}
