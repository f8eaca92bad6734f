import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, startDaemon } from '../test/e2e/daemon.ts';
import { median, rowOf } from './figures.ts';
import type { Row } from './row.ts';

/** ms each figure is measured for, connections that ask at once, and bytes of the answer. */
const span = 1500;
const connections = 16;
const size = 2048;

const beside = 'the reference is nginx with proxy_cache, one worker, use_stale, in front of the same origin';

/** Answers from a replica, fresh and with the origin gone, beside nginx; and how long a silent origin is waited for. */
export async function bench(rounds: number): Promise<readonly Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const origin = await startOrigin();
  stack.defer(() => origin.stop());
  const hub = stack.use(await startHub(dir, origin.port));
  const nginx = await startNginx(dir, origin.port);
  if (nginx === undefined) {
    console.error('  nginx is missing, nothing to compare with: apt-get install nginx-light');
  } else {
    stack.defer(() => nginx.stop());
  }
  const ours = (name: string) => new URL(`${hub.ready.replicas}/bench/${name}`);
  const theirs = nginx && ((name: string) => new URL(`http://127.0.0.1:${nginx.port}/v1/${name}`));
  const pair = async (name: string, measure: (url: URL) => Promise<number>) => {
    const figures = { ours: [] as number[], reference: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      if (theirs !== undefined) {
        figures.reference.push(await measure(theirs(name)));
      }
      figures.ours.push(await measure(ours(name)));
    }
    return figures;
  };
  for (const name of ['fresh', 'stale']) {
    await ask(ours(name));
    if (theirs !== undefined) {
      await ask(theirs(name));
    }
  }
  const rows = [
    rowOf('replica, fresh hit: one at a time', 'ms', await pair('fresh', latency), { note: beside }),
    rowOf(`replica, fresh hit: ${connections} connections`, 'req/s', await pair('fresh', rate), {
      note: beside,
    }),
  ];
  await sleep(1500);
  origin.handle((_request, _response) => undefined);
  const began = performance.now();
  await ask(ours('stale'));
  const first = performance.now() - began;
  rows.push(
    rowOf('replica, silent origin: first older answer', 'ms', { ours: [first] }, { bound: { atMost: 3000 } }),
    rowOf(
      'replica, silent origin: the next ones',
      'ms',
      { ours: [await latency(ours('stale'))] },
      { bound: { atMost: 50 } },
    ),
  );
  await origin.stop();
  await ask(ours('stale'));
  rows.push(
    rowOf('replica, stale hit: one at a time', 'ms', await pair('stale', latency), { note: beside }),
    rowOf(`replica, stale hit: ${connections} connections`, 'req/s', await pair('stale', rate), {
      note: beside,
    }),
  );
  return rows;
}

async function startHub(dir: string, port: number): Promise<Daemon> {
  const file = join(dir, 'bench.replica.yaml');
  await writeFile(
    file,
    `version: 1\nid: bench\nupstream: { url: "http://127.0.0.1:${port}/v1", allowPrivate: true }\nidentity: { partition: [authorization] }\n`,
  );
  return startDaemon({ config: { log: 'warn', replicas: file } });
}

/** A service with an answer that is fresh for a day and one that is for a second. */
async function startOrigin() {
  const body = 'x'.repeat(size);
  let handle: RequestListener = (request, response) => {
    const life = request.url?.endsWith('/stale') === true ? 1 : 86_400;
    response
      .writeHead(200, { 'Cache-Control': `max-age=${life}`, ETag: '"1"', 'Content-Length': size })
      .end(body);
  };
  const server = createServer((request, response) => handle(request, response));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    handle(next: RequestListener) {
      handle = next;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise<void>(resolve => server.close(() => resolve()));
    },
  };
}

async function startNginx(dir: string, origin: number) {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  const port = await freePort();
  const home = join(dir, 'nginx');
  await mkdir(join(home, 'cache'), { recursive: true });
  const file = join(home, 'nginx.conf');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  await writeFile(
    file,
    `${user} worker_processes 1; daemon off; pid ${home}/pid; error_log ${home}/error.log;
     events { worker_connections 256; }
     http {
       access_log off; keepalive_requests 10000000;
       client_body_temp_path ${home}/body; proxy_temp_path ${home}/proxy; fastcgi_temp_path ${home}/fastcgi;
       uwsgi_temp_path ${home}/uwsgi; scgi_temp_path ${home}/scgi;
       proxy_cache_path ${home}/cache keys_zone=c:10m inactive=1d;
       server {
         listen 127.0.0.1:${port};
         location / {
           proxy_pass http://127.0.0.1:${origin}; proxy_cache c; proxy_cache_key $uri$http_authorization;
           proxy_cache_use_stale error timeout updating; proxy_cache_revalidate on;
           proxy_connect_timeout 2s; proxy_read_timeout 2s;
         }
       }
     }`,
  );
  const nginx = spawn('nginx', ['-p', home, '-c', file], { stdio: 'inherit' });
  for (let tries = 0; tries < 200; tries++) {
    const up = await new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (up) {
      break;
    }
    await sleep(25);
  }
  return {
    port,
    async stop() {
      nginx.kill('SIGTERM');
      await once(nginx, 'exit');
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>(resolve => server.close(() => resolve()));
  return port;
}

/** Median ms of one request after the other on one connection. */
async function latency(url: URL): Promise<number> {
  using client = new Client(url);
  const each: number[] = [];
  for (const until = performance.now() + span; performance.now() < until; ) {
    const at = performance.now();
    await client.ask();
    each.push(performance.now() - at);
  }
  return median(each);
}

/** Requests in a second over several connections. */
async function rate(url: URL): Promise<number> {
  let count = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      using client = new Client(url);
      while (performance.now() - began < span) {
        await client.ask();
        count += 1;
      }
    }),
  );
  return count / ((performance.now() - began) / 1000);
}

async function ask(url: URL): Promise<void> {
  using client = new Client(url);
  await client.ask();
}

/** As little of a client as can be, so that the servers are what is measured. */
class Client implements Disposable {
  readonly #socket: Socket;
  readonly #request: string;
  #got = '';
  #done: (() => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  constructor(url: URL) {
    this.#request = `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`;
    this.#socket = connect(Number(url.port), url.hostname);
    this.#socket.setNoDelay(true);
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => {
      this.#got += text;
      const head = this.#got.indexOf('\r\n\r\n');
      const length = head < 0 ? 0 : Number(/content-length: (\d+)/i.exec(this.#got.slice(0, head))?.[1] ?? 0);
      if (head >= 0 && this.#got.length >= head + 4 + length) {
        if (!this.#got.startsWith('HTTP/1.1 200')) {
          this.#failed?.(new Error(`answered ${this.#got.slice(0, 40)}`));
        }
        this.#got = '';
        this.#done?.();
      }
    });
    this.#socket.on('close', () => this.#failed?.(new Error('the connection was closed')));
    this.#socket.on('error', error => this.#failed?.(error));
  }

  ask(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
      this.#socket.write(this.#request);
    });
  }

  [Symbol.dispose](): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }
}
