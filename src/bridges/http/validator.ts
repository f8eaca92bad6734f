import { createHash } from 'node:crypto';
import { formatDate, parseDate } from '../../gateway/replicas/rfc9111/date.ts';

/** The strong entity tag of a JSON text. */
export function tagOf(text: string): string {
  return `"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`;
}

/** Whether a conditional header names the tag. Source: RFC 9110 §13.1.2, weak comparison. */
export function matches(header: string | undefined, tag: string): boolean {
  return (
    header !== undefined &&
    (header.trim() === '*' || header.split(',').some(one => strong(one.trim()) === strong(tag)))
  );
}

/**
 * `Last-Modified` of something that was changed then (ms epoch). Undefined while its second is not over: a change later in it
 * would have the same, and whoever asked in between would never hear of it. So it is also where the clock was set back.
 * Source: RFC 9110 §8.8.2.
 */
export function lastModified(changed: number | undefined, now: number): string | undefined {
  return changed !== undefined && second(changed) < second(now) ? formatDate(changed) : undefined;
}

/**
 * Whether a GET asks for what its client has: by the tag, else, only where no tag is asked for, by the time of change.
 * Source: RFC 9110 §13.1.2, §13.1.3, §13.2.2.
 */
export function isKnown(
  headers: {
    readonly 'if-none-match'?: string | undefined;
    readonly 'if-modified-since'?: string | undefined;
  },
  tag: string,
  modified: string | undefined,
): boolean {
  if (headers['if-none-match'] !== undefined) {
    return matches(headers['if-none-match'], tag);
  }
  const since = headers['if-modified-since'];
  if (since === undefined || modified === undefined) {
    return false;
  }
  const changed = Date.parse(modified);
  const known = parseDate(since, changed);
  return known !== undefined && changed <= known;
}

function second(time: number): number {
  return Math.floor(time / 1000);
}

function strong(tag: string): string {
  return tag.replace(/^W\//, '');
}
