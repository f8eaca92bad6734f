import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { documentPath } from '../../../tools/openapi.ts';
import { openReceiver, type Receiver } from '../../bridges/webhook/receiver.ts';
import { seededRandom } from '../../sim/random.ts';
import { type Answer, callHttp, type Daemon, startDaemon } from '../daemon.ts';
import { createOracle, shown } from './oracle.ts';

/*
 * A hub, three clients whose rights change, and a model beside them that says who may see what. What changes rights waits
 * until nothing else is under way, so that the model always knows what an answer has to be.
 */

export const names = ['ann', 'ben', 'cat'] as const;
export type User = (typeof names)[number];

export const scopesOf = {
  reader: ['messages:read', 'peers:read'],
  sender: ['messages:send'],
  member: ['messages:read', 'messages:send', 'peers:read'],
  operator: ['messages:read', 'messages:send', 'peers:read', 'rooms:write', 'mesh:read', 'mqtt', 'metrics'],
} as const;
export type Role = keyof typeof scopesOf;

/** What the model knows of a message. */
export interface Said {
  readonly id: string;
  readonly from: User | 'owner';
  readonly to: string;
  readonly delivery: string | undefined;
  /** Who was in the room, or was written to. */
  readonly got: ReadonlySet<User>;
}

/** Who a thing is of that others must not even see. */
export interface Owned {
  readonly id: string;
  readonly by: User;
}

/** A WebSocket and all that came over it. */
export interface Window {
  readonly user: User;
  readonly scopes: readonly string[];
  readonly frames: Record<string, unknown>[];
  readonly socket: WebSocket;
  isClosed: boolean;
}

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly shape: RegExp;
  /** Scopes of which one is needed; none where it is for everybody. */
  readonly scopes: readonly string[];
}

export interface CallOptions {
  readonly body?: unknown;
  readonly token?: string;
  readonly headers?: Record<string, string>;
  readonly raw?: Uint8Array;
}

export type World = Awaited<ReturnType<typeof openWorld>>;

/** Every operation of the document, to tell which one a call was. */
function operationsOf(): Operation[] {
  const { paths } = JSON.parse(readFileSync(documentPath, 'utf8')) as {
    paths: Record<string, Record<string, { operationId: string; description?: string }>>;
  };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, description = '' }]) => ({
      id: operationId,
      method: method.toUpperCase(),
      path,
      shape: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
      scopes: /^Needs the scope (.*)\.$/.exec(description)?.[1]?.split(' or ') ?? [],
    })),
  );
}

/** Opens the hub and the three clients; `front` may put something between the two. */
export async function openWorld(
  seed: number,
  front: (daemon: Daemon, tokens: Readonly<Record<User, string>>) => Daemon | Promise<Daemon> = daemon =>
    daemon,
) {
  const stack = new AsyncDisposableStack();
  const random = seededRandom(seed);
  const receiver: Receiver = stack.use(await openReceiver());
  const started = stack.use(
    await startDaemon({
      config: {
        log: 'trace',
        rooms: { plaza: { members: [] } },
        interfaces: [{ name: 'server', kind: 'tcp-server', port: 0 }],
        bridges: {
          webhook: { allowPrivate: ['127.0.0.1'] },
          http: { legacySend: true, sms: {}, ntfy: {}, rates: { requests: null, sends: null } },
        },
      },
    }),
  );
  const log: string[] = [];
  started.process.stderr?.on('data', chunk => log.push(String(chunk)));

  const operations = operationsOf();
  const exercised = new Set<string>();
  const roles: Record<User, Role> = { ann: 'member', ben: 'sender', cat: 'operator' };
  const tokens = {} as Record<User, string>;
  const daemon = await front(started, tokens);
  const secrets = new Set<string>([started.ready.ownerToken ?? 'none']);
  /** Rooms and who is in them; the plaza's members never change, because tokens say so. */
  const rooms = new Map<string, Set<User>>([['plaza', new Set<User>(['ann', 'ben'])]]);

  const byId = new Map<string, Said>();
  const said: Said[] = [];
  const windows: Window[] = [];
  let markers = 0;

  const holds = (user: User, scope: string) => (scopesOf[roles[user]] as readonly string[]).includes(scope);
  const inRoom = (user: User, to: string) =>
    to.startsWith('room:') && rooms.get(to.slice(5))?.has(user) === true;
  /** Whether a user who may read may see the message now. */
  const maySee = (user: User, { from, to, got }: Said) =>
    from === user || (holds(user, 'messages:read') && (got.has(user) || inRoom(user, to)));

  const oracle = createOracle({ maySee, tokens });
  const keys = new Map<User, number>();

  async function ask<T>(method: string, path: string, options: CallOptions = {}): Promise<Answer<T>> {
    const by = names.find(name => tokens[name] === options.token) ?? 'owner';
    oracle.wrote(by, JSON.stringify(options.body ?? ''));
    const token = options.token ?? daemon.ready.ownerToken;
    const answer = await callHttp<T>(daemon.ready.http, method, path, { ...options, token });
    if (answer.status < 400) {
      const bare = path.split('?', 1)[0] ?? '';
      for (const one of operations) {
        if (one.method === method && one.shape.test(bare)) {
          exercised.add(one.id);
        }
      }
    }
    assert.ok(answer.status !== 500, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    // What is in a file may be read by those who may see what carries it: its reader looks at that.
    if (by !== 'owner' && !path.startsWith('/v1/blobs/')) {
      oracle.hears(by, JSON.stringify(answer.body ?? ''), `${method} ${path}`, 'answer');
    }
    return answer;
  }

  let shared = 0;
  let wanted = 0;
  let turn = Promise.resolve();
  let wake = () => {};
  /** What happens beside others. */
  async function beside<T>(act: () => Promise<T>): Promise<T> {
    while (wanted > 0) {
      await turn;
    }
    shared += 1;
    try {
      return await act();
    } finally {
      shared -= 1;
      wake();
    }
  }
  /** What happens alone, because it changes what others may do. */
  async function alone(act: () => Promise<void>): Promise<void> {
    wanted += 1;
    const before = turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    turn = promise;
    await before;
    try {
      while (shared > 0) {
        await new Promise<void>(done => {
          wake = done;
        });
      }
      oracle.judge();
      await act();
    } finally {
      wanted -= 1;
      resolve();
    }
  }

  const world = {
    /** Of events, the first of them before anything was said. */
    cursors: [] as string[],
    daemon,
    receiver,
    random,
    oracle,
    operations,
    exercised,
    roles,
    tokens,
    secrets,
    rooms,
    byId,
    said,
    windows,
    blobs: [] as { readonly sha256: string; readonly by: User }[],
    /** Messages that carry a blob: whoever sees one of them may read it. */
    carriers: new Map<string, Said[]>(),
    uploads: [] as (Owned & { gone?: true })[],
    webhooks: [] as (Owned & { secret: string; gone?: true })[],
    log: () => log.join(''),
    beside,
    alone,
    holds,
    inRoom,
    maySee,
    pick: <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)] as T,
    /** Words that are found again wherever they do not belong. */
    words: (about: string) =>
      `${about} marker-${(markers++).toString(16).padStart(4, '0')}${random.bytes(6).toHex()}`,
    /** A key of idempotency that this user has not used; the others use the same. */
    key(user: User): string {
      const n = (keys.get(user) ?? 0) + 1;
      keys.set(user, n);
      return `key-${n}`;
    },
    owner: ask,
    call: <T = Record<string, unknown>>(
      user: User,
      method: string,
      path: string,
      options: CallOptions = {},
    ) => ask<T>(method, path, { ...options, token: tokens[user] }),
    /**
     * Notes a message that was sent with these words, about another perhaps; the hub may have said whose it is. A room's message goes to who is in it, those whom tokens put
     * there only while they may read, and to whoever is answered; what changes one's own goes to those that had it.
     */
    note(
      { id, from: sender }: { readonly id: string; readonly from?: string },
      writer: User | 'owner',
      to: string,
      sent: string,
      delivery?: string,
      about?: { of: Said; isChange: boolean },
    ): Said {
      const from = (sender?.slice(4) as User | undefined) ?? writer;
      const room = to.startsWith('room:') ? to.slice(5) : undefined;
      const got = new Set<User>(
        names.filter(name =>
          room === undefined
            ? to === `app:${name}`
            : rooms.get(room)?.has(name) === true && (room !== 'plaza' || holds(name, 'messages:read')),
        ),
      );
      if (room !== undefined && about?.isChange && about.of.from === from && about.of.to === to) {
        got.clear();
        for (const name of about.of.got) {
          got.add(name);
        }
      } else if (room !== undefined && about?.of.to === to && about.of.from !== 'owner') {
        got.add(about.of.from);
      }
      const one: Said = { id, from, to, delivery, got };
      const known = byId.get(id);
      byId.set(id, one);
      said.push(one);
      oracle.carries(one, sent);
      assert.equal(from, writer, `what ${writer} sent is of ${from}: ${shown(one)}`);
      assert.ok(known === undefined, `${writer} was given the message of another: ${shown(known)}`);
      return one;
    },
    isOwnBusiness(user: User, id: string, where: string): void {
      const message = byId.get(id);
      assert.ok(
        message === undefined || maySee(user, message),
        `${user} saw ${id} in ${where}: ${shown(message)}`,
      );
    },
    /** A status, or a refusal for want of a scope. */
    expect(
      user: User,
      scope: string,
      status: number,
      expected: number | readonly number[],
      what: string,
    ): void {
      const wanted = holds(user, scope) ? expected : 403;
      assert.ok(
        [wanted].flat().includes(status),
        `${user} (${roles[user]}) ${what}: ${status}, not ${wanted}`,
      );
    },
    async open(user: User): Promise<Window> {
      const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
        headers: { authorization: `Bearer ${tokens[user]}` },
      });
      const window: Window = { user, scopes: scopesOf[roles[user]], frames: [], socket, isClosed: false };
      socket.on('message', data => window.frames.push(JSON.parse(String(data))));
      socket
        .on('error', () => {})
        .on('close', () => {
          window.isClosed = true;
        });
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
      socket.send(JSON.stringify({ op: 'hello' }));
      windows.push(window);
      return window;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };

  for (const name of names) {
    const { status, body } = await ask<{ token: string }>('POST', '/v1/tokens', {
      body: { name, role: roles[name], rooms: rooms.get('plaza')?.has(name) ? ['plaza'] : [] },
    });
    assert.equal(status, 201, JSON.stringify(body));
    tokens[name] = body.token;
    secrets.add(body.token);
  }
  const abort = new AbortController();
  const stream = await fetch(`${daemon.ready.http}/v1/events`, {
    headers: { authorization: `Bearer ${tokens.ann}` },
    signal: abort.signal,
  });
  const begin = await stream.body?.pipeThrough(new TextDecoderStream()).getReader().read();
  abort.abort();
  world.cursors.push(/^id: (.*)$/m.exec(begin?.value ?? '')?.[1] ?? assert.fail('no cursor'));
  return world;
}

/** The events that a stream begins with: what comes until it is silent for a moment. */
export async function readEvents(response: Response): Promise<Record<string, unknown>[]> {
  let text = '';
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  while (text.length < 1_000_000) {
    const part = await Promise.race([reader.read(), sleep(100)]);
    if (part === undefined || part.done) {
      break;
    }
    text += part.value;
  }
  reader.cancel().catch(() => {});
  const whole = text.slice(0, text.lastIndexOf('\n\n') + 1);
  return [...whole.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data as string));
}
