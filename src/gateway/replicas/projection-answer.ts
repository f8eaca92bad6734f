import type { ReplicaRequest, ReplicaResponse } from './contract.ts';
import { field, without } from './fields.ts';
import { bareAnswer, hubTag, jsonAnswer, problemAnswer } from './outbox-answer.ts';
import type { Json } from './pointer.ts';
import type { ResourceMatch } from './policy.ts';

/** Fields of a base that a projection of it does not have. */
export const madeAnew = [
  'content-type',
  'content-length',
  'content-encoding',
  'content-md5',
  'content-digest',
  'digest',
  'repr-digest',
  'etag',
  'last-modified',
  'transfer-encoding',
  'accept-ranges',
  'cache-control',
  'expires',
  'location',
];

/** What an answer says of itself beside its body. */
export interface Label {
  readonly state: string;
  readonly pending: number;
  readonly etag?: string;
  readonly asOf?: number;
}

/** The answer that shows a projection over the fields of what it was made of; 304 where the reader has it. */
export function shown(
  request: ReplicaRequest,
  json: Json,
  base: ReplicaRequest['headers'],
  { state, pending, etag, asOf }: Label,
): ReplicaResponse {
  const tag = etag ?? hubTag(JSON.stringify(json));
  const headers: [string, string][] = [
    ...without(base, ...madeAnew).map(([name, value]): [string, string] => [name, value]),
    ['etag', tag],
    ['cache-control', 'private, no-cache'],
    ['replica-state', state],
    ['replica-pending', String(pending)],
    ...(asOf === undefined ? [] : [['replica-as-of', new Date(asOf).toUTCString()] as [string, string]]),
  ];
  const match = field(request.headers, 'if-none-match');
  if (
    match !== undefined &&
    (match.trim() === '*' || match.split(',').some(each => each.trim().replace(/^W\//, '') === tag))
  ) {
    return bareAnswer(304, headers);
  }
  const answer = jsonAnswer(200, json, headers);
  return request.method === 'HEAD' ? { ...answer, body: new Uint8Array() } : answer;
}

/** The answer that there is no such item, as things stand with what waits. */
export function absent(match: ResourceMatch, detail: string): ReplicaResponse {
  return problemAnswer(404, 'request/not-found', 'Not found', `${match.id ?? 'the item'}: ${detail}`, {
    headers: [['replica-state', 'projected']],
  });
}
