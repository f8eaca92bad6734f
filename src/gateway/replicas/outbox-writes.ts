import { createHash } from 'node:crypto';
import { utf8 } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { QueueableWrite, ReplicaHost, ReplicaResponse, WritePath } from './contract.ts';
import { type Fields, field, withField, without } from './fields.ts';
import { idsIn, pathWithIds, provisionalId } from './idmap.ts';
import type { Outbox } from './outbox.ts';
import {
  bareAnswer,
  hubTag,
  isHubTag,
  jsonAnswer,
  jsonOf,
  mediaTypeOf,
  problemAnswer,
} from './outbox-answer.ts';
import { type Effect, isHeld, isOver, type Operation } from './outbox-operation.ts';
import type { Part, Seal } from './outbox-seal.ts';
import { bare, collectionOf, type WriteService, type WriteServices } from './outbox-service.ts';
import { isObject, type Json } from './pointer.ts';
import type { ResourceMatch } from './policy.ts';
import type { KnownItem, ProjectionReads } from './projection.ts';
import { projectItem } from './projection-fold.ts';
import type { Replay } from './replay-run.ts';
import type { Outcome } from './replay-send.ts';

export interface WritesOptions {
  readonly host: ReplicaHost;
  readonly services: WriteServices;
  readonly outbox: Outbox;
  readonly projection: ProjectionReads;
  readonly replay: Replay;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
}

/** Characters of a client's Idempotency-Key. */
const longestKey = 255;
/** Writes of one user that wait for their turn here. */
const waitingWrites = 256;

/** A write, and what it means here. */
interface Intent {
  readonly write: QueueableWrite;
  readonly service: WriteService;
  /** With the ids the origin has given. */
  readonly path: string;
  readonly match: ResourceMatch | undefined;
  readonly effect: Effect;
  readonly collection: string | undefined;
  readonly item: string | undefined;
  readonly draft: Json | undefined;
  readonly lane: string;
  readonly after: readonly number[];
  readonly clientKey: string | undefined;
  readonly givenKey: string | undefined;
  readonly fingerprint: string;
}

/** An answer made here, and what it is based on. */
interface Prepared {
  readonly answer: ReplicaResponse;
  readonly base: KnownItem | undefined;
  /** Whether the write may be kept; a problem else. */
  readonly keeps: boolean;
  readonly tag?: string;
}

/** Takes writes: sends them at once where that is possible and in order, keeps them where it is not. */
export function createWritePath(options: WritesOptions): WritePath {
  const { host, services, outbox, projection, replay, seal, clock, random, counters } = options;
  const turns = new Map<string, { last: Promise<unknown>; waiting: number }>();

  /** One user's writes are taken one after the other: each sees what the one before made. */
  async function inTurn<T>(scope: string, act: () => Promise<T>): Promise<T> {
    const turn = turns.getOrInsertComputed(scope, () => ({ last: Promise.resolve(), waiting: 0 }));
    if (turn.waiting >= waitingWrites) {
      throw new GatewayError('request/rate-limited', `${waitingWrites} writes of yours wait already`, {
        retryable: true,
        detail: { retryAfter: 1 },
      });
    }
    turn.waiting += 1;
    const done = turn.last.then(act, act);
    turn.last = done.catch(() => undefined);
    try {
      return await done;
    } finally {
      turn.waiting -= 1;
      if (turn.waiting === 0) {
        turns.delete(scope);
      }
    }
  }

  function read(write: QueueableWrite, service: WriteService): Intent {
    const given = outbox.givenIds(write.service, write.partition);
    const path = pathWithIds(write.path, given);
    const match = service.policies.resourceOf(path);
    const body = write.body ?? new Uint8Array();
    const draft = jsonOf({ headers: write.headers, body });
    const effect = effectOf(write.method, match, draft, mediaTypeOf(write.headers));
    const collection = match === undefined || effect === 'none' ? undefined : collectionOf(path, match);
    const item = effect === 'create' && match !== undefined ? newId(match, draft) : match?.id;
    const named = idsIn(path, draft, outbox.pendingIds(write.service, write.partition));
    const pending = outbox.pendingIds(write.service, write.partition);
    const before =
      collection === undefined || item === undefined
        ? undefined
        : outbox
            .touching(write.service, write.partition, collection)
            .findLast(
              ({ facts, status }) =>
                status.state !== 'discarded' &&
                facts.item !== undefined &&
                (given.get(facts.item) ?? facts.item) === item,
            );
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
      lane: lanes[service.definition.order],
      after: [...after].sort((a, b) => a - b),
      givenKey: key,
      clientKey: key === undefined ? undefined : seal.digest(`${scope} ${write.method} ${write.path} ${key}`),
      fingerprint: createHash('sha256').update(`${write.method} ${write.path}\n`).update(body).digest('hex'),
    };
  }

  function newId(match: ResourceMatch, draft: Json | undefined): string {
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

  /** The first answer to the same key, whatever has become of it since. */
  async function repeated(intent: Intent): Promise<ReplicaResponse | undefined> {
    const first = intent.clientKey === undefined ? undefined : outbox.byKey(intent.clientKey);
    if (first === undefined) {
      return undefined;
    }
    if (first.facts.fingerprint !== intent.fingerprint) {
      throw new GatewayError(
        'request/idempotency-mismatch',
        'this Idempotency-Key was used with another body',
      );
    }
    await replay.settled(first);
    const now = outbox.get(first.seq);
    if (now === undefined) {
      // Refused by the origin meanwhile: it is a new attempt.
      return undefined;
    }
    if (now.status.state === 'discarded') {
      throw new GatewayError(
        'request/conflict',
        'what was sent under this Idempotency-Key has been discarded',
      );
    }
    counters.add('replica/outbox/repeated');
    const part =
      (now.status.state === 'done' ? outbox.part(now, 'outcome') : undefined) ?? outbox.part(now, 'answer');
    const kept: ReplicaResponse =
      part === undefined
        ? accepted(now, intent.service)
        : { status: part.status ?? 200, headers: part.headers, body: part.body };
    const answer =
      now.status.state === 'done' || part === undefined ? kept : labelled(kept, now, intent.service);
    return { ...answer, headers: withField(answer.headers, 'idempotency-replayed', 'true') };
  }

  async function handle(write: QueueableWrite): Promise<ReplicaResponse> {
    const service = services(write.service);
    if (service === undefined) {
      throw new GatewayError('request/not-found', `no replica ${write.service}`);
    }
    const scope = `${write.service} ${write.partition}`;
    const taken = await inTurn(scope, () => take(write, service));
    return 'answer' in taken ? taken.answer : await ofOrigin(taken, service);
  }

  type Taken =
    | { readonly answer: ReplicaResponse }
    | {
        readonly intent: Intent;
        readonly operation: Operation;
        readonly prepared: Prepared;
        readonly sent: ReturnType<Replay['sendNow']>;
      };

  async function take(write: QueueableWrite, service: WriteService): Promise<Taken> {
    let intent = read(write, service);
    const known = await repeated(intent);
    if (known !== undefined) {
      return { answer: known };
    }
    const online = () => host.link(write.service).at === 'online';
    const patience = service.policies.of('GET', write.path).read.patience;
    if (online() && !isFree(intent)) {
      await waitForLane(intent.lane, patience);
      intent = read(write, service);
    }
    const prepared = await prepare(intent);
    if (online() && isFree(intent) && mayGoNow(intent, prepared)) {
      const operation = await keep(intent, prepared, 'inflight');
      return { intent, operation, prepared, sent: replay.sendNow(operation) };
    }
    if (!prepared.keeps) {
      return { answer: prepared.answer };
    }
    const operation = await keep(intent, prepared, 'queued');
    return { answer: labelled(prepared.answer, operation, service) };
  }

  /** Whether nothing of its lane is to go first, and nothing it needs is held. */
  function isFree({ lane, after }: Intent): boolean {
    const waits = (operation: Operation | undefined) => operation !== undefined && !isOver(operation.status);
    return !after.some(seq => waits(outbox.get(seq))) && before(lane).length === 0;
  }

  /** Operations of a lane that are to go before anything new. */
  function before(lane: string): readonly Operation[] {
    return [...outbox.open()].filter(({ facts, status }) => facts.lane === lane && !isHeld(status));
  }

  /** While the service answers, a write that follows another closely waits for it instead of being kept. */
  async function waitForLane(lane: string, patience: number): Promise<void> {
    const until = clock.monotonic() + patience;
    for (;;) {
      const underway = before(lane);
      const left = until - clock.monotonic();
      if (left <= 0 || underway.length !== 1 || underway[0]?.status.state !== 'inflight') {
        return;
      }
      await within(replay.settled(underway[0]), left);
    }
  }

  async function within(done: Promise<unknown>, ms: number): Promise<boolean> {
    const waited = new AbortController();
    const first = await Promise.race([
      done.then(() => true),
      clock.sleep(ms, waited.signal).then(
        () => false,
        () => false,
      ),
    ]);
    waited.abort();
    return first;
  }

  /** The origin itself checks what it is sent, but for a condition on a version that only exists here. */
  function mayGoNow({ write }: Intent, { answer }: Prepared): boolean {
    const wanted = field(write.headers, 'if-match');
    return !(wanted !== undefined && isHubTag(wanted) && answer.status === 412);
  }

  async function ofOrigin(
    { operation, prepared, sent }: Exclude<Taken, { answer: unknown }>,
    service: WriteService,
  ): Promise<ReplicaResponse> {
    const { patience } = service.policies.of('GET', operation.facts.path).read;
    const inTime = await within(
      sent.outcome.then(
        () => undefined,
        () => undefined,
      ),
      patience,
    );
    if (!inTime && prepared.keeps) {
      // It goes on without its client, as if it had been kept.
      sent.leave();
      counters.add('replica/outbox/slow');
      return labelled(prepared.answer, operation, service);
    }
    const outcome: Outcome = await sent.outcome;
    const { on } = outcome.input;
    if (on === 'done' || on === 'refused') {
      if (outcome.response !== undefined) {
        return outcome.response;
      }
    }
    const now = outbox.get(operation.seq);
    if (on !== 'lost' && !prepared.keeps) {
      // Nothing was done, and it cannot be kept: what the origin said holds, or that it is not there.
      if (now !== undefined) {
        await outbox.remove(now);
      }
      return outcome.response ?? prepared.answer;
    }
    if (now === undefined || now.status.state === 'ambiguous') {
      return accepted(now ?? operation, service);
    }
    return prepared.keeps ? labelled(prepared.answer, now, service) : accepted(now, service);
  }

  async function keep(intent: Intent, prepared: Prepared, state: 'queued' | 'inflight'): Promise<Operation> {
    const { write, service, effect, collection, item, lane, after, fingerprint, clientKey, givenKey } =
      intent;
    const { answer, base, keeps, tag } = prepared;
    const now = clock.now();
    const request: Part = {
      headers: without(write.headers, 'content-length'),
      body: write.body ?? new Uint8Array(),
    };
    return await outbox.add({
      service: write.service,
      partition: write.partition,
      clientKey,
      state,
      budget: service.definition.storage.outbox,
      facts: {
        method: write.method,
        path: write.path,
        effect,
        ...(collection !== undefined && { collection }),
        ...(item !== undefined && { item }),
        ...(tag !== undefined && { tag }),
        ...(givenKey !== undefined && { key: givenKey }),
        lane,
        after,
        fingerprint,
        createdAt: now,
        expiresAt: now + write.policy.expires,
      },
      parts: {
        request,
        ...(base !== undefined && { base: basePart(base, write) }),
        ...(keeps && { answer }),
      },
    });
  }

  /** The version a change is made on: the one the client names, where the origin knows it. */
  function basePart({ json, etag, asOf }: KnownItem, write: QueueableWrite): Part {
    const wanted = field(write.headers, 'if-match');
    const named = wanted !== undefined && /^"[^"]*"$/.test(wanted) && !isHubTag(wanted) ? wanted : etag;
    return {
      headers: [
        ['content-type', 'application/json'],
        ...(named === undefined ? [] : [['etag', named] as const]),
      ],
      body: utf8(JSON.stringify(json)),
      asOf,
    };
  }

  /** The answer this write gets when it is kept, or the reason why it is not. */
  async function prepare(intent: Intent): Promise<Prepared> {
    const { write, service, path, match, effect, draft } = intent;
    const described = service.describe(write.method, path);
    const mistake = mistakeOf(intent);
    if (mistake !== undefined) {
      return { answer: mistake, base: undefined, keeps: false };
    }
    if (
      effect === 'none' ||
      match === undefined ||
      intent.item === undefined ||
      intent.collection === undefined
    ) {
      return { answer: acceptedAnswer(), base: undefined, keeps: true };
    }
    const shape = service.shapeOf(match);
    const now = clock.now();
    const change = { effect, item: intent.item, at: now, ...(draft !== undefined && { draft }) };
    if (effect === 'create') {
      const json = projectItem(undefined, [change], shape);
      const status = described?.successes.includes(201) === false ? (described.successes[0] ?? 201) : 201;
      return made(json, undefined, status);
    }
    const base = await projection.known(write.service, write.partition, path, match);
    const { json: before, changed } = projection.visible(write.service, write.partition, path, match, base);
    if (before === undefined) {
      if (changed || (await projection.knownAbsent(write.service, write.partition, path, match))) {
        return { answer: notThere(match.id, changed), base, keeps: false };
      }
      if (effect === 'replace' && match.resource.id.source.includes('client')) {
        return made(projectItem(undefined, [change], shape), undefined, 201);
      }
      return write.policy.precondition === 'none'
        ? { answer: acceptedAnswer(), base: undefined, keeps: true }
        : { answer: unknown(match.id, write.service), base: undefined, keeps: false };
    }
    const tag = changed ? (lastTag(intent) ?? hubTag(JSON.stringify(before))) : base?.etag;
    const failed = conditionMistake(intent, tag, before);
    if (failed !== undefined) {
      return { answer: failed, base, keeps: false };
    }
    if (effect === 'delete') {
      const status = described?.successes.includes(204) === false ? (described.successes[0] ?? 204) : 204;
      return status === 204
        ? { answer: bareAnswer(204), base, keeps: true }
        : { answer: acceptedAnswer(), base, keeps: true };
    }
    return made(projectItem(before, [change], shape), base, 200);

    function made(json: Json | undefined, from: KnownItem | undefined, wanted: number): Prepared {
      const { collection, item } = intent;
      const location: Fields =
        effect === 'create' || wanted === 201
          ? [['location', service.originPath(`${collection}/${encodeURIComponent(item ?? '')}`)]]
          : [];
      const status =
        described === undefined || described.successes.includes(wanted)
          ? wanted
          : (described.successes[0] ?? wanted);
      const tag = json === undefined ? undefined : hubTag(JSON.stringify(json));
      const headers: Fields = [...location, ...(tag === undefined ? [] : [['etag', tag] as const])];
      const asked =
        write.policy.answer === 'accepted' ||
        /(?:^|,)\s*respond-async\b/i.test(field(write.headers, 'prefer') ?? '');
      const given = tag === undefined ? {} : { tag };
      if (asked) {
        return { answer: acceptedAnswer(location), base: from, keeps: true, ...given };
      }
      if (status === 204 && json !== undefined) {
        return { answer: bareAnswer(204, headers), base: from, keeps: true, ...given };
      }
      // An answer the service would not give is worse than one that says it is not done yet.
      const fits = json !== undefined && status !== 202 && (described?.fits(status, json) ?? true);
      return fits
        ? { answer: jsonAnswer(status, json, headers), base: from, keeps: true, ...given }
        : { answer: acceptedAnswer(location), base: from, keeps: true, ...given };
    }
  }

  /** The tag a client was given for the newest version made here. */
  function lastTag({ after }: Intent): string | undefined {
    const last = outbox.get(after.at(-1) ?? -1);
    return last === undefined
      ? undefined
      : last.status.state === 'done'
        ? (last.status.etag ?? last.facts.tag)
        : last.facts.tag;
  }

  function conditionMistake(
    intent: Intent,
    tag: string | undefined,
    item: Json,
  ): ReplicaResponse | undefined {
    const wanted = field(intent.write.headers, 'if-match');
    const none = field(intent.write.headers, 'if-none-match');
    const tags = new Set([tag, hubTag(JSON.stringify(item))]);
    const last = outbox.get(intent.after.at(-1) ?? -1);
    if (last?.facts.tag !== undefined) {
      tags.add(last.facts.tag);
    }
    const holds =
      (wanted === undefined ||
        wanted.trim() === '*' ||
        wanted.split(',').some(each => tags.has(each.trim()))) &&
      none?.trim() !== '*';
    return holds
      ? undefined
      : problemAnswer(
          412,
          'request/conflict',
          'Precondition failed',
          'this is not the version that is here',
          {
            headers: tag === undefined ? [] : [['etag', tag]],
          },
        );
  }

  /** What the service's document has against it: told now, and not when the service is back. */
  function mistakeOf({ write, service, path, draft }: Intent): ReplicaResponse | undefined {
    const { validate } = service.definition.openapi ?? { validate: 'off' };
    const described = validate === 'off' ? undefined : service.describe(write.method, path);
    if (described === undefined) {
      return undefined;
    }
    const anonymous = service.definition.identity.partition.every(
      name => field(write.headers, name) === undefined,
    );
    if (described.needsCredentials && anonymous && validate === 'enforce') {
      return problemAnswer(
        401,
        'request/unauthenticated',
        'A valid token is needed',
        'the service takes this from nobody without credentials',
        {
          headers: [['www-authenticate', 'Bearer']],
        },
      );
    }
    const type = mediaTypeOf(write.headers);
    const empty = (write.body?.length ?? 0) === 0;
    const mistakes =
      empty && !described.needsBody
        ? []
        : draft === undefined && (empty || /^application\/(?:[a-z0-9.-]*\+)?json$/.test(type))
          ? [{ pointer: '', detail: empty ? 'a body is needed' : 'not JSON' }]
          : draft === undefined
            ? []
            : described.bodyMistakes(type, draft);
    if (mistakes?.length === 0) {
      return undefined;
    }
    if (validate === 'warn') {
      counters.add('replica/outbox/invalid');
      return undefined;
    }
    return mistakes === undefined
      ? problemAnswer(415, 'request/unsupported', 'Not a media type for this', `${type} is not taken here`)
      : problemAnswer(400, 'request/invalid', 'The request has mistakes', 'the service would refuse it', {
          members: { errors: mistakes.map(each => ({ ...each })) },
        });
  }

  return { handle };
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

/** Says that it waits, and where to look what became of it. */
function labelled(answer: ReplicaResponse, operation: Operation, service: WriteService): ReplicaResponse {
  return {
    ...answer,
    headers: [
      ...answer.headers,
      ['link', `<${service.originPath(`/_replica/queue/${operation.id}`)}>; rel="status"`],
      ['replica-state', 'queued'],
      ['replica-operation', operation.id],
      ['cache-control', 'no-store'],
    ],
  };
}

function acceptedAnswer(headers: Fields = []): ReplicaResponse {
  return jsonAnswer(202, { state: 'queued' }, headers);
}

function accepted(operation: Operation, service: WriteService): ReplicaResponse {
  const { id, status } = operation;
  return labelled(jsonAnswer(202, { operation: id, state: status.state }), operation, service);
}

function notThere(id: string | undefined, deleted: boolean): ReplicaResponse {
  return problemAnswer(
    404,
    'request/not-found',
    'Not found',
    deleted ? `${id} is deleted here; the service will be told` : `${id} is not in the list kept here`,
  );
}

function unknown(id: string | undefined, service: string): ReplicaResponse {
  return problemAnswer(
    504,
    'replica/offline-miss',
    'Offline, and never seen before',
    `${service} is not reachable, and ${id} is not kept here: a change of it could not be checked`,
    { headers: [['retry-after', '30']] },
  );
}
