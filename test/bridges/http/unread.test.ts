import assert from 'node:assert/strict';
import { once } from 'node:events';
import { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { mostOutgoing } from '../../../src/bridges/http/outgoing.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

/* Answers that nobody reads: what they hold in memory is bounded, by page and by client. */

const text = 'x'.repeat(200 * 1024);
const count = 24;

async function fill(gateway: TestGateway, token: string): Promise<void> {
  for (let n = 0; n < count; n++) {
    const { status } = await gateway.call(token, 'POST', '/v1/messages', {
      to: 'app:a',
      title: `${n}`,
      text,
    });
    assert.equal(status, 201);
  }
}

const all = Array.from({ length: count }, (_, n) => `${n}`);

test('a page has as many messages as fit, and the next goes on behind them', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  await fill(gateway, token);
  const listed: string[] = [];
  for (let at = '/v1/messages?limit=200', pages = 0; pages < count; pages++) {
    const { body } = await gateway.call(token, 'GET', at);
    assert.ok(JSON.stringify(body).length < 3 * 1024 * 1024);
    listed.push(...body.items.map(({ title }: { title: string }) => title));
    if (body.cursor === null) {
      break;
    }
    at = `/v1/messages?limit=200&after=${body.cursor}`;
  }
  assert.deepEqual(listed, all.toReversed());
  const read: string[] = [];
  for (let after = ''; ; ) {
    const { body } = await gateway.call(token, 'GET', `/v1/inbox?limit=200&after=${after}`);
    assert.ok(JSON.stringify(body).length < 3 * 1024 * 1024);
    if (body.items.length === 0) {
      break;
    }
    read.push(...body.items.map(({ message }: { message: { title: string } }) => message.title));
    after = body.cursor;
  }
  assert.deepEqual(read, all);
});

/** A connection on which so many pages are asked for, of which none is taken. */
async function ask(gateway: TestGateway, token: string, times: number) {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname).on('error', () => {});
  await once(socket, 'connect');
  const head = `Host: ${hostname}:${port}\r\nAuthorization: Bearer ${token}`;
  socket.write(`GET /v1/messages?limit=200 HTTP/1.1\r\n${head}\r\n\r\n`.repeat(times));
  return socket;
}

test('no page is made before those that were asked for on its connection are taken', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  await fill(gateway, token);
  const { list } = gateway.desk.messages;
  let made = 0;
  Object.assign(gateway.desk.messages, {
    list(...args: Parameters<typeof list>) {
      made += 1;
      return list(...args);
    },
  });
  const asked = 40;
  const socket = await ask(gateway, token, asked);
  for (let before = -1, still = 0; still < 20; still = made > 0 && made === before ? still + 1 : 0) {
    before = made;
    await systemClock.sleep(10);
  }
  assert.ok(made < asked / 2, `${made} were made`);
  let seen = 0;
  let tail = '';
  for await (const chunk of socket.setEncoding('latin1') as AsyncIterable<string>) {
    const words = (tail + chunk).split('HTTP/1.1 200 OK');
    seen += words.length - 1;
    tail = words.at(-1)?.slice(-14) ?? '';
    if (seen === asked) {
      break;
    }
  }
  assert.equal(seen, asked, 'each has its answer');
});

test('who asks on many connections and takes nothing is refused, others are not', async () => {
  await using gateway = await openGateway();
  const [a, b] = [await gateway.client('a'), await gateway.client('b')];
  await fill(gateway, a);
  const sockets = await Promise.all(Array.from({ length: 20 }, () => ask(gateway, a, 20)));
  const status = async (token: string) => (await gateway.call(token, 'GET', '/v1/messages?limit=1')).status;
  await eventually(() => status(a), 429);
  assert.equal(await status(b), 200);
  for (const socket of sockets) {
    socket.destroy();
  }
  await eventually(() => status(a), 200);
});

test('what strangers leave unread keeps no stranger from learning whether the hub lives', async t => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  const { ofClient } = mostOutgoing;
  t.after(() => Object.assign(mostOutgoing, { ofClient }));
  // As where there is too much already, of everybody.
  Object.assign(mostOutgoing, { ofClient: 0 });
  for (const path of ['/healthz', '/readyz', '/']) {
    assert.equal((await fetch(`${gateway.url}${path}`)).status, 200, path);
  }
  const large = await fetch(`${gateway.url}/openapi.json`);
  assert.equal(large.status, 429);
  assert.match(large.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.deepEqual([large.headers.get('etag'), large.headers.get('cache-control')], [null, 'no-store']);
  assert.equal(((await large.json()) as { code: string }).code, 'request/rate-limited');
  assert.equal((await gateway.call(token, 'GET', '/v1/messages')).status, 429);
});

test('an event that many streams leave unread is made once for all of them', async t => {
  const { mock } = t.mock.method(ServerResponse.prototype, 'write');
  const calls = () => mock.calls;
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  const { hostname, port } = new URL(gateway.url);
  const head = `Host: ${hostname}:${port}\r\nAuthorization: Bearer ${token}`;
  const start = gateway.desk.events.cursor;
  await fill(gateway, token);
  const sockets = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(Number(port), hostname).on('error', () => {});
      await once(socket, 'connect');
      socket.pause().write(`GET /v1/events?after=${start} HTTP/1.1\r\n${head}\r\n\r\n`);
      return socket;
    }),
  );
  const isHead = (piece: unknown) => typeof piece === 'string' && piece.startsWith('retry:');
  const began = async () => calls().filter(({ arguments: [piece] }) => isHead(piece)).length;
  await eventually(began, sockets.length);
  await systemClock.sleep(100);
  const large = calls()
    .map(({ arguments: [piece] }) => piece as string | Uint8Array)
    .filter(({ length }) => length > text.length);
  assert.ok(large.length >= sockets.length);
  assert.ok(new Set(large).size <= count, `${new Set(large).size} pieces, of ${large.length}`);
  assert.ok(large.every(piece => typeof piece !== 'string' && piece.length < 2 * text.length));
  let seen = 0;
  for await (const chunk of (sockets[0] as Socket).setEncoding('latin1') as AsyncIterable<string>) {
    seen += chunk.split('event: message.accepted').length - 1;
    if (seen >= count) {
      break;
    }
  }
  assert.equal(seen, count);
  for (const socket of sockets) {
    socket.destroy();
  }
});
