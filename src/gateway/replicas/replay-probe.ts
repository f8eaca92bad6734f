import { isGatewayError } from '../../lib/errors.ts';
import type { ReplicaRequest } from './contract.ts';
import { without } from './fields.ts';
import { jsonOf } from './outbox-answer.ts';
import type { Operation } from './outbox-operation.ts';
import { bare, type WriteService } from './outbox-service.ts';
import { isObject, type Json, pointed, sameJson } from './pointer.ts';
import { idOf } from './projection-fold.ts';
import type { Outcome, SendOptions } from './replay-send.ts';

/** ms that the clocks of this machine and of a service may differ. */
const skew = 5 * 60 * 1000;

/**
 * Looks in the list whether a creation whose answer was lost was done all the same: an item that has every member the
 * client sent, that was not there before and that no other operation made. Undefined where it is seen that it was not,
 * so that it may be sent again; an outcome where it was, or where that cannot be told.
 */
export async function probe(
  operation: Operation,
  request: ReplicaRequest,
  service: WriteService,
  { host, outbox, reads }: Pick<SendOptions, 'host' | 'outbox' | 'reads'>,
): Promise<Outcome | undefined> {
  const unsure = (reason: string): Outcome => ({ input: { on: 'lost', reason, again: false } });
  const resource = service.policies.resourceOf(request.path)?.resource;
  const draft =
    request.body === undefined ? undefined : jsonOf({ headers: request.headers, body: request.body });
  if (resource === undefined || !isObject(draft)) {
    return unsure('nobody can tell whether the service did it');
  }
  const path = bare(request.path);
  const { body: _, ...rest } = request;
  const headers = without(request.headers, 'content-type', 'idempotency-key', 'accept-encoding');
  let json: Json | undefined;
  let whole = true;
  try {
    const response = await host.forward({ ...rest, method: 'GET', path, headers });
    if (response.status !== 200) {
      return {
        input: {
          on: 'put-off',
          reason: `the service answered ${response.status} when asked whether it did it`,
        },
      };
    }
    json = jsonOf(response);
  } catch (error) {
    const reason = isGatewayError(error) ? error.message : String(error);
    return { input: { on: 'lost', reason, again: true } };
  }
  const rows = pointed(json, resource.list.pointer);
  if (!Array.isArray(rows)) {
    return unsure('the list cannot be read, so nobody can tell whether the service did it');
  }
  const { next } = resource.list.page;
  if (next !== undefined) {
    const more = pointed(json, next);
    whole = more === undefined || more === null || more === '';
  }
  const before = await reads.stored(operation.service, operation.partition, path);
  const known =
    before === undefined || before.asOf > operation.facts.createdAt
      ? undefined
      : pointed(jsonOf(before), resource.list.pointer);
  const old = new Set(
    Array.isArray(known) ? (known as readonly Json[]).map(row => idOf(row, resource.id.pointer)) : [],
  );
  const taken = new Set(outbox.of(operation.service, operation.partition).map(({ status }) => status.given));
  const { created } = resource.stamps;
  const found = (rows as readonly Json[]).filter(row => {
    const id = idOf(row, resource.id.pointer);
    const at = created === undefined ? undefined : pointed(row, created);
    const late = typeof at !== 'string' || !(Date.parse(at) < operation.facts.createdAt - skew);
    return (
      id !== undefined &&
      !old.has(id) &&
      !taken.has(id) &&
      (late || Array.isArray(known)) &&
      isObject(row) &&
      Object.entries(draft).every(([name, value]) => sameJson(row[name], value))
    );
  });
  const [only] = found;
  if (found.length === 1 && only !== undefined) {
    const given = idOf(only, resource.id.pointer);
    return {
      input: {
        on: 'done',
        reason: 'found in the list: it had been done',
        ...(given !== undefined && { given }),
      },
    };
  }
  if (found.length === 0 && whole) {
    return undefined;
  }
  return unsure('the list does not tell whether the service did it');
}
