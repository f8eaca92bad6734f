import { utf8 } from '../../lib/bytes.ts';
import type { ReplicaRequest } from './contract.ts';
import { type Fields, field, without } from './fields.ts';
import { bodyWithIds, pathWithIds } from './idmap.ts';
import type { Outbox } from './outbox.ts';
import { jsonOf } from './outbox-answer.ts';
import { keyOf, type Operation } from './outbox-operation.ts';
import type { Part } from './outbox-seal.ts';
import { bare, type WriteService } from './outbox-service.ts';
import { type Json, pointed, sameJson, withPointed } from './pointer.ts';

/** Conditions of the client that the origin does not get as they are: versions have other names here. */
const conditions = ['if-match', 'if-modified-since', 'if-range'];

export interface ComposeParts {
  readonly outbox: Outbox;
  /** Fields with the newest good credentials of a user, where they are newer than those of the operation. */
  readonly credentials: (service: string, partition: string) => Fields | undefined;
}

/** The request as the origin gets it, but for its precondition. */
export function compose(
  operation: Operation,
  part: Part,
  service: WriteService,
  { outbox, credentials }: ComposeParts,
): ReplicaRequest & { readonly body?: Uint8Array } {
  const { facts, partition } = operation;
  const given = outbox.givenIds(operation.service, partition);
  const { write } = service.policies.of(facts.method, facts.path);
  const keyName = write.idempotency.header.toLowerCase();
  const fresh = credentials(operation.service, partition) ?? [];
  const names = service.definition.identity.partition.map(name => name.toLowerCase());
  const renewed = names.filter(name => field(fresh, name) !== undefined);
  const headers: [string, string][] = [
    ...without(
      part.headers,
      ...conditions,
      ...renewed,
      'idempotency-key',
      keyName,
      'content-length',
      'prefer',
      'expect',
    ),
    ...renewed.map(name => [name, field(fresh, name) as string] as const),
    ...(write.idempotency.by === 'header' ? [[write.idempotency.header, keyOf(operation)] as const] : []),
  ].map(([name, value]) => [name, value]);
  const json = part.body.length === 0 ? undefined : jsonOf(part);
  const keyed =
    json !== undefined &&
    write.idempotency.by === 'body' &&
    pointed(json, write.idempotency.pointer) === undefined
      ? withPointed(json, write.idempotency.pointer, keyOf(operation))
      : json;
  const body = json === undefined || keyed === undefined ? part.body : bodyFor(keyed, json, part.body);
  return {
    service: operation.service,
    partition,
    method: facts.method,
    path: pathWithIds(facts.path, given),
    headers,
    ...(body.length > 0 && { body }),
  };

  function bodyFor(value: Json, original: Json, bytes: Uint8Array): Uint8Array {
    const now = given.size === 0 ? value : bodyWithIds(value, given);
    return sameJson(now, original) ? bytes : utf8(JSON.stringify(now));
  }
}

/** The same user's reading of what a request changes. */
export function reading(request: ReplicaRequest): ReplicaRequest {
  const { body: _, ...rest } = request;
  return {
    ...rest,
    method: 'GET',
    path: bare(request.path),
    headers: [
      ...without(request.headers, 'content-type', 'idempotency-key', 'accept-encoding'),
      ['accept', 'application/json'],
    ],
  };
}
