import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { ReplicaResponse } from './contract.ts';
import { type Fields, field } from './fields.ts';
import {
  acceptedAnswer,
  bareAnswer,
  hubTag,
  jsonAnswer,
  mediaTypeOf,
  problemAnswer,
} from './outbox-answer.ts';
import type { Intent } from './outbox-intent.ts';
import type { Operation } from './outbox-operation.ts';
import type { Json } from './pointer.ts';
import type { KnownItem, ProjectionReads } from './projection.ts';
import { projectItem } from './projection-fold.ts';

/** An answer made here, and what it is based on. */
export interface Prepared {
  readonly answer: ReplicaResponse;
  readonly base: KnownItem | undefined;
  /** Whether the write may be kept; a problem else. */
  readonly keeps: boolean;
  readonly tag?: string;
}

export interface PrepareParts {
  readonly projection: ProjectionReads;
  readonly clock: Clock;
  readonly counters: Counters;
}

/** Makes what says how a write would be answered here. */
export function createPrepare({
  projection,
  clock,
  counters,
}: PrepareParts): (intent: Intent) => Promise<Prepared> {
  /** The answer this write gets when it is kept, or the reason why it is not. */
  return async function prepare(intent: Intent): Promise<Prepared> {
    const { write, service, path, match, effect, draft } = intent;
    const described = service.describe(write.method, path);
    const mistake = mistakeOf(intent, counters);
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
    const tag = changed ? (lastTag(intent.last) ?? hubTag(JSON.stringify(before))) : base?.etag;
    const failed = conditionMistake(intent, base, tag, before, changed);
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
  };
}

/** The tag a client was given for the newest version made here. */
function lastTag(last: Operation | undefined): string | undefined {
  return last?.status.state === 'done' ? (last.status.etag ?? last.facts.tag) : last?.facts.tag;
}

function conditionMistake(
  { write, last }: Intent,
  base: KnownItem | undefined,
  tag: string | undefined,
  item: Json,
  changed: boolean,
): ReplicaResponse | undefined {
  const wanted = field(write.headers, 'if-match');
  const none = field(write.headers, 'if-none-match');
  const tags = new Set([tag, hubTag(JSON.stringify(item))]);
  // What a client was shown under a tag of ours is this version as long as nothing else has come over it.
  if (last?.facts.tag !== undefined && (changed || base?.etag === last.status.etag)) {
    tags.add(last.facts.tag);
  }
  const holds =
    (wanted === undefined ||
      wanted.trim() === '*' ||
      wanted.split(',').some(each => tags.has(each.trim()))) &&
    none?.trim() !== '*';
  return holds
    ? undefined
    : problemAnswer(412, 'request/conflict', 'Precondition failed', 'this is not the version that is here', {
        headers: tag === undefined ? [] : [['etag', tag]],
      });
}

/** What the service's document has against it: told now, and not when the service is back. */
function mistakeOf({ write, service, path, draft }: Intent, counters: Counters): ReplicaResponse | undefined {
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
