import { type Fields, field } from './fields.ts';

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
