import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { QueueableWrite } from './contract.ts';
import { type Fields, field } from './fields.ts';
import { idsIn, pathWithIds, provisionalId } from './idmap.ts';
import type { Outbox } from './outbox.ts';
import { jsonOf, mediaTypeOf } from './outbox-answer.ts';
import { type Effect, itemOf, type Operation } from './outbox-operation.ts';
import type { Seal } from './outbox-seal.ts';
import { bare, collectionOf, type WriteService } from './outbox-service.ts';
import { isObject, type Json } from './pointer.ts';
import type { ResourceMatch } from './policy.ts';

/** Characters of a client's Idempotency-Key. */
const longestKey = 255;

/** A write, and what it means here. */
export interface Intent {
  readonly write: QueueableWrite;
  readonly service: WriteService;
  /** With the ids the origin has given. */
  readonly path: string;
  readonly match: ResourceMatch | undefined;
  readonly effect: Effect;
  readonly collection: string | undefined;
  readonly item: string | undefined;
  readonly draft: Json | undefined;
  /** The newest operation on the same item. */
  readonly last: Operation | undefined;
  readonly lane: string;
  readonly after: readonly number[];
  readonly clientKey: string | undefined;
  readonly givenKey: string | undefined;
  readonly fingerprint: string;
}

export interface IntentParts {
  readonly outbox: Outbox;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a write means, with the ids and operations that are known now. Throws `request/invalid`. */
export function readIntent(write: QueueableWrite, service: WriteService, parts: IntentParts): Intent {
  const { outbox, seal } = parts;
  const given = outbox.givenIds(write.service, write.partition);
  const path = pathWithIds(write.path, given);
  const match = service.policies.resourceOf(path);
  const body = write.body ?? new Uint8Array();
  const draft = jsonOf({ headers: write.headers, body });
  const effect = effectOf(write.method, match, draft, mediaTypeOf(write.headers));
  const collection = match === undefined || effect === 'none' ? undefined : collectionOf(path, match);
  const item = effect === 'create' && match !== undefined ? newId(match, draft, parts) : match?.id;
  const named = idsIn(path, draft, outbox.pendingIds(write.service, write.partition));
  const pending = outbox.pendingIds(write.service, write.partition);
  const before =
    collection === undefined || item === undefined
      ? undefined
      : outbox
          .touching(write.service, write.partition, collection)
          .findLast(operation => operation.status.state !== 'discarded' && itemOf(operation, given) === item);
  const after = new Set([...named].map(id => pending.get(id) as number));
  if (before !== undefined) {
    after.add(before.seq);
  }
  const scope = `${write.service} ${write.partition}`;
  const lanes = {
    service: write.service,
    partition: scope,
    resource: collection === undefined ? `${scope} ${bare(path)}` : `${scope} ${collection} ${item}`,
  };
  const key = clientKeyOf(write.headers);
  return {
    write,
    service,
    path,
    match,
    effect,
    collection,
    item,
    draft,
    last: before,
    lane: lanes[service.definition.order],
    after: [...after].sort((a, b) => a - b),
    givenKey: key,
    clientKey: key === undefined ? undefined : seal.digest(`${scope} ${write.method} ${write.path} ${key}`),
    fingerprint: createHash('sha256').update(`${write.method} ${write.path}\n`).update(body).digest('hex'),
  };
}

function newId(match: ResourceMatch, draft: Json | undefined, { clock, random }: IntentParts): string {
  const { id } = match.resource;
  if (id.source.includes('client') && isObject(draft)) {
    const own = /^\/([^/]+)$/.exec(id.pointer)?.[1];
    const value = own === undefined ? undefined : draft[own];
    if (typeof value === 'string' || typeof value === 'number') {
      return String(value);
    }
  }
  return provisionalId(id.type, clock, random);
}

function effectOf(
  method: string,
  match: ResourceMatch | undefined,
  draft: Json | undefined,
  type: string,
): Effect {
  if (match === undefined) {
    return 'none';
  }
  if (match.kind === 'collection') {
    return method === 'POST' && isObject(draft) ? 'create' : 'none';
  }
  switch (method) {
    case 'PUT':
      return isObject(draft) ? 'replace' : 'none';
    case 'PATCH':
      return isObject(draft) && type !== 'application/json-patch+json' ? 'merge' : 'none';
    case 'DELETE':
      return 'delete';
    default:
      return 'none';
  }
}

/** The key of a client, as a string of structured fields or bare. */
function clientKeyOf(headers: Fields): string | undefined {
  const value = field(headers, 'idempotency-key')?.trim();
  if (value === undefined) {
    return undefined;
  }
  const key = /^"(.*)"$/.exec(value)?.[1] ?? value;
  if (key === '' || key.length > longestKey) {
    throw new GatewayError('request/invalid', `Idempotency-Key: 1 to ${longestKey} characters`);
  }
  return key;
}
