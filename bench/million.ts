import { cp, mkdtemp, rm, stat } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Daemon, startDaemon } from '../test/e2e/daemon.ts';
import { quantile, rowOf } from './figures.ts';
import { million, seededMillion } from './million-seed.ts';
import type { Row } from './row.ts';

/** Requests of each kind, after some that are not counted. */
const asked = 100;
const warmup = 20;
/** Messages posted while the first sweep runs. */
const posts = 300;

const cache = join(import.meta.dirname, '..', '.cache', 'bench');
const inFull = `${million.messages} messages and as many events as are kept, made once through the verbs of the store`;
const slowestOf = 'the slowest of its kind; with BENCH_VERBOSE=1 all are shown';

/** What a full store costs those who read it: lists, inboxes and streams that are resumed, by HTTP. */
export async function bench(rounds: number): Promise<Row[]> {
  const { dir, took } = seededMillion(cache);
  if (took !== undefined) {
    console.error(`  made a store of ${million.messages} messages in ${took.toFixed(0)} s`);
  }
  const size = (await stat(join(dir, 'gateway.db'))).size / 2 ** 20;
  const started: number[] = [];
  const beside: number[][] = [];
  const each = new Map<string, number[][]>();
  for (let round = 0; round < rounds; round++) {
    const folder = await mkdtemp(join(tmpdir(), 'kos-million-'));
    try {
      const data = join(folder, 'data');
      await cp(dir, data, { recursive: true });
      // Once for its compile cache and its tables, as every later start has them.
      await using _first = await startDaemon({ data, config: { log: 'warn' } });
      await _first.stop();
      await using hub = await startDaemon({ data, config: { log: 'warn' } });
      started.push(hub.startedIn);
      const token = _first.ready.ownerToken ?? '';
      beside.push(await postBesideSweep(hub, token));
      // The sweep goes on for a while.
      await new Promise(resolve => setTimeout(resolve, 3000));
      for (const [name, times] of await measure(hub, dir, token)) {
        each.getOrInsertComputed(name, () => []).push(times);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const kinds = ['list', 'inbox', 'events'] as const;
  const p99 = (times: readonly number[]) => quantile(times, 0.99);
  const verbose = process.env.BENCH_VERBOSE !== undefined;
  const rows = kinds.flatMap(kind => {
    const of = [...each].filter(([name]) => name.startsWith(`${kind}: `));
    const slowest = of.toSorted(([, a], [, b]) => quantile(b.map(p99), 0.5) - quantile(a.map(p99), 0.5))[0];
    const [name = kind, times = []] = slowest ?? [];
    return [
      ...(verbose
        ? of.map(([one, all]) => rowOf(`  ${one}, p50`, 'ms', { ours: all.map(t => quantile(t, 0.5)) }))
        : []),
      rowOf(
        `a million messages, ${name}, p99`,
        'ms',
        { ours: times.map(p99) },
        { bound: { atMost: 10 }, note: slowestOf },
      ),
    ];
  });
  return [
    ...rows,
    rowOf('a million messages, POST beside the sweep, p99', 'ms', { ours: beside.map(p99) }),
    rowOf('a million messages, exec to ready', 'ms', { ours: started }, { note: inFull }),
    { name: 'a million messages, the database', unit: 'MB', ours: size },
  ];
}

/** One message after the other right after the start, when the first sweep goes through everything. */
async function postBesideSweep(hub: Daemon, token: string): Promise<number[]> {
  using asker = new Asker(hub, token);
  const times: number[] = [];
  for (let n = 0; n < posts; n++) {
    const began = performance.now();
    await asker.ask('POST', '/v1/messages', { body: { to: 'app:owner', text: `${n}` } });
    times.push(performance.now() - began);
  }
  return times;
}

async function measure(hub: Daemon, seeded: string, token: string): Promise<Map<string, number[]>> {
  using owner = new Asker(hub, token);
  const draft = { name: million.app(3), scopes: ['messages:read'], rooms: ['hub'] };
  const made = await owner.ask('POST', '/v1/tokens', { body: draft });
  using app = new Asker(hub, (made as { token: string }).token);
  const page = (await owner.ask('GET', '/v1/messages?limit=1')) as { cursor: string };
  const epoch = page.cursor.slice(1, 5);
  const cursor = (kind: string, row: number) => `${kind}${epoch}-${Math.round(row).toString(36)}`;
  const { first, last, inbox } = marksIn(seeded);
  const middle = `&after=${cursor('m', million.messages / 2)}`;
  const peer = (n: number) => `peer=${million.peer(n)}`;
  const lists = {
    newest: '',
    'from the middle on': middle,
    'a type': `&type=chat.message`,
    'a rare type': `&type=${million.rareType}`,
    'a type that nothing is of': '&type=event.nothing',
    'a type that nothing is of, from the middle on': `&type=event.nothing${middle}`,
    'a peer that says much': `&${peer(0)}`,
    'a peer that says little': `&${peer(million.peers - 1)}`,
    'a peer that says nothing': `&peer=lxmf:${'0'.repeat(32)}`,
    'a peer and a type that it never says': `&${peer(0)}&type=sensor.reading`,
  };
  const times = new Map<string, number[]>();
  const take = async (name: string, asker: Asker, path: string) => times.set(name, await repeat(asker, path));
  for (const [name, query] of Object.entries(lists)) {
    await take(`list: ${name}`, owner, `/v1/messages?limit=50${query}`);
    await take(`list: ${name}, seen by an app`, app, `/v1/messages?limit=50${query}`);
  }
  await take('list: the room of readings', owner, '/v1/messages?limit=50&room=sensors');
  await take('list: a room and a type', owner, '/v1/messages?limit=50&room=sensors&type=chat.message');
  await take('list: conversations', owner, '/v1/conversations');
  await take('list: conversations, seen by an app', app, '/v1/conversations');
  await take('list: deliveries that wait', owner, '/v1/deliveries');
  await take('list: deliveries that failed', owner, '/v1/deliveries?state=failed');
  await take('inbox: what is unread', app, '/v1/inbox?limit=50');
  await take('inbox: from a place on', app, `/v1/inbox?limit=200&after=${cursor('i', inbox)}`);
  const places = { 'the oldest': first, 'the middle': (first + last) / 2, 'near the end': last - 500 };
  for (const [name, row] of Object.entries(places)) {
    const path = `/v1/events?after=${cursor('e', row)}`;
    times.set(`events: from ${name} on`, await repeatStream(hub, token, path));
    times.set(`events: from ${name} on, seen by an app`, await repeatStream(hub, app.token, path));
  }
  return times;
}

/** Places in the store as it was made: what was posted since is not for the app that looks. */
function marksIn(data: string): { first: number; last: number; inbox: number } {
  using database = new DatabaseSync(join(data, 'gateway.db'), { readOnly: true });
  const { first, last } = database
    .prepare('SELECT min(seq) AS first, max(seq) AS last FROM events')
    .get() as {
    first: number;
    last: number;
  };
  const { inbox } = database
    .prepare("SELECT max(seq) AS inbox FROM deliveries WHERE recipient = ? AND state = 'delivered'")
    .get(`app:${million.app(3)}`) as { inbox: number };
  return { first, last, inbox };
}

async function repeat(asker: Asker, path: string): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < asked + warmup; n++) {
    const began = performance.now();
    await asker.ask('GET', path);
    times.push(performance.now() - began);
  }
  return times.slice(warmup);
}

/** ms until a stream that is resumed brings its first event. */
async function repeatStream(hub: Daemon, token: string, path: string): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < asked + warmup; n++) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const began = performance.now();
    const call = request(
      new URL(path, hub.ready.http),
      { headers: { authorization: `Bearer ${token}` } },
      answer => {
        answer.setEncoding('utf8').on('data', (text: string) => {
          if (text.includes('data: ')) {
            resolve();
          }
        });
        answer.on('error', reject);
      },
    );
    call.on('error', reject);
    call.end();
    await promise;
    times.push(performance.now() - began);
    call.destroy();
  }
  return times.slice(warmup);
}

/** One connection that stays open. */
class Asker implements Disposable {
  readonly token: string;
  readonly #base: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(hub: Daemon, token: string) {
    this.#base = hub.ready.http;
    this.token = token;
  }

  ask(method: string, path: string, { body }: { readonly body?: unknown } = {}): Promise<unknown> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const headers = {
      authorization: `Bearer ${this.token}`,
      ...(text !== undefined && {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      }),
    };
    const call = request(new URL(path, this.#base), { method, agent: this.#agent, headers }, answer => {
      let got = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        got += part;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if ((answer.statusCode ?? 500) >= 300) {
          reject(new Error(`${method} ${path} answered ${answer.statusCode}: ${got}`));
        } else {
          resolve(JSON.parse(got));
        }
      });
    });
    call.on('error', reject);
    call.end(text);
    return promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
