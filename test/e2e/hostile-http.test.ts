import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { WebSocket } from 'ws';
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
    daemon = await startDaemon();
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

  it('serves others beside 10,000 connections on which nothing is ever said', {
    timeout: 120_000,
  }, async () => {
    const before = await memory();
    const sockets: Socket[] = [];
    for (let n = 0; n < 10_000; n += 250) {
      sockets.push(...(await Promise.all(Array.from({ length: 250 }, open))));
      if (n % 1000 === 0) {
        await served();
      }
      // Those that the hub has closed are gone here as well: descriptors are bounded on either side.
      for (const socket of sockets.splice(0, Math.max(0, sockets.length - 2500))) {
        socket.destroy();
      }
    }
    await served();
    const { body } = await daemon.call<{ counters: Record<string, number> }>('GET', '/v1/status');
    assert.ok((body.counters['http/idle-closed'] ?? 0) > 1000, JSON.stringify(body.counters));
    assert.ok((await memory()) - before < 64 * mebibyte);
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
    for (let n = 0; n < 8; n++) {
      const answer = await exchange(
        request(
          `Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`,
          bomb,
        ),
      );
      assert.match(answer, /^HTTP\/1\.1 415 /);
    }
    assert.ok((await memory()) - before < 64 * mebibyte);
    await served();
  });

  it('refuses JSON that is too deep, names a key twice or names a prototype', async () => {
    const deep = `{"to":"app:app","data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    assert.match(await exchange(json(deep)), /^HTTP\/1\.1 400 .*request\/invalid/s);
    const twice = '{"to":"app:app","text":"a","text":"b"}';
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
