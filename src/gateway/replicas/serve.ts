import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { miss, unanswered } from './absence.ts';
import { collect } from './buffers.ts';
import { checkAnswer } from './captive.ts';
import type { Projection, ReplicaWrites } from './contract.ts';
import type { Exchange, Reply } from './exchange.ts';
import { type Fields, field } from './fields.ts';
import { forwarded } from './labels.ts';
import { failureOf, isGrave } from './origin-failure.ts';
import type { Policy } from './policy.ts';
import { readProjected } from './projected.ts';
import { createReads } from './reads.ts';
import { invalidated } from './rfc9111/invalidation.ts';
import type { Service } from './service.ts';
import { createTrust, type Standing, untrusted } from './trust.ts';

/** Pages of a list that a write puts in doubt. */
const mostPages = 200;
const reading: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Everything a client may ask of one service. */
export interface Server {
  /** Throws a GatewayError whose `detail` may have `status` and `retryAfter`. */
  answer(exchange: Exchange): Promise<Reply>;
  standing(exchange: Pick<Exchange, 'headers'>): Promise<Standing>;
  /** The service answered a write that was kept before it was sent. */
  learn(headers: Fields, status: number): void;
  /** What is stored for paths of a partition is to be asked for again. */
  invalidate(partition: string, paths: readonly string[]): void;
}

export function createServer(service: Service, writes: () => ReplicaWrites | undefined): Server {
  const { definition, policies, cache, link, origin, counters, clock, uploads } = service;
  const { id } = definition;
  const trust = createTrust(service);
  const reads = createReads(service, trust);

  async function answer(given: Exchange): Promise<Reply> {
    const standing = await trust.standing(given.headers);
    const projection = writes()?.projection;
    const { path, local } = projection?.resolve(id, standing.partition, given.path) ?? {
      path: given.path,
      local: false,
    };
    const exchange = path === given.path ? given : { ...given, path };
    const policy = policies.of(exchange.method, path);
    if (policy.stream && !local) {
      return through(exchange, standing, policy, true);
    }
    if (!reading.has(exchange.method) || exchange.body !== undefined) {
      if (policy.write.mode === 'queue' && writes() !== undefined && !isSafeMethod(exchange.method)) {
        // As it was asked for: a repeat under a client's key must look the same before and after an id was given.
        return queue(given, standing, policy);
      }
      if (local) {
        throw new GatewayError('request/not-found', 'not known to the service yet');
      }
      return through(exchange, standing, policy, false);
    }
    const read = (of: Exchange) => reads.answer({ exchange: of, standing, policy: policy.read });
    const touched = local || projection?.touches(id, standing.partition, path) === true;
    const projected = (projection: Projection, base: ((headers: Fields) => Promise<Reply>) | undefined) =>
      readProjected({
        projection,
        service: id,
        partition: standing.partition,
        exchange,
        most: definition.storage.maxEntry,
        now: clock.now(),
        read: base,
      });
    if (projection === undefined || !touched || policy.read.mode === 'bypass') {
      try {
        return await read(exchange);
      } catch (error) {
        if (
          projection === undefined ||
          policy.resource === undefined ||
          policy.read.mode !== 'replica' ||
          !standing.trusted ||
          !isGatewayError(error, 'replica/offline-miss')
        ) {
          throw error;
        }
        // A list that is kept may show the item, or what another query of it would.
        return projected(projection, () => Promise.reject(error));
      }
    }
    if (!standing.trusted && link.away) {
      throw untrusted();
    }
    counters.add('replica/projected');
    return projected(
      projection,
      local ? undefined : headers => read({ ...exchange, method: 'GET', headers }),
    );
  }

  /** A write that may wait: its body is taken whole before anybody sees it. */
  async function queue(exchange: Exchange, standing: Standing, policy: Policy): Promise<Reply> {
    const { write } = policy;
    if (link.away && !standing.trusted) {
      throw untrusted();
    }
    const tooLarge = () =>
      new GatewayError('request/too-large', `at most ${write.maxBody} bytes here, because it may be queued`);
    if (Number(field(exchange.headers, 'content-length') ?? 0) > write.maxBody) {
      throw tooLarge();
    }
    if (field(exchange.headers, 'expect') !== undefined) {
      exchange.inform(100, []);
    }
    let held = 0;
    const take = (bytes: number) => {
      if (!uploads.take(bytes)) {
        throw new GatewayError('request/rate-limited', 'too much is being written at once', {
          retryable: true,
          detail: { retryAfter: 1 },
        });
      }
      held += bytes;
    };
    try {
      const body =
        exchange.body === undefined ? new Uint8Array() : await collect(exchange.body, write.maxBody, take);
      if (body === undefined) {
        throw tooLarge();
      }
      if (exchange.signal.aborted) {
        throw exchange.signal.reason;
      }
      return await handed(exchange, standing, policy, body);
    } finally {
      uploads.give(held);
    }
  }

  async function handed(
    exchange: Exchange,
    standing: Standing,
    { write, params }: Policy,
    body: Uint8Array,
  ): Promise<Reply> {
    counters.add('replica/writes');
    const path = writes()?.path;
    if (path === undefined) {
      throw miss(service, 'nothing takes writes here');
    }
    const { partition } = standing;
    return path.handle({
      service: id,
      partition,
      method: exchange.method,
      path: exchange.path,
      headers: exchange.headers.filter(([name]) => name.toLowerCase() !== 'expect'),
      body,
      policy: write,
      params,
    });
  }

  /** To the service and back, in a stream both ways; nothing is kept. */
  async function through(
    exchange: Exchange,
    standing: Standing,
    policy: Policy,
    stream: boolean,
  ): Promise<Reply> {
    const safe = isSafeMethod(exchange.method);
    if (link.away) {
      counters.add(safe ? 'replica/miss-offline' : 'replica/writes-refused');
      const { state } = link;
      const wait = state.nextProbeAt === undefined ? 5000 : state.nextProbeAt - clock.now();
      throw new GatewayError(
        safe ? 'replica/offline-miss' : 'bridge/unavailable',
        safe
          ? 'the service cannot be reached, and this is never stored'
          : 'the service cannot be reached, and this is never queued: try again when it can',
        {
          retryable: true,
          detail: { status: 503, retryAfter: Math.max(1, wait / 1000), service: id, since: state.since },
        },
      );
    }
    counters.add('replica/passed');
    try {
      const reply = await origin.send(
        {
          method: exchange.method,
          path: exchange.path,
          headers: exchange.headers,
          ...(exchange.body !== undefined && { body: exchange.body }),
          ...(exchange.trailers !== undefined && { trailers: exchange.trailers }),
          client: exchange.client,
        },
        { signal: exchange.signal, onInformation: exchange.inform, stream },
      );
      checkAnswer(service, reply, undefined, stream);
      trust.learn(standing, exchange.headers, reply.status);
      changed(exchange.method, standing.partition, exchange.path, reply.status, reply.headers, policy);
      const why = safe ? 'bypass' : 'method';
      return {
        status: reply.status,
        statusMessage: reply.statusMessage,
        headers: forwarded(reply.headers, `kos; fwd=${why}; fwd-status=${reply.status}`),
        body: reply.body,
        trailers: reply.trailers,
        endless: stream,
      };
    } catch (error) {
      if (exchange.signal.aborted) {
        throw error;
      }
      const cause = failureOf(error);
      counters.add(`replica/failure/${cause}`);
      if (cause !== 'aborted' && cause !== 'busy') {
        link.tell({ on: 'failure', grave: isGrave(cause), reason: (error as Error).message });
      }
      throw unanswered(service, error);
    }
  }

  /** An unsafe method went through: what is stored of the things it may have changed is in doubt. */
  function changed(
    method: string,
    partition: string,
    path: string,
    status: number,
    headers: Reply['headers'],
    policy: Policy,
  ): void {
    const urls = invalidated(method, origin.urlOf(path), status, headers);
    const [own] = urls;
    if (own === undefined) {
      return;
    }
    const prefix = origin.base.pathname.replace(/\/+$/, '');
    const paths = urls
      .map(url => url.pathname + url.search)
      .filter(each => each.startsWith(`${prefix}/`))
      .map(each => each.slice(prefix.length));
    const match = policies.resourceOf(path);
    const bare = path.split('?', 1)[0] ?? path;
    const lists = match?.kind === 'item' ? [bare.replace(/\/[^/]*$/, '')] : match === undefined ? [] : [bare];
    const named = policy.write.invalidates.map(template => filled(template, policy.params));
    invalidate(partition, [...paths, ...[...lists, ...named].flatMap(list => pagesOf(partition, list))]);
    if (method === 'DELETE') {
      // Offline it must not come back.
      cache.remove(id, partition, path);
    }
  }

  /** A list with all its queries. */
  function pagesOf(partition: string, path: string): readonly string[] {
    return [path, ...cache.pathsBelow(id, partition, `${path}?`, mostPages)];
  }

  function invalidate(partition: string, paths: readonly string[]): void {
    for (const path of new Set(paths)) {
      cache.invalidate(id, partition, path);
    }
  }

  return {
    answer,
    standing: exchange => trust.standing(exchange.headers),
    learn: trust.learnLater,
    invalidate,
  };
}

function filled(template: string, params: Readonly<Record<string, string>>): string {
  return template.replace(/\{([^}]*)\}/g, (whole, name: string) =>
    params[name] === undefined ? whole : encodeURIComponent(params[name]),
  );
}

function isSafeMethod(method: string): boolean {
  return reading.has(method) || method === 'OPTIONS' || method === 'TRACE';
}
