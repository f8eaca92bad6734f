import { utf8 } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import { isGatewayError } from '../../lib/errors.ts';
import { retryAfterOf } from '../../lib/retry-after.ts';
import type { BaseReads, ReplicaHost, ReplicaResponse } from './contract.ts';
import { type Fields, field, without } from './fields.ts';
import { mergeThree } from './merge.ts';
import type { Outbox } from './outbox.ts';
import { isHubTag, jsonOf } from './outbox-answer.ts';
import { itemOf, type Operation } from './outbox-operation.ts';
import type { Part } from './outbox-seal.ts';
import type { WriteService } from './outbox-service.ts';
import { isObject, type Json, sameJson } from './pointer.ts';
import { idOf } from './projection-fold.ts';
import { type ReplayInput, verdictOf } from './replay.ts';
import { compose, reading } from './replay-compose.ts';
import { probe } from './replay-probe.ts';

/** Failures in a row up to which a 409 to a repeat may mean that the first is under way: about a minute. */
const patientFor = 7;

/** What came of an attempt: the input to its state, and what is kept of it. */
export interface Outcome {
  readonly input: ReplayInput;
  readonly response?: ReplicaResponse;
  readonly parts?: {
    readonly outcome?: Part;
    readonly theirs?: Part;
    readonly base?: Part;
    readonly request?: Part;
  };
}

export interface SendOptions {
  readonly host: Pick<ReplicaHost, 'forward'>;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly reads: BaseReads;
  /** Fields with the newest good credentials of a user, where they are newer than those of the operation. */
  readonly credentials: (service: string, partition: string) => Fields | undefined;
}

/**
 * Makes one attempt: the request with its key, its precondition and real ids, and what the answer means. Before a
 * repeat of what may have been done already it looks whether it was, where the service cannot tell itself.
 */
export async function attempt(
  operation: Operation,
  service: WriteService,
  options: SendOptions,
  { signal, blind = false }: { readonly signal?: AbortSignal; readonly blind?: boolean },
): Promise<Outcome> {
  const { outbox, clock } = options;
  const { facts, status } = operation;
  const part = outbox.part(operation, 'request');
  if (part === undefined) {
    return refuse('rejected', 'the request cannot be read: it was sealed with another key');
  }
  const given = outbox.givenIds(operation.service, operation.partition);
  const request = compose(operation, part, service, options);
  const match = service.policies.resourceOf(request.path);
  const { write } = service.policies.of(facts.method, facts.path);
  const forget =
    write.idempotency.by !== 'none' && keyIsOld(operation, write.idempotency.retention, clock.now());
  if (status.lost && forget) {
    return {
      input: { on: 'lost', reason: 'the service has forgotten the key since it was sent', again: false },
    };
  }
  if (
    status.lost &&
    write.idempotency.by === 'none' &&
    write.onAmbiguous === 'probe' &&
    facts.effect === 'create'
  ) {
    const found = await probe(operation, request, service, options);
    if (found !== undefined) {
      return found;
    }
  }
  const tag = await precondition();
  if (typeof tag === 'object') {
    return tag;
  }
  const headers: Fields = tag === undefined ? request.headers : [...request.headers, ['If-Match', tag]];
  let response: ReplicaResponse;
  try {
    response = await options.host.forward(
      { ...request, headers },
      { ...(signal !== undefined && { signal }) },
    );
  } catch (error) {
    return failed(error);
  }
  return judge(response);

  /** The tag to change, nothing, or an outcome where it is seen already that it cannot go on. */
  async function precondition(): Promise<string | undefined | Outcome> {
    const own = field(part?.headers ?? [], 'if-match');
    if (blind && (own === undefined || !isHubTag(own))) {
      // The client is answered by the origin itself: its own condition goes with it, and no other.
      return own;
    }
    if (
      match?.kind !== 'item' ||
      (write.precondition === 'none' && !status.over) ||
      facts.effect === 'none'
    ) {
      return undefined;
    }
    const base = outbox.part(operation, 'base');
    const before = lastBefore(operation, outbox, given, base?.asOf);
    if (!status.over) {
      const known = before?.status.etag ?? (before === undefined ? baseTag(base) : undefined);
      // A weak tag cannot be asked for; the item is compared instead.
      if (known !== undefined && !known.startsWith('W/')) {
        return known;
      }
    }
    const expected = before === undefined ? baseJson(base) : undefined;
    if (!status.over && before === undefined && expected === undefined) {
      return undefined;
    }
    // Nobody told the version: what is there now is looked at, and only that may be changed.
    const now = await current();
    if ('input' in now) {
      return now;
    }
    const theirs = jsonOf(now.response);
    if (!status.over && expected !== undefined && !sameJson(theirs, expected)) {
      return conflict('it was changed elsewhere since it was read', now.response);
    }
    const found = field(now.response.headers, 'etag');
    return found === undefined || found.startsWith('W/') ? undefined : found;
  }

  async function current(): Promise<{ response: ReplicaResponse } | Outcome> {
    try {
      const response = await options.host.forward(reading(request), {
        ...(signal !== undefined && { signal }),
      });
      const reason = `the service answered ${response.status} when asked what it has`;
      switch (verdictOf('GET', response.status)) {
        case 'needs-auth':
          return { input: { on: 'refused', as: 'needs-auth', reason } };
        case 'retry':
          return { input: { on: 'put-off', reason } };
        default:
          return { response };
      }
    } catch (error) {
      return { input: { on: 'unsent', reason: reasonOf(error) } };
    }
  }

  async function judge(response: ReplicaResponse): Promise<Outcome> {
    const verdict = verdictOf(facts.method, response.status);
    const said = `the service answered ${response.status}`;
    switch (verdict) {
      case 'done':
        return done(response);
      case 'needs-auth':
        return { input: { on: 'refused', as: 'needs-auth', reason: `${said}: log in again` }, response };
      case 'retry': {
        const after = retryAfterOf(field(response.headers, 'retry-after'), clock.now());
        const input = { on: 'put-off', reason: said, ...(after !== undefined && { after }) } as const;
        // A gateway before the service may say 504, or 502, of what the service did all the same.
        return (response.status === 504 || response.status === 502) && !repeatable()
          ? { input: lost(said), response }
          : { input, response };
      }
      case 'rejected':
        return {
          input: { on: 'refused', as: 'rejected', reason: said },
          response,
          parts: { outcome: kept(response) },
        };
      case 'conflict':
        return isStillAtIt(response)
          ? {
              input: { on: 'put-off', reason: `${said}: it is still at the first attempt, as it seems` },
              response,
            }
          : afterConflict(said, response);
    }
  }

  /**
   * A service that knows the key says 409 while the attempt whose answer was lost is under way there. If it goes on
   * saying so, it means something else.
   *
   * Source: draft-ietf-httpapi-idempotency-key-header §2.7.
   */
  function isStillAtIt({ status: said }: ReplicaResponse): boolean {
    const { lost = false, failures } = status;
    return said === 409 && lost && write.idempotency.by === 'header' && failures < patientFor;
  }

  function done(response: ReplicaResponse): Outcome {
    const gave = facts.effect === 'create' ? givenId(response, service, request.path) : undefined;
    const etag = field(response.headers, 'etag');
    return {
      input: { on: 'done', ...(gave !== undefined && { given: gave }), ...(etag !== undefined && { etag }) },
      response,
      parts: { outcome: kept(response) },
    };
  }

  async function afterConflict(said: string, response: ReplicaResponse): Promise<Outcome> {
    if (match?.kind !== 'item') {
      return {
        input: { on: 'refused', as: 'conflict', reason: said },
        response,
        parts: { outcome: kept(response) },
      };
    }
    const now = await current();
    const theirs = 'input' in now ? undefined : now.response;
    if (status.lost && theirs?.status === 200 && isDone(jsonOf(theirs))) {
      // The attempt whose answer was lost is what changed it.
      return done({ ...theirs, headers: without(theirs.headers, 'location') });
    }
    if (theirs !== undefined && facts.method === 'DELETE' && theirs.status === 404) {
      return done({ status: 204, headers: [], body: new Uint8Array() });
    }
    const resolved = theirs?.status === 200 ? merged(theirs) : undefined;
    return resolved ?? { ...conflict(`${said}: it was changed elsewhere`, theirs), response };
  }

  /** Whether an item is what the request asked for. */
  function isDone(item: Json | undefined): boolean {
    const draft = jsonOf(request as { headers: Fields; body: Uint8Array });
    return (
      isObject(item) &&
      isObject(draft) &&
      Object.entries(draft).every(([name, value]) =>
        value === null && facts.effect === 'merge'
          ? !Object.hasOwn(item, name) || item[name] === null
          : sameJson(item[name], value),
      )
    );
  }

  /** Where the route lets both sides' changes be laid together, and they can be: the request over theirs. */
  function merged(theirs: ReplicaResponse): Outcome | undefined {
    if (write.conflict === 'mine') {
      return {
        input: { on: 'rebase', reason: 'sent again over what the service has' },
        parts: { base: kept(theirs, clock.now()) },
      };
    }
    if (write.conflict === 'theirs') {
      return {
        input: { on: 'discard', reason: 'the service has another version, which holds' },
        parts: { theirs: kept(theirs) },
      };
    }
    const draft = jsonOf(request as { headers: Fields; body: Uint8Array });
    const base = baseJson(outbox.part(operation, 'base'));
    const now = jsonOf(theirs);
    if (write.conflict !== 'merge' || facts.method === 'DELETE' || part === undefined) {
      return undefined;
    }
    if (!isObject(draft) || !isObject(base) || !isObject(now)) {
      return undefined;
    }
    const both = mergeThree(base, draft, now, write.merge);
    if (both === undefined) {
      return undefined;
    }
    return {
      input: { on: 'rebase', reason: 'merged with what was changed elsewhere' },
      parts: {
        base: kept(theirs, clock.now()),
        request: { ...part, body: utf8(JSON.stringify(both)) },
      },
    };
  }

  function failed(error: unknown): Outcome {
    const reason = reasonOf(error);
    if (isGatewayError(error, 'request/too-large')) {
      // The answer is too long to keep, but there was one: who reads the item will see.
      return { input: lost(reason) };
    }
    const sent = !isGatewayError(error) || (error.detail.sent !== false && error.detail.cause !== 'captive');
    return { input: sent ? lost(reason) : { on: 'unsent', reason } };
  }

  function lost(reason: string): ReplayInput {
    return { on: 'lost', reason, again: repeatable() };
  }

  function repeatable(): boolean {
    return isRepeatable(operation, service);
  }

  function conflict(reason: string, theirs: ReplicaResponse | undefined): Outcome {
    return {
      input: { on: 'refused', as: 'conflict', reason },
      ...(theirs !== undefined && { parts: { theirs: kept(theirs) } }),
    };
  }

  function refuse(as: 'rejected', reason: string): Outcome {
    return { input: { on: 'refused', as, reason } };
  }
}

/**
 * Whether sending it again does no harm where nobody knows if it was done: the service knows the key, or doing it twice
 * is doing it once.
 */
export function isRepeatable({ facts }: Operation, service: WriteService): boolean {
  const { write } = service.policies.of(facts.method, facts.path);
  return (
    write.idempotency.by !== 'none' ||
    write.onAmbiguous === 'retry' ||
    (write.onAmbiguous === 'probe' && facts.effect === 'create') ||
    facts.method === 'PUT' ||
    facts.method === 'DELETE' ||
    facts.effect === 'merge'
  );
}

/** The operation before on the same item that was done: what it left is what this one changes. */
function lastBefore(
  operation: Operation,
  outbox: Outbox,
  given: ReadonlyMap<string, string>,
  baseAsOf = Number.NEGATIVE_INFINITY,
): Operation | undefined {
  const item = itemOf(operation, given);
  return operation.facts.after
    .map(seq => outbox.get(seq))
    .filter(each => each !== undefined)
    .findLast(
      each =>
        each.status.state === 'done' &&
        (each.status.doneAt ?? 0) >= baseAsOf &&
        item !== undefined &&
        itemOf(each, given) === item,
    );
}

function baseTag(base: Part | undefined): string | undefined {
  return base === undefined ? undefined : field(base.headers, 'etag');
}

function baseJson(base: Part | undefined): Json | undefined {
  return base === undefined ? undefined : jsonOf(base);
}

/** The id an answer to a creation gives, from where the resource says. */
export function givenId(response: ReplicaResponse, service: WriteService, path: string): string | undefined {
  const match = service.policies.resourceOf(path);
  if (match === undefined) {
    return undefined;
  }
  const { id } = match.resource;
  const json = jsonOf(response);
  const location = field(response.headers, 'location');
  for (const source of id.source) {
    if (source === 'body') {
      const found = idOf(json, id.pointer);
      if (found !== undefined) {
        return found;
      }
    } else if (source === 'location' && location !== undefined) {
      const last = URL.parse(location, 'http://origin.invalid')?.pathname.split('/').filter(Boolean).at(-1);
      if (last !== undefined && last !== '') {
        return decoded(last);
      }
    }
  }
  return undefined;
}

/** A step of a path as it is meant; as it stands where it is no encoding of anything. */
function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}

/** Bytes of an answer's body that are kept. */
const keptBody = 1024 * 1024;

function kept({ status, headers, body }: ReplicaResponse, asOf?: number): Part {
  return {
    status,
    headers: without(headers, 'set-cookie', 'connection', 'transfer-encoding'),
    body: body.length > keptBody ? new Uint8Array() : body,
    ...(asOf !== undefined && { asOf }),
  };
}

function keyIsOld({ status }: Operation, retention: number, now: number): boolean {
  return status.sentAt !== undefined && now - status.sentAt > retention;
}

function reasonOf(error: unknown): string {
  return isGatewayError(error) ? error.message : 'the attempt failed here; the log says more';
}
