import { GatewayError } from '../../lib/errors.ts';
import type { Answer, ResponseSpec, Route } from './route.ts';

export const jsonType = 'application/json';
export const bytesType = 'application/octet-stream';

/** Headers by which a GET of something that has a time of change spares what is known, for the document. */
export const whereKnown = {
  'If-None-Match': 'the ETag of an earlier answer: 304 where it is the same',
  'If-Modified-Since': 'the Last-Modified of an earlier answer; counts only without If-None-Match',
} as const;

/** The media types of a response, the usual one first. */
export function mediaTypesOf({ mediaType, schema, also = {} }: ResponseSpec): readonly string[] {
  const usual = mediaType ?? (schema === undefined ? undefined : jsonType);
  return usual === undefined ? [] : [usual, ...Object.keys(also)];
}

/**
 * What an operation answers with where all is well, by media types, the usual one first; its client chooses among them by
 * `Accept`. Undefined where there is nothing to choose: no body, bytes that are what they are, or somebody else's interface.
 */
export function offeredBy({
  responses,
  undocumented,
}: Pick<Route, 'responses' | 'undocumented'>): readonly [string, ...string[]] | undefined {
  const good = Object.entries(responses).filter(([status]) => Number(status) < 300);
  const [first, ...others] = new Set(good.flatMap(([, spec]) => mediaTypesOf(spec)));
  const isFixed = first === undefined || first === bytesType || undocumented === true;
  return isFixed ? undefined : [first, ...others];
}

/** 406: none of the forms there are is one that the client takes. Given before anything is done. */
export function notAcceptable(offered: readonly string[]): Answer {
  const error = new GatewayError('request/unsupported', `there is ${offered.join(', ')}`);
  return { status: 406, error, headers: { vary: 'accept' } };
}
