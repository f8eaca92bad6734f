import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  Base,
  LinkState,
  QueueableWrite,
  ReplicaHost,
  ReplicaRequest,
  ReplicaResponse,
  ReplicaWrites,
  StoredResponse,
} from '../../../src/gateway/replicas/contract.ts';
import type { ReplicaDefinition } from '../../../src/gateway/replicas/definition.ts';
import { readDefinition } from '../../../src/gateway/replicas/definition-file.ts';
import { field, fieldsOf } from '../../../src/gateway/replicas/fields.ts';
import type { OutboxLimits } from '../../../src/gateway/replicas/outbox.ts';
import { compilePolicies, type WritePolicy } from '../../../src/gateway/replicas/policy.ts';
import { createReplicaWrites } from '../../../src/gateway/replicas/writes.ts';
import { openStore, type Store } from '../../../src/gateway/store/store.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';

/** The write side on a real store and a real origin, with the least of a read side: what was read is kept in a map. */
export interface Bench extends AsyncDisposable {
  readonly writes: ReplicaWrites;
  readonly store: Store;
  readonly counters: Counters;
  readonly dir: string;
  /** Paths invalidated so far. */
  readonly invalidated: string[];
  /** Says that the service is there, or not. */
  link(at: LinkState['at']): void;
  /** The origin took this token. */
  credentials(token: string): void;
  /** A write as alice, or with another token. */
  write(method: string, path: string, body?: unknown, more?: WriteOptions): Promise<Answer>;
  /** A read as the engine makes it: from the origin while online, else from what was read, pending writes in it. */
  read(
    path: string,
    more?: { readonly token?: string; readonly headers?: Record<string, string> },
  ): Promise<Answer>;
  partition(token?: string): string;
  /** Stops it, keeping the folder. */
  stop(): Promise<void>;
}

export interface WriteOptions {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly policy?: Partial<WritePolicy>;
}

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read members of whatever came
  readonly body: any;
  header(name: string): string | undefined;
}

export interface BenchOptions {
  readonly url: string;
  readonly dir?: string;
  readonly clock?: Clock;
  readonly limits?: Partial<OutboxLimits>;
  readonly definition?: (definition: ReplicaDefinition) => ReplicaDefinition;
  readonly at?: LinkState['at'];
  readonly timeout?: number;
  readonly key?: Uint8Array;
}

export const notesFile = join(import.meta.dirname, '../../../replicas/notes.replica.yaml');

export async function openBench(options: BenchOptions): Promise<Bench> {
  await using opening = new AsyncDisposableStack();
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'kos-writes-')));
  if (options.dir === undefined) {
    opening.defer(() => rm(dir, { recursive: true, force: true }));
  }
  const store = opening.use(await openStore({ dir }));
  const shipped = readDefinition(notesFile);
  const based: ReplicaDefinition = {
    ...shipped,
    upstream: { ...shipped.upstream, url: `${options.url}/v1`, allowPrivate: true },
  };
  const definition = options.definition?.(based) ?? based;
  const policies = compilePolicies(definition);
  const clock = options.clock ?? systemClock;
  const counters = new Counters();
  const cache = new Map<string, StoredResponse>();
  const invalidated: string[] = [];
  const linkListeners = new Set<Parameters<ReplicaHost['onLink']>[0]>();
  const credentialListeners = new Set<Parameters<ReplicaHost['onCredentials']>[0]>();
  let link: LinkState = { at: options.at ?? 'online', since: clock.now() };
  const slot = (partition: string, path: string) => `${partition} ${path}`;

  const forward = (request: ReplicaRequest, { signal }: { signal?: AbortSignal } = {}) =>
    send(`${options.url}/v1${request.path}`, request, signal, options.timeout ?? 3000);

  const host: ReplicaHost = {
    forward,
    reads: {
      stored: async (_service, partition, path) => cache.get(slot(partition, path)),
      pathsBelow: (_service, partition, prefix, limit = 100) =>
        [...cache.keys()]
          .filter(key => key.startsWith(slot(partition, prefix)))
          .map(key => key.slice(partition.length + 1))
          .slice(0, limit),
      async store(request, response) {
        cache.set(slot(request.partition, request.path), { ...response, asOf: clock.now() });
      },
      invalidate(_service, _partition, paths) {
        invalidated.push(...paths);
      },
    },
    definition: service => (service === definition.id ? definition : undefined),
    link: () => link,
    onLink(listener) {
      linkListeners.add(listener);
      return () => linkListeners.delete(listener);
    },
    onStored: () => () => {},
    onCredentials(listener) {
      credentialListeners.add(listener);
      return () => credentialListeners.delete(listener);
    },
  };
  const writes = createReplicaWrites({
    host,
    store,
    key: options.key ?? new Uint8Array(32).fill(7),
    clock,
    random: systemRandom,
    log: silentLog,
    counters,
    returnJitter: 0,
    ...(options.limits !== undefined && { limits: options.limits }),
  });
  opening.use(writes);
  const ending = new AbortController();
  const running = writes.run(ending.signal);
  opening.defer(async () => {
    ending.abort();
    await running;
  });
  const opened = opening.move();
  const partition = (token = 'token-alice') => Buffer.from(token).toString('hex').padEnd(32, '0').slice(-32);
  const headersOf = (token = 'token-alice', more: Readonly<Record<string, string>> = {}) =>
    Object.entries({ ...(token !== '' && { Authorization: `Bearer ${token}` }), ...more }) as [
      string,
      string,
    ][];

  return {
    writes,
    store,
    counters,
    dir,
    invalidated,
    partition,
    link(at) {
      link = { at, since: clock.now() };
      for (const listener of linkListeners) {
        listener(definition.id, link);
      }
    },
    credentials(token) {
      for (const listener of credentialListeners) {
        listener(definition.id, partition(token), headersOf(token));
      }
    },
    async write(method, path, body, { token, headers, policy } = {}) {
      const write: QueueableWrite = {
        service: definition.id,
        partition: partition(token),
        method,
        path,
        headers: headersOf(token, {
          ...(body !== undefined && {
            'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
          }),
          ...headers,
        }),
        ...(body !== undefined && { body: Buffer.from(JSON.stringify(body)) }),
        policy: { ...policies.of(method, path).write, ...policy },
        params: policies.of(method, path).params,
      };
      return answerOf(await writes.path.handle(write));
    },
    async read(path, { token, headers } = {}) {
      const resolved = writes.projection.resolve(definition.id, partition(token), path);
      const request: ReplicaRequest = {
        service: definition.id,
        partition: partition(token),
        method: 'GET',
        path: resolved.path,
        headers: headersOf(token, headers),
      };
      let base: Base | undefined;
      const asOf = clock.now();
      if (link.at === 'online' && !resolved.local) {
        const response = await forward(request);
        base = { ...response, asOf };
        const etag = field(response.headers, 'etag');
        if (response.status === 200) {
          cache.set(slot(request.partition, request.path), { ...base, ...(etag !== undefined && { etag }) });
        }
      } else {
        base = cache.get(slot(request.partition, request.path));
      }
      const shown = (await writes.projection.apply(request, base)) ?? base;
      return shown === undefined
        ? { status: 504, body: undefined, header: () => undefined }
        : answerOf(shown);
    },
    stop: () => opened.disposeAsync(),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function answerOf({ status, headers, body }: ReplicaResponse): Answer {
  const text = Buffer.from(body).toString('utf8');
  return {
    status,
    body: text === '' ? undefined : JSON.parse(text),
    header: name => field(headers, name),
  };
}

function send(
  url: string,
  request: ReplicaRequest,
  signal: AbortSignal | undefined,
  timeout: number,
): Promise<ReplicaResponse> {
  return new Promise((resolve, reject) => {
    const fail = (cause: string, sent: boolean) =>
      reject(new GatewayError('bridge/unavailable', `no answer: ${cause}`, { detail: { sent, cause } }));
    const outgoing = httpRequest(url, {
      method: request.method,
      headers: ['Host', new URL(url).host, ...request.headers.flat()],
      agent: false,
      ...(signal !== undefined && { signal }),
    });
    outgoing.setTimeout(timeout, () => {
      fail('headers', true);
      outgoing.destroy();
    });
    outgoing.on('error', error => {
      const refused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
      fail(refused ? 'refused' : 'reset', !refused);
    });
    outgoing.on('response', async incoming => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of incoming) {
          chunks.push(chunk);
        }
        const headers = fieldsOf(incoming.rawHeaders);
        if (field(headers, 'content-type')?.startsWith('text/html')) {
          fail('captive', true);
          return;
        }
        resolve({ status: incoming.statusCode ?? 0, headers, body: Buffer.concat(chunks) });
      } catch {
        fail('reset', true);
      }
    });
    outgoing.end(request.body);
  });
}

/** Asks again until it holds. */
export async function eventually<T>(
  what: string,
  read: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let turn = 0; turn < 3000; turn++) {
    const value = await read();
    if (value !== undefined && value !== false) {
      return value;
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}
