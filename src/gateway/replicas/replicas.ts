import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Lookup } from '../../lib/names.ts';
import type { ServiceHealth } from '../../lib/service.ts';
import { collect, createBufferBudget } from './buffers.ts';
import { captive, checkAnswer } from './captive.ts';
import type {
  BaseReads,
  Forward,
  QueueCounts,
  QueueRow,
  ReplicaDesk,
  ReplicaHost,
  ReplicaView,
  ReplicaWrites,
} from './contract.ts';
import type { ReplicaDefinition } from './definition.ts';
import type { Exchange, Reply } from './exchange.ts';
import { type Fields, field, without } from './fields.ts';
import { createAskers } from './identity.ts';
import { type LinkWatch, type Probed, watchLink } from './link-watch.ts';
import { createOrigin, type Origin } from './origin.ts';
import { failed, failureOf, isGrave } from './origin-failure.ts';
import { builtInRead, compilePolicies } from './policy.ts';
import { identityOf } from './projected.ts';
import { varyKey, varyNames } from './rfc9111/vary.ts';
import { createServer, type Server } from './serve.ts';
import type { Service } from './service.ts';
import { openCache } from './store/cache.ts';
import type { Standing } from './trust.ts';

export interface ReplicasOptions {
  readonly definitions: readonly ReplicaDefinition[];
  /** Folder of the hub's data. */
  readonly dir: string;
  /** The hub's own secret of 32 bytes, under which credentials are hashed. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Makes the write side; without it every write is rejected while offline. */
  readonly writes?: (host: ReplicaHost) => ReplicaWrites | Promise<ReplicaWrites>;
  /** How a service is, whenever that changes; it is named `replica:<id>`. */
  readonly onHealth?: (health: ServiceHealth) => void;
  readonly lookup?: Lookup;
  /** Bytes set aside against a full disk. */
  readonly ballast?: number;
}

/** The replicas of a hub. */
export interface Replicas extends AsyncDisposable {
  readonly desk: ReplicaDesk;
  readonly definitions: readonly ReplicaDefinition[];
  /** Answers a client. Throws `request/not-found` for an unknown service; see `Server.answer`. */
  answer(service: string, exchange: Exchange): Promise<Reply>;
  standing(service: string, headers: Fields): Promise<Standing>;
  /** What the service's own windows show; only of one partition where one is given. */
  queueOf(service: string, partition: string): ReturnType<ReplicaDesk['queue']>;
  operation(service: string, id: string, partition: string): QueueRow | undefined;
  view(service: string): ReplicaView;
  /** Probes, replays and watches the clock until the signal. */
  run(signal: AbortSignal): Promise<void>;
  readonly host: ReplicaHost;
}

/** Bytes of answers in memory of which it is not known yet whether they can be kept, and as many of writes. */
const bufferBytes = 32 * 1024 * 1024;
const mostEntries = 100_000;
const defaultForwardBody = 4 * 1024 * 1024;
/** Bytes of a probe's answer that are looked at. */
const probeBytes = 64 * 1024;
/** ms a probe may take that nobody waits for: a slow link is a link; and between looks at the clock. */
const patientProbe = 15_000;
const clockEvery = 30_000;
/** ms the wall clock may drift from the steady one before it counts as set. */
const clockJump = 60_000;
const noQueue: QueueCounts = { waiting: 0, blocked: 0, conflicts: 0 };

interface Running {
  readonly service: Service;
  readonly server: Server;
}

/** Opens the store and everything the services need; sends nothing before `run` or a client. */
export async function openReplicas(options: ReplicasOptions): Promise<Replicas> {
  const { definitions, clock, log, counters, key } = options;
  await using stack = new AsyncDisposableStack();
  const cache = stack.use(
    await openCache({
      dir: options.dir,
      budgets: definitions.map(({ id, storage }) => ({
        service: id,
        bytes: storage.cache,
        partitionBytes: Math.min(storage.user, storage.cache),
        entries: mostEntries,
      })),
      clock,
      log,
      counters,
      ...(options.ballast !== undefined && { ballast: options.ballast }),
    }),
  );
  const budget = createBufferBudget(bufferBytes);
  const uploads = createBufferBudget(bufferBytes);
  const listeners = {
    link: new Set<Parameters<ReplicaHost['onLink']>[0]>(),
    stored: new Set<Parameters<ReplicaHost['onStored']>[0]>(),
    credentials: new Set<Parameters<ReplicaHost['onCredentials']>[0]>(),
  };
  const running = new Map<string, Running>();
  let writes: ReplicaWrites | undefined;

  for (const definition of definitions) {
    const { id } = definition;
    const origin = createOrigin({
      definition,
      clock,
      ...(options.lookup !== undefined && { lookup: options.lookup }),
    });
    stack.use(origin);
    const link = watchLink({
      clock,
      every: definition.upstream.probe.every,
      probe: (hasty, signal) =>
        probe(definition, hasty ? hastyProbe(definition) : patientProbe, origin, clock, signal),
      onChange(state) {
        log.info({ service: id, state: state.at, reason: state.reason }, 'the link of a replica changed');
        options.onHealth?.(healthOf(id, state));
        for (const listener of [...listeners.link]) {
          listener(id, state);
        }
      },
    });
    stack.use(link);
    options.onHealth?.(healthOf(id, link.state));
    const service: Service = {
      definition,
      policies: compilePolicies(definition),
      origin,
      link,
      askerOf: createAskers(definition, key),
      cache,
      budget,
      uploads,
      clock,
      log,
      counters,
      onStored(partition, path, requestTime) {
        for (const listener of [...listeners.stored]) {
          listener(id, partition, path, requestTime);
        }
      },
      onCredentials(partition, headers) {
        for (const listener of [...listeners.credentials]) {
          listener(id, partition, headers);
        }
      },
    };
    running.set(id, { service, server: createServer(service, () => writes) });
  }

  function of(id: string): Running {
    const found = running.get(id);
    if (found === undefined) {
      throw new GatewayError('request/not-found', `there is no replica "${id}"`);
    }
    return found;
  }

  const forward: Forward = async (request, { signal, maxBody = defaultForwardBody } = {}) => {
    const { origin, link, definition } = of(request.service).service;
    try {
      const answer = await origin.send(
        {
          method: request.method,
          path: request.path,
          headers: without(request.headers, 'expect'),
          ...(request.body !== undefined && { body: request.body }),
        },
        signal === undefined ? {} : { signal },
      );
      checkAnswer({ definition, origin, counters, link }, answer, undefined);
      of(request.service).server.learn(request.headers, answer.status);
      const body = await collect(answer.body, maxBody);
      if (body === undefined) {
        throw new GatewayError('request/too-large', `an answer of more than ${maxBody} bytes`, {
          detail: { sent: true },
        });
      }
      return { status: answer.status, headers: answer.headers, body };
    } catch (error) {
      if (
        signal?.aborted !== true &&
        !(error instanceof GatewayError && error.code === 'request/too-large')
      ) {
        const cause = failureOf(error);
        link.tell({ on: 'failure', grave: isGrave(cause), reason: (error as Error).message });
      }
      throw error instanceof GatewayError || signal?.aborted === true
        ? error
        : failed('reset', 'the connection broke', true, error);
    }
  };

  const reads: BaseReads = {
    async stored(service, partition, path) {
      const newest = cache
        .select(service, partition, path)
        .filter(({ status }) => status === 200)
        .toSorted((one, other) => other.responseTime - one.responseTime)[0];
      const body = await newest?.body();
      if (newest === undefined || body === undefined) {
        return undefined;
      }
      const plain = await identityOf({ status: 200, headers: newest.headers, body }, defaultForwardBody);
      const etag = field(newest.headers, 'etag');
      return plain && { ...plain, asOf: newest.requestTime, ...(etag !== undefined && { etag }) };
    },
    pathsBelow: (service, partition, prefix, limit = 200) =>
      cache.pathsBelow(service, partition, prefix, limit),
    async store(request, response) {
      const names = varyNames(response.headers);
      const { maxEntry } = of(request.service).service.definition.storage;
      if (names === undefined || response.body.length > maxEntry) {
        return;
      }
      const now = clock.now();
      cache.put(
        {
          service: request.service,
          partition: request.partition,
          path: request.path,
          vary: varyKey(names, request.headers),
          status: response.status,
          headers: response.headers,
          requestTime: now,
          responseTime: now,
          invalid: false,
          size: response.body.length,
          pinned: false,
        },
        response.body,
      );
    },
    invalidate(service, partition, paths) {
      of(service).server.invalidate(partition, paths);
    },
  };

  const listen = <T>(set: Set<T>, listener: T) => {
    set.add(listener);
    return () => void set.delete(listener);
  };
  const host: ReplicaHost = {
    forward,
    reads,
    definition: id => running.get(id)?.service.definition,
    link: id => of(id).service.link.state,
    onLink: listener => listen(listeners.link, listener),
    onStored: listener => listen(listeners.stored, listener),
    onCredentials: listener => listen(listeners.credentials, listener),
  };
  if (options.writes !== undefined) {
    writes = stack.use(await options.writes(host));
  }

  function view(id: string): ReplicaView {
    const { definition, link } = of(id).service;
    const { at, since, reason, lastGoodAt } = link.state;
    return {
      id,
      title: definition.title,
      link: at,
      since,
      ...(reason !== undefined && { reason }),
      ...(lastGoodAt !== undefined && { lastGoodAt }),
      cached: cache.usage(id),
      queue: writes?.verbs.counts(id) ?? noQueue,
    };
  }

  const verbs = (id: string) => {
    of(id);
    if (writes === undefined) {
      throw new GatewayError('request/not-found', 'there is no queue');
    }
    return writes.verbs;
  };
  const desk: ReplicaDesk = {
    list: () => [...running.keys()].map(view),
    queue(id) {
      of(id);
      return writes?.verbs.queue(id) ?? [];
    },
    retry: async (id, operation) => verbs(id).retry(id, operation),
    resolve: async (id, operation, how) => verbs(id).resolve(id, operation, how),
    force: (id, offline) => of(id).service.link.tell({ on: 'force', offline }),
  };

  /** A clock that is set takes the times of what was stored under it along. */
  async function watchClock(signal: AbortSignal): Promise<void> {
    let began = clock.now();
    let offset = clock.now() - clock.monotonic();
    while (!signal.aborted) {
      await clock.sleep(clockEvery, signal).catch(() => undefined);
      const by = clock.now() - clock.monotonic() - offset;
      if (Math.abs(by) > clockJump) {
        log.warn({ ms: Math.round(by) }, 'the clock was set: stored times move with it');
        cache.shift(began, Math.round(by));
        await writes
          ?.shift(began, Math.round(by))
          .catch(error => log.warn({ error }, 'the queue keeps the times of the wrong clock'));
        began += by;
        offset += by;
      }
    }
  }

  const kept = stack.move();
  return {
    desk,
    host,
    definitions,
    answer: async (id, exchange) => of(id).server.answer(exchange),
    standing: async (id, headers) => of(id).server.standing({ headers }),
    operation: (id, operation, partition) => writes?.verbs.operation(id, operation, partition),
    queueOf: (id, partition) => writes?.verbs.queue(id, partition) ?? [],
    view,
    async run(signal) {
      for (const { service } of running.values()) {
        service.link.tell({ on: 'due' });
      }
      await Promise.all([watchClock(signal), writes?.run(signal)]);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** ms of a probe that clients wait for: with what they have waited already it ends soon after their patience. */
function hastyProbe({ defaults }: ReplicaDefinition): number {
  return (defaults.read.patience ?? builtInRead.patience) * 0.75;
}

/** Asks whether the service is there, and whether it is the service. */
async function probe(
  { upstream }: ReplicaDefinition,
  limit: number,
  origin: Origin,
  clock: Clock,
  stop: AbortSignal,
): Promise<Probed> {
  const late = new AbortController();
  const cancel = clock.after(limit, () => late.abort(failed('headers', 'no answer to a probe', true)));
  try {
    const answer = await origin.send(
      {
        method: 'GET',
        path: upstream.probe.path,
        headers: [
          ['Accept', '*/*'],
          ['Accept-Encoding', 'identity'],
          ['Cache-Control', 'no-cache'],
        ],
      },
      // Not in line behind requests that hang: it is asked in order to find out about them.
      { signal: AbortSignal.any([stop, late.signal]), stream: true },
    );
    const { types } = upstream.expect;
    const fake = captive(answer.status, answer.headers, { base: origin.base, ...(types && { types }) });
    if (fake !== undefined) {
      answer.body.destroy();
      return { good: false, reason: `not itself: ${fake}` };
    }
    const body = await collect(answer.body, probeBytes);
    const { contains } = upstream.probe;
    if (contains !== undefined && !Buffer.from(body ?? []).includes(contains)) {
      return { good: false, reason: 'not itself: the probe has another answer' };
    }
    return { good: true };
  } catch (error) {
    return { good: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    cancel();
  }
}

function healthOf(id: string, state: LinkWatch['state']): ServiceHealth {
  const up = state.at === 'online';
  return {
    name: `replica:${id}`,
    state: up ? 'up' : 'waiting',
    since: state.since,
    ...(!up && { reason: `${state.at}: ${state.reason ?? 'not reachable'}`, code: 'bridge/unavailable' }),
    bugs: 0,
  };
}
