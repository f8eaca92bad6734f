import { type Fields, field, withField, without } from '../fields.ts';
import { sameStrongTag } from './validation.ts';

/** Bytes `first`..`last`, both inclusive. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** A part of a representation that is stored, and how long the whole is. */
export interface Part extends ByteRange {
  readonly total: number;
}

/**
 * The one range a request asks for, of `total` bytes: undefined where the whole is to be sent (none asked for, one that
 * cannot be read, several at once), `unsatisfiable` where it lies outside.
 *
 * Source: RFC 9110 §14.1.2, §14.2.
 */
export function rangeOf(value: string | undefined, total: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^\s*bytes\s*=\s*(\d*)-(\d*)\s*$/i.exec(value ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) {
    return undefined;
  }
  const [, from, to] = match as unknown as [string, string, string];
  if (from === '') {
    const length = Number(to);
    return length === 0 || total === 0
      ? 'unsatisfiable'
      : { first: Math.max(0, total - length), last: total - 1 };
  }
  const first = Number(from);
  const last = to === '' ? total - 1 : Math.min(Number(to), total - 1);
  if (to !== '' && Number(to) < first) {
    return undefined;
  }
  return first >= total ? 'unsatisfiable' : { first, last };
}

/** Whether a Range is to be looked at: If-Range names this very representation, or is not there. Source: RFC 9110 §13.1.5. */
export function rangeHolds(request: Fields, stored: Fields): boolean {
  const condition = field(request, 'if-range');
  if (condition === undefined) {
    return true;
  }
  return condition.startsWith('"') || condition.startsWith('W/')
    ? sameStrongTag(condition, field(stored, 'etag'))
    : condition === field(stored, 'last-modified');
}

/** The part a 206 carries, or undefined where it does not say. */
export function partOf(headers: Fields): Part | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(field(headers, 'content-range') ?? '');
  if (match === null) {
    return undefined;
  }
  const [first, last, total] = match.slice(1).map(Number) as [number, number, number];
  return first <= last && last < total ? { first, last, total } : undefined;
}

/** Fields of a 206 with one range of a stored representation. */
export function partFields(stored: Fields, { first, last }: ByteRange, total: number): Fields {
  const fields = withField(
    without(stored, 'content-range'),
    'Content-Range',
    `bytes ${first}-${last}/${total}`,
  );
  return withField(fields, 'Content-Length', String(last - first + 1));
}

/** Bytes and their place. */
export interface Segment {
  readonly part: Part;
  readonly bytes: Uint8Array;
}

/**
 * Two parts of one representation as one, where they touch; undefined where there is a hole between them. The
 * caller has seen that their strong validators agree.
 *
 * Source: RFC 9110 §15.3.7.3; RFC 9111 §3.4.
 */
export function combine(one: Segment, other: Segment): Segment | undefined {
  const [low, high] = one.part.first <= other.part.first ? [one, other] : [other, one];
  if (low.part.total !== high.part.total || high.part.first > low.part.last + 1) {
    return undefined;
  }
  const last = Math.max(low.part.last, high.part.last);
  const bytes = new Uint8Array(last - low.part.first + 1);
  bytes.set(low.bytes, 0);
  bytes.set(high.bytes, high.part.first - low.part.first);
  return { part: { first: low.part.first, last, total: low.part.total }, bytes };
}
