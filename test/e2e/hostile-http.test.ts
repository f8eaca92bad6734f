import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { WebSocket } from 'ws';
import { listenerLimits } from '../../src/bridges/listener.ts';
import { eventually, mint } from './clients.ts';
import { type Daemon, startDaemon } from './daemon.ts';

/*
 * Neighbours with a grudge against a whole hub: whatever they send or hold open, an app beside them is served, and the hub's
 * memory stays where it was.
 */

const mebibyte = 1024 * 1024;

describe('a hub among hostile clients of its HTTP port', () => {
  let daemon: Daemon;
  let token: string;
  let port: number;
  let sent = 0;

  before(async () => {
    daemon = await startDaemon({ config: { bridges: { http: { cors: ['https://app.example'] } } } });
    token = await mint(daemon, 'app');
    port = Number(new URL(daemon.ready.http).port);
    await served();
  });
  after(() => daemon[Symbol.asyncDispose]());

  /** An honest app posts and reads. */
  async function served(): Promise<void> {
    const posted = await daemon.call('POST', '/v1/messages', {
      token,
      body: { to: 'app:app', text: `still here ${sent++}` },
    });
    assert.equal(posted.status, 201);
    const { status } = await daemon.call('GET', `/v1/messages/${posted.body.id}`, { token });
    assert.equal(status, 200);
  }

  /** Resident bytes of the hub. */
  async function memory(): Promise<number> {
    const text = await readFile(`/proc/${daemon.process.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) * 1024;
  }

  /** Connections that the hub closed, or did not take, because there were too many. */
  async function counted(): Promise<number> {
    const { body } = await daemon.call<{ counters: Record<string, number> }>('GET', '/v1/status');
    return (body.counters['http/idle-closed'] ?? 0) + (body.counters['http/dropped'] ?? 0);
  }

  /** Somebody else asks all the time while this is worked on, and is answered each time. */
  async function beside<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = work.finally(() => {
      isOver = true;
    });
    const asking = (async () => {
      do {
        assert.equal((await daemon.call('GET', '/healthz')).status, 200);
      } while (!isOver);
    })();
    const [result] = await Promise.all([over, asking]);
    return result;
  }

  /** The answers to so many of the same at once, with others served meanwhile. */
  const flood = (count: number, bytes: Uint8Array) =>
    beside(Promise.all(Array.from({ length: count }, () => exchange(bytes))));

  async function open(): Promise<Socket> {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    await new Promise(resolve => socket.on('connect', resolve).on('close', resolve));
    return socket;
  }

  /** What comes back on a raw connection, until it is closed or a whole answer is there. */
  async function exchange(text: string | Uint8Array): Promise<string> {
    const socket = await open();
    let answer = '';
    socket.setEncoding('latin1').on('data', chunk => {
      answer += chunk;
    });
    socket.write(text);
    await eventually('an answer', () => socket.destroyed || /\r\n\r\n.*[}\]]$/s.test(answer), 40_000);
    socket.destroy();
    return answer;
  }

  const request = (headers: string, body: string | Uint8Array = '') =>
    Buffer.concat([
      Buffer.from(
        `POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${token}\r\n${headers}\r\n`,
      ),
      Buffer.from(body),
    ]);
  const json = (body: string, more = '') =>
    request(`Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}`, body);

  /*
   * The hub's own bound on idle connections is far below 10,000, and it is what is shown here: every one of them is opened, the
   * oldest give way to the newest, and each that was closed is counted. The client ends none itself.
   */
  it('takes 10,000 silent connections, closes those above its bound, and serves others meanwhile', {
    timeout: 180_000,
  }, async () => {
    const before = await memory();
    const closedBefore = await counted();
    let opened = 0;
    let closed = 0;
    let most = 0;
    const sockets = new Set<Socket>();
    const openSilent = async () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      sockets.add(socket);
      socket.on('close', () => {
        closed += 1;
        sockets.delete(socket);
      });
      const { promise, resolve } = Promise.withResolvers<void>();
      socket
        .on('connect', () => {
          opened += 1;
          resolve();
        })
        .on('close', resolve)
        .resume();
      await promise;
    };
    for (let n = 0; n < 10_000; n += 250) {
      await Promise.all([served(), ...Array.from({ length: 250 }, openSilent)]);
      most = Math.max(most, await memory());
    }
    assert.equal(opened, 10_000);
    const isBounded = () => 10_000 - closed <= listenerLimits.idleBurst;
    await eventually('those above the bound are closed', isBounded, 60_000);
    await served();
    const gaveWay = (await counted()) - closedBefore;
    assert.ok(gaveWay >= 10_000 - listenerLimits.idleBurst, `${gaveWay} were counted`);
    assert.ok(most - before < 64 * mebibyte, `${Math.round((most - before) / mebibyte)} MiB`);
    for (const socket of sockets) {
      socket.destroy();
    }
  });

  it('serves others beside clients that trickle headers and bodies', { timeout: 120_000 }, async () => {
    const before = await memory();
    const slow = await Promise.all(Array.from({ length: 800 }, open));
    slow.forEach((socket, n) => {
      socket.write(
        n % 2 === 0
          ? `GET /v1/inbox HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: `
          : `POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
      );
    });
    for (let round = 0; round < 5; round++) {
      for (const socket of slow) {
        socket.write('a');
      }
      await served();
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    assert.ok((await memory()) - before < 64 * mebibyte);
    for (const socket of slow) {
      socket.destroy();
    }
  });

  it('serves others beside sockets that were upgraded and never say hello', { timeout: 60_000 }, async () => {
    const mute = await Promise.all(
      Array.from({ length: 700 }, async () => {
        const socket = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`).on(
          'error',
          () => {},
        );
        await new Promise(resolve => socket.on('open', resolve).on('close', resolve));
        return socket;
      }),
    );
    await served();
    const honest = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/v1/ws`, {
      // A page of a site that may call by CORS may open a socket as well.
      origin: 'https://app.example',
      headers: { authorization: `Bearer ${token}` },
    });
    await once(honest, 'open');
    honest.send(JSON.stringify({ op: 'hello' }));
    const [hello] = (await once(honest, 'message')) as [Buffer];
    assert.equal(JSON.parse(String(hello)).op, 'hello');
    const more = await Promise.all(Array.from({ length: 700 }, open));
    await served();
    assert.equal(honest.readyState, WebSocket.OPEN, 'who is known does not give way');
    for (const socket of [...mute, honest]) {
      socket.terminate();
    }
    for (const socket of more) {
      socket.destroy();
    }
  });

  it('refuses headers that are too large or too many', async () => {
    const giant = await exchange(
      `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Giant: ${'x'.repeat(64 * 1024)}\r\n\r\n`,
    );
    assert.match(giant, /^HTTP\/1\.1 413 .*urn:kos:problem:request\/too-large/s);
    const many = Array.from({ length: 5000 }, (_, n) => `X-${n}: 1\r\n`).join('');
    assert.match(
      await exchange(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n${many}\r\n`),
      /^HTTP\/1\.1 413 /,
    );
    await served();
  });

  it('does not unpack what a client packed', async () => {
    const before = await memory();
    const bomb = gzipSync(Buffer.alloc(64 * mebibyte, 0x20));
    const packed = request(
      `Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`,
      bomb,
    );
    for (const answer of await flood(8, packed)) {
      assert.match(answer, /^HTTP\/1\.1 415 /);
    }
    assert.ok((await memory()) - before < 64 * mebibyte);
    await served();
  });

  it('refuses JSON that is too deep, names a key twice or names a prototype', async () => {
    const deep = `{"to":"app:app","data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    for (const answer of await flood(16, json(deep))) {
      assert.match(answer, /^HTTP\/1\.1 400 .*request\/invalid/s);
    }
    const twice = '{"to":"app:app","text":"a","text":"b"}';
    const long = `{"to":"app:app","data":{${'"a":1,'.repeat(60_000)}"b":1}}`;
    for (const answer of await flood(16, json(long))) {
      assert.match(answer, /^HTTP\/1\.1 400 /);
    }
    assert.match(await exchange(json(twice)), /^HTTP\/1\.1 400 .*text/s);
    for (const key of ['__proto__', 'constructor', 'prototype']) {
      const inside = `{"to":"app:app","text":"a","${key}":{"isAdmin":true}}`;
      assert.match(await exchange(json(inside)), /^HTTP\/1\.1 400 /, key);
    }
    const hidden = '{"to":"app:app","data":{"deep":[{"__proto__":{"polluted":true}}]}}';
    assert.match(await exchange(json(hidden)), /^HTTP\/1\.1 400 .*__proto__/s);
    const kept = await daemon.call('POST', '/v1/messages', {
      token,
      body: { to: 'app:app', data: { constructor: 1, prototype: 2 } },
    });
    assert.equal(kept.status, 201, 'other names are names');
    await served();
  });

  it('had no bug in any of it', async () => {
    const { body } = await daemon.call<{ counters: Record<string, number> }>('GET', '/v1/status');
    assert.deepEqual(
      Object.keys(body.counters).filter(name => /internal|bug/.test(name)),
      [],
    );
    assert.doesNotMatch(daemon.stderr(), /bug/);
  });
});
