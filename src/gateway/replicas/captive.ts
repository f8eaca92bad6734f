import { type Fields, field } from './fields.ts';
import type { OriginAnswer } from './origin.ts';
import { failed } from './origin-failure.ts';
import type { Service } from './service.ts';

/** What a definition says an answer of its service looks like. */
export interface Expectation {
  readonly base: URL;
  /** Media types of the service. */
  readonly types?: readonly string[];
}

/**
 * Whether an answer is a page of somebody in between (a captive portal) and not of the service, and why. Over TLS
 * nobody in between can answer; where the definition names media types another one is not the service's all the same.
 *
 * Source: RFC 6585 §6 (511); RFC 8952 on what portals do.
 */
export function captive(
  status: number,
  headers: Fields,
  { base, types }: Expectation,
  storedType?: string,
): string | undefined {
  if (status === 511) {
    return 'the network asks for a log-in';
  }
  const plain = base.protocol === 'http:';
  const type = mediaType(headers);
  if (status >= 200 && status < 300 && status !== 204) {
    if (types !== undefined && type !== undefined && !types.some(each => covers(each, type))) {
      return `an answer of type ${type}, which this service does not give`;
    }
    if (
      types === undefined &&
      plain &&
      type === 'text/html' &&
      storedType !== undefined &&
      storedType !== type
    ) {
      return `a page where this service gave ${storedType}`;
    }
  }
  if (plain && types !== undefined && status >= 300 && status < 400 && status !== 304) {
    const target = URL.parse(field(headers, 'location') ?? '', base);
    if (target !== null && target.host !== base.host) {
      return 'sent to another host';
    }
  }
  return undefined;
}

/** The media type without parameters, in lower case. */
export function mediaType(headers: Fields): string | undefined {
  return field(headers, 'content-type')?.split(';', 1)[0]?.trim().toLowerCase();
}

function covers(range: string, type: string): boolean {
  return range === type || (range.endsWith('/*') && type.startsWith(range.slice(0, -1)));
}

/** Tells the link that the service answered; throws where it was somebody else, and drops what that one said. */
export function checkAnswer(
  { definition, origin, counters, link }: Pick<Service, 'definition' | 'origin' | 'counters' | 'link'>,
  answer: OriginAnswer,
  stored: { readonly headers: Fields } | undefined,
  stream = false,
): void {
  const { types } = definition.upstream.expect;
  const expectation = { base: origin.base, ...(types !== undefined && !stream && { types }) };
  const fake = captive(answer.status, answer.headers, expectation, stored && mediaType(stored.headers));
  if (fake !== undefined) {
    answer.body.destroy();
    counters.add('replica/captive');
    throw failed('captive', `not itself: ${fake}`, true);
  }
  link.tell({ on: 'answer' });
}
