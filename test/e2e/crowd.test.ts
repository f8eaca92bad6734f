import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { after, before, describe, it, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { wsLimits } from '../../src/bridges/ws/limits.ts';
import { eventually, mint } from './clients.ts';
import { callHttp, type Daemon, startDaemon } from './daemon.ts';

/*
 * A hub with a crowd at its windows. Some of the crowd do not read and some are gone without a word: the others see
 * every message, in order, and the hub's memory is bounded.
 */

const mebibyte = 1024 * 1024;
/** Clients of a crowd: each has at most 32 windows. */
const users = { ws: 40, sse: 10, poll: 10 } as const;
type Topic = keyof typeof users;
const messages = 24;
/** What is said to all. */
const text = 'x'.repeat(16 * 1024);
/** What is said to the slow ones besides: more than the kernel's buffers hold for a connection on which nobody reads. */
const long = 'y'.repeat(64 * 1024);
const longs = 104;

/** Characters that a stream or a socket has read ahead of its client. */
const ahead = 256 * 1024;
/**
 * What the limits let a crowd hold in the hub at most: of a socket what is written and not taken, with the event that went over
 * the bound; of whoever lags what it has read ahead; and what a hub uses for a thousand connections.
 */
const bound = 1000 * (wsLimits.slack + text.length) + 240 * (ahead + long.length) + 64 * mebibyte;

interface Socket {
  readonly socket: WebSocket;
  /** Titles, in their order. */
  readonly seen: string[];
  cursor: string | undefined;
  closed: number | undefined;
}

interface Stream {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  readonly seen: string[];
  isOver: boolean;
}

// At once: who is too slow is borne with for half a minute, the same for all.
describe('a crowd of clients, some slow and some dead', { concurrency: true }, () => {
  let daemon: Daemon;
  let idle = 0;
  const tokens = new Map<string, string>();
  const topics = Object.keys(users) as Topic[];

  before(async () => {
    const rooms = topics.map(topic => {
      const names = Array.from({ length: users[topic] }, (_, n) => `${topic}-${n}`);
      return [
        `square-${topic}`,
        { members: [...names, `slow-${topic}`].map(name => `app:${name}`) },
      ] as const;
    });
    daemon = await startDaemon({ config: { rooms: Object.fromEntries(rooms) } });
    for (const topic of topics) {
      for (let n = 0; n < users[topic]; n++) {
        tokens.set(`${topic}-${n}`, await mint(daemon, `${topic}-${n}`));
      }
      tokens.set(`slow-${topic}`, await mint(daemon, `slow-${topic}`));
    }
    idle = await peak();
  });
  after(() => daemon[Symbol.asyncDispose]());

  /** The most memory that the hub ever had. */
  const peak = async () => {
    const status = await readFile(`/proc/${daemon.process.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };
  const isBounded = async (test: TestContext) => {
    const grown = (await peak()) - idle;
    const figures = `${Math.round(grown / mebibyte)} of ${Math.round(bound / mebibyte)} MiB`;
    test.diagnostic(figures);
    assert.ok(grown < bound, figures);
  };

  const counted = async (name: string) => {
    const { body } = await daemon.call<{ counters: Record<string, number> }>('GET', '/v1/status');
    return body.counters[name] ?? 0;
  };

  async function say(to: string, title: string, text: string): Promise<void> {
    const { status } = await daemon.call('POST', '/v1/messages', { body: { to, title, text } });
    assert.equal(status, 201);
  }

  /** Says `messages` things in the square of a topic; their numbers are in their titles. */
  async function talk(topic: string, half = async () => {}): Promise<void> {
    for (let n = 0; n < messages; n++) {
      if (n === messages / 2) {
        await half();
      }
      await say(`room:square-${topic}`, `${topic} ${n}`, text);
    }
  }

  /** Says to the slow client of a topic what fills its connections. */
  async function fill(topic: string): Promise<void> {
    for (let n = 0; n < longs; n++) {
      await say(`app:slow-${topic}`, `long ${n}`, long);
    }
  }

  const all = (topic: string) => Array.from({ length: messages }, (_, n) => `${topic} ${n}`);
  const allLong = Array.from({ length: longs }, (_, n) => `long ${n}`);

  async function dial(name: string, from?: string): Promise<Socket> {
    const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
      headers: { authorization: `Bearer ${tokens.get(name)}` },
    });
    const one: Socket = { socket, seen: [], cursor: from, closed: undefined };
    const { promise: subscribed, resolve, reject } = Promise.withResolvers<void>();
    socket
      .on('error', () => {})
      .on('close', code => {
        one.closed = code;
        reject(new Error(`closed with ${code} before it was subscribed`));
      })
      .on('message', data => {
        const frame = JSON.parse(String(data)) as {
          op: string;
          kind?: string;
          cursor?: string;
          message?: { title?: string };
        };
        if (frame.op === 'subscribed') {
          resolve();
        }
        if (frame.op === 'hello' || frame.op === 'event') {
          one.cursor = frame.cursor;
        }
        if (frame.op === 'event' && frame.kind === 'message.accepted') {
          one.seen.push(frame.message?.title ?? '');
        }
      });
    socket.on('open', () => {
      socket.send(JSON.stringify({ op: 'hello', ...(from && { after: from }) }));
      socket.send(JSON.stringify({ op: 'subscribe', id: 'all', filter: { kinds: ['message.accepted'] } }));
    });
    await subscribed;
    return one;
  }

  async function listen(name: string): Promise<Stream> {
    const request = get(new URL('/v1/events', daemon.ready.http), {
      agent: false,
      headers: { authorization: `Bearer ${tokens.get(name)}`, accept: 'text/event-stream' },
    });
    request.on('error', () => {});
    const response = await new Promise<IncomingMessage>((resolve, reject) =>
      request.on('response', resolve).on('error', reject),
    );
    assert.equal(response.statusCode, 200);
    const stream: Stream = { request, response, seen: [], isOver: false };
    let text = '';
    response
      .on('error', () => {})
      .on('close', () => {
        stream.isOver = true;
      })
      .setEncoding('utf8')
      .on('data', (chunk: string) => {
        text += chunk;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const title = /"title":"([^"]*)"/.exec(text.slice(0, end))?.[1];
          if (/^event: message\.accepted$/m.test(text.slice(0, end)) && title !== undefined) {
            stream.seen.push(title);
          }
          text = text.slice(end + 2);
        }
      });
    return stream;
  }

  /** So many, a few at a time: who has opened a connection and said nothing on it gives way to others. */
  async function many<T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> {
    const made: T[] = [];
    while (made.length < count) {
      const some = Array.from({ length: Math.min(50, count - made.length) }, (_, n) => make(made.length + n));
      made.push(...(await Promise.all(some)));
    }
    return made;
  }

  it('shows 975 of 1,000 WebSockets every message in order, and closes the slow ones, who lose nothing by it', {
    timeout: 300_000,
  }, async test => {
    const sockets = await many(980, n => dial(`ws-${n % users.ws}`));
    const [dead, honest] = [sockets.slice(0, 5), sockets.slice(5)];
    for (const { socket } of dead.slice(2)) {
      socket.pause();
    }
    dead[0]?.socket.terminate();
    let slow: Socket[] = [];
    await talk('ws', async () => {
      // Only now: who reads nothing answers no ping either, and would be taken for dead after two of them.
      slow = await many(20, async () => {
        const one = await dial('slow-ws');
        one.socket.pause();
        return one;
      });
      await fill('ws');
      dead[1]?.socket.terminate();
      dead[2]?.socket.terminate();
    });
    await eventually(
      'everybody has seen all',
      () => honest.every(one => one.seen.length >= messages),
      120_000,
    );
    for (const { seen } of honest) {
      assert.deepEqual(seen, all('ws'));
    }
    await eventually(
      'the slow ones are given up',
      async () => (await counted('ws/slow-closed')) >= 20,
      120_000,
    );
    // They read what was on its way to them, and why it ends there.
    for (const { socket } of slow) {
      socket.resume();
    }
    await eventually('they know it', () => slow.every(one => one.closed !== undefined), 60_000);
    const expected = [...all('ws').slice(0, messages / 2), ...allLong, ...all('ws').slice(messages / 2)];
    const again = await Promise.all(
      slow.map(async ({ seen, closed, cursor }) => {
        assert.equal(closed, 4008);
        assert.ok(seen.length < expected.length);
        return { seen, next: await dial('slow-ws', cursor) };
      }),
    );
    await eventually(
      'they have caught up',
      () => again.every(({ seen, next }) => seen.length + next.seen.length >= expected.length),
      120_000,
    );
    for (const { seen, next } of again) {
      assert.deepEqual([...seen, ...next.seen], expected);
    }
    await isBounded(test);
    for (const { socket } of [...sockets, ...again.map(({ next }) => next)]) {
      socket.terminate();
    }
  });

  it('shows 175 of 200 event streams every message in order, and ends the slow ones', {
    timeout: 300_000,
  }, async test => {
    const streams = await many(180, n => listen(`sse-${n % users.sse}`));
    const slow = await many(20, () => listen('slow-sse'));
    const [dead, honest] = [streams.slice(0, 5), streams.slice(5)];
    for (const { response } of [...slow, ...dead.slice(2)]) {
      response.pause();
    }
    dead[0]?.request.destroy();
    await talk('sse', async () => {
      await fill('sse');
      dead[1]?.request.destroy();
      dead[2]?.request.destroy();
    });
    await eventually(
      'everybody has seen all',
      () => honest.every(one => one.seen.length >= messages),
      120_000,
    );
    for (const { seen } of honest) {
      assert.deepEqual(seen, all('sse'));
    }
    await eventually(
      'the slow ones are given up',
      async () => (await counted('http/slow-closed')) >= 20,
      120_000,
    );
    for (const { response } of slow) {
      response.resume();
    }
    await eventually('they know it', () => slow.every(({ isOver }) => isOver), 60_000);
    for (const { seen } of slow) {
      const expected = [...all('sse').slice(0, messages / 2), ...allLong];
      assert.deepEqual(seen, expected.slice(0, seen.length), 'what came is in order');
      assert.ok(seen.length < expected.length);
    }
    await isBounded(test);
    for (const { request } of streams) {
      request.destroy();
    }
  });

  it('answers 195 of 200 long polls, each with what its client has not acknowledged', {
    timeout: 300_000,
  }, async test => {
    const dead = new AbortController();
    for (let n = 0; n < 5; n++) {
      const url = new URL('/v1/inbox?wait=60&limit=50', daemon.ready.http);
      fetch(url, {
        headers: { authorization: `Bearer ${tokens.get(`poll-${n}`)}` },
        signal: dead.signal,
      }).catch(() => {});
    }
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const begun = Array.from({ length: 195 }, () => Promise.withResolvers<void>());
    const polls = Array.from({ length: 195 }, async (_, n) => {
      const titles: string[] = [];
      // Windows of one client share what it has acknowledged; each here keeps its own cursor.
      let cursor: string | undefined;
      const token = tokens.get(`poll-${n % users.poll}`);
      const poll = async (wait: number) => {
        const query = new URLSearchParams({
          wait: String(wait),
          limit: '50',
          ...(cursor && { after: cursor }),
        });
        const { status, body } = await callHttp<{
          items: { message: { title?: string } }[];
          cursor: string;
        }>(daemon.ready.http, 'GET', `/v1/inbox?${query}`, { token });
        assert.equal(status, 200, JSON.stringify(body));
        titles.push(...body.items.map(({ message }) => message.title ?? ''));
        cursor = body.cursor;
        return body.items.length;
      };
      // Whoever has no cursor yet begins behind what another window has acknowledged meanwhile.
      while ((await poll(0)) > 0) {}
      begun[n]?.resolve();
      if (n < 20) {
        // Slow: it comes again when all has been said.
        await over;
      }
      while (!titles.includes(`poll ${messages - 1}`)) {
        await poll(20);
      }
      return titles.filter(title => title.startsWith('poll '));
    });
    await Promise.all(begun.map(({ promise }) => promise));
    const said = talk('poll');
    dead.abort();
    await said;
    end();
    for (const titles of await Promise.all(polls)) {
      assert.deepEqual(titles, all('poll'));
    }
    await isBounded(test);
  });
});
