import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import {
  createServer,
  type IncomingMessage,
  type RequestOptions,
  request,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createSvcListener } from '../../../src/bridges/svc/listener.ts';
import { readDefinition } from '../../../src/gateway/replicas/definition-file.ts';
import { openReplicas, type Replicas, type ReplicasOptions } from '../../../src/gateway/replicas/replicas.ts';
import { createReplicaWrites } from '../../../src/gateway/replicas/writes.ts';
import { openStore } from '../../../src/gateway/store/store.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';

/** A cloud of our own: answers as it is told, and remembers what it was asked. */
export interface TestOrigin {
  readonly url: string;
  readonly port: number;
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly headers: IncomingMessage['headers'];
    readonly raw: readonly string[];
  }[];
  handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Nobody listens any more, and connections break. */
  kill(): Promise<void>;
  /** Listens again where it did. */
  revive(): Promise<void>;
}

export async function startOrigin(t: TestContext, handle: TestOrigin['handle']): Promise<TestOrigin> {
  const sockets = new Set<Socket>();
  const origin: TestOrigin = {
    url: '',
    port: 0,
    requests: [],
    handle,
    async kill() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise<void>(resolve => server.close(() => resolve()));
    },
    revive: () => new Promise<void>(resolve => server.listen(origin.port, '127.0.0.1', () => resolve())),
  };
  const server = createServer((incoming, response) => {
    origin.requests.push({
      method: incoming.method ?? '',
      url: incoming.url ?? '',
      headers: incoming.headers,
      raw: incoming.rawHeaders,
    });
    incoming.on('error', () => undefined);
    response.on('error', () => undefined);
    origin.handle(incoming, response);
  });
  server.on('checkContinue', (incoming, response) => server.emit('request', incoming, response));
  server.on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  Object.assign(origin, { port, url: `http://127.0.0.1:${port}/v1` });
  t.after(() => origin.kill());
  return origin;
}

export interface TestHub extends Replicas {
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  readonly counters: Counters;
  /** Stops and starts over what is on disk. */
  restart(): Promise<TestHub>;
}

export interface HubOptions {
  /** Below the `upstream:` key. */
  readonly upstream?: string;
  /** Further keys of the definition. */
  readonly more?: string;
  /** Whether the service may lie here; it does, so true without it. */
  readonly allowPrivate?: boolean;
  readonly clock?: Clock;
  /** The whole definition instead, and the service's id in it. */
  readonly definition?: { readonly id: string; readonly text: string };
  /** Where the listener is bound; loopback without it. */
  readonly listen?: string;
  /** Writes are queued as definitions say. */
  readonly writes?: boolean;
  readonly dir?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly replicas?: Partial<ReplicasOptions>;
}

/** A hub with one replica, named `api`, of the origin. */
export async function startHub(t: TestContext, origin: string, options: HubOptions = {}): Promise<TestHub> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'kos-svc-')));
  if (options.dir === undefined) {
    t.after(() => rm(dir, { recursive: true, force: true }));
  }
  const file = join(dir, 'api.replica.yaml');
  for (const [name, text] of Object.entries(options.files ?? {})) {
    await writeFile(join(dir, name), text);
  }
  const id = options.definition?.id ?? 'api';
  const made = `version: 1\nid: api\nupstream:\n  url: ${origin}\n  allowPrivate: ${options.allowPrivate ?? true}\n${options.upstream ?? ''}\n${options.more ?? ''}\n`;
  await writeFile(file, options.definition?.text ?? made);
  const clock = options.clock ?? systemClock;
  const counters = new Counters();
  const key = new Uint8Array(32).fill(7);
  const parts = { clock, random: systemRandom, log: silentLog, counters };
  const store = options.writes === true ? await openStore({ dir, ...parts }) : undefined;
  const replicas = await openReplicas({
    definitions: [readDefinition(file)],
    dir,
    key,
    clock,
    log: silentLog,
    counters,
    ballast: 0,
    ...(store !== undefined && {
      writes: host => createReplicaWrites({ ...parts, host, store, key, returnJitter: 0 }),
    }),
    ...options.replicas,
  });
  let listener: ReturnType<typeof createSvcListener>;
  try {
    listener = createSvcListener({
      replicas,
      host: options.listen ?? '127.0.0.1',
      port: 0,
      clock: systemClock,
      log: silentLog,
      counters,
    });
  } catch (error) {
    await replicas[Symbol.asyncDispose]();
    throw error;
  }
  await listener.listen();
  const stop = new AbortController();
  const running = replicas.run(stop.signal);
  let closed = false;
  const close = async () => {
    if (!closed) {
      closed = true;
      stop.abort();
      await listener.close();
      await running;
      await replicas[Symbol.asyncDispose]();
      await store?.[Symbol.asyncDispose]();
    }
  };
  t.after(close);
  return {
    ...replicas,
    url: `http://127.0.0.1:${listener.address().port}/svc/${id}`,
    port: listener.address().port,
    dir,
    counters,
    async restart() {
      await close();
      return startHub(t, origin, { ...options, dir });
    },
  };
}

export interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly raw: readonly string[];
  readonly body: Buffer;
  readonly text: string;
  readonly trailers: IncomingMessage['trailers'];
  readonly informed: readonly number[];
  /** ms. */
  readonly took: number;
}

/** One request, by Node's own client, exactly as it is given. */
export function get(
  url: string,
  options: RequestOptions & { readonly payload?: string | Uint8Array } = {},
): Promise<Got> {
  const { payload, ...rest } = options;
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const informed: number[] = [];
    const at = new URL(url);
    const sent = request({
      hostname: at.hostname,
      port: at.port,
      path: url.slice(at.origin.length),
      agent: false,
      ...rest,
    });
    sent.on('error', reject);
    sent.on('information', info => informed.push(info.statusCode));
    sent.on('response', response => {
      const chunks: Buffer[] = [];
      response.on('data', chunk => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(chunks);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          raw: response.rawHeaders,
          body,
          text: body.toString(),
          trailers: response.trailers,
          informed,
          took: performance.now() - began,
        });
      });
    });
    sent.end(payload);
  });
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > end) {
      throw new Error(`not within 20 s: ${what}`);
    }
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
