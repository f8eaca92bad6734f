import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { eventually, mint } from './clients.ts';
import { callHttp, type Daemon, startDaemon } from './daemon.ts';

/*
 * A hub with a crowd at its windows. Some of the crowd do not read and some are gone without a word: the others see
 * every message, in order, and the hub's memory is bounded.
 */

const mebibyte = 1024 * 1024;
const users = 40;
const messages = 24;
/** Long enough that whoever does not read is noticed: a full socket holds some MiB. */
const text = 'x'.repeat(16 * 1024);

describe('a crowd of clients, some slow and some dead', () => {
  let daemon: Daemon;
  const tokens: string[] = [];

  before(async () => {
    daemon = await startDaemon({
      config: { rooms: { square: { members: Array.from({ length: users }, (_, n) => `app:user-${n}`) } } },
    });
    for (let n = 0; n < users; n++) {
      tokens.push(await mint(daemon, `user-${n}`));
    }
  });
  after(() => daemon[Symbol.asyncDispose]());

  const memory = async () => {
    const status = await readFile(`/proc/${daemon.process.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };

  /** Says `messages` things in the square; their numbers are in their titles. */
  async function talk(topic: string): Promise<void> {
    for (let n = 0; n < messages; n++) {
      const { status } = await daemon.call('POST', '/v1/messages', {
        body: { to: 'room:square', title: `${topic} ${n}`, text },
      });
      assert.equal(status, 201);
    }
  }

  const all = (topic: string) => Array.from({ length: messages }, (_, n) => `${topic} ${n}`);

  it('shows 975 of 1,000 WebSockets every message in order', { timeout: 240_000 }, async () => {
    const before = await memory();
    const sockets = await Promise.all(
      Array.from({ length: 1000 }, async (_, n) => {
        const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
          headers: { authorization: `Bearer ${tokens[n % users]}` },
        });
        const seen: string[] = [];
        let closed: number | undefined;
        socket
          .on('error', () => {})
          .on('close', code => {
            closed = code;
          });
        let subscribed = false;
        socket.on('message', data => {
          const frame = JSON.parse(String(data)) as {
            op: string;
            kind?: string;
            message?: { title?: string };
          };
          subscribed ||= frame.op === 'hello';
          if (frame.op === 'event' && frame.kind === 'message.accepted') {
            seen.push(frame.message?.title ?? '');
          }
        });
        await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
        socket.send(JSON.stringify({ op: 'hello' }));
        socket.send(JSON.stringify({ op: 'subscribe', id: 'all', filter: { kinds: ['message.accepted'] } }));
        return { socket, seen, isSubscribed: () => subscribed, closed: () => closed };
      }),
    );
    await eventually('all are greeted', () => sockets.every(one => one.isSubscribed()), 60_000);
    const slow = sockets.slice(0, 20);
    const dead = sockets.slice(20, 25);
    const honest = sockets.slice(25);
    for (const { socket } of [...slow, ...dead]) {
      socket.pause();
    }
    await talk('ws');
    await eventually(
      'everybody has seen all',
      () => honest.every(one => one.seen.length >= messages),
      120_000,
    );
    for (const { seen } of honest) {
      assert.deepEqual(seen, all('ws'));
    }
    for (const { socket } of dead) {
      socket.terminate();
    }
    // A slow one that reads again has lost nothing, or is told that it was too slow and resumes by its cursor.
    for (const { socket } of slow) {
      socket.resume();
    }
    await eventually(
      'the slow ones have come to an end',
      () => slow.every(one => one.seen.length === messages || one.closed() !== undefined),
      60_000,
    );
    for (const { seen, closed } of slow) {
      assert.deepEqual(seen, all('ws').slice(0, seen.length));
      assert.ok(seen.length === messages || closed() === 4008, `closed with ${closed()}`);
    }
    const grown = (await memory()) - before;
    assert.ok(grown < 256 * mebibyte, `${Math.round(grown / mebibyte)} MiB for 1,000 sockets`);
    for (const { socket } of sockets) {
      socket.terminate();
    }
    await eventually('they are forgotten', async () => (await daemon.call('GET', '/healthz')).status === 200);
  });

  it('shows 175 of 200 event streams every message in order', { timeout: 240_000 }, async () => {
    const before = await memory();
    const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
    const streams = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const seen: string[] = [];
        const request = get(new URL('/v1/events', daemon.ready.http), {
          agent,
          headers: { authorization: `Bearer ${tokens[n % users]}`, accept: 'text/event-stream' },
        });
        request.on('error', () => {});
        const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) =>
          request.on('response', resolve).on('error', reject),
        );
        assert.equal(response.statusCode, 200);
        response.on('error', () => {});
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
            const title = /"title":"([^"]*)"/.exec(text.slice(0, end))?.[1];
            if (/^event: message\.accepted$/m.test(text.slice(0, end)) && title !== undefined) {
              seen.push(title);
            }
            text = text.slice(end + 2);
          }
        });
        return { request, response, seen };
      }),
    );
    const [slow, dead, honest] = [streams.slice(0, 20), streams.slice(20, 25), streams.slice(25)];
    for (const { response } of slow) {
      response.pause();
    }
    const said = talk('sse');
    await eventually('it has begun', () => honest.some(({ seen }) => seen.length > 0));
    for (const { request } of dead) {
      request.destroy();
    }
    await said;
    await eventually(
      'everybody has seen all',
      () => honest.every(one => one.seen.length >= messages),
      120_000,
    );
    for (const { seen } of honest) {
      assert.deepEqual(seen, all('sse'));
    }
    const grown = (await memory()) - before;
    assert.ok(grown < 128 * mebibyte, `${Math.round(grown / mebibyte)} MiB for 200 streams`);
    for (const { request } of streams) {
      request.destroy();
    }
    agent.destroy();
  });

  it('answers 195 of 200 long polls, each with what its client has not acknowledged', {
    timeout: 240_000,
  }, async () => {
    const before = await memory();
    const dead = new AbortController();
    for (let n = 0; n < 5; n++) {
      const url = new URL('/v1/inbox?wait=60&limit=50', daemon.ready.http);
      fetch(url, { headers: { authorization: `Bearer ${tokens[n]}` }, signal: dead.signal }).catch(() => {});
    }
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const begun = Array.from({ length: 195 }, () => Promise.withResolvers<void>());
    const polls = Array.from({ length: 195 }, async (_, n) => {
      const titles: string[] = [];
      // Windows of one client share what it has acknowledged; each here keeps its own cursor.
      let cursor: string | undefined;
      const token = tokens[n % users];
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
    const grown = (await memory()) - before;
    assert.ok(grown < 128 * mebibyte, `${Math.round(grown / mebibyte)} MiB for 200 polls`);
  });
});
