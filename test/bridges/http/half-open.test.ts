import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

/** A connection that says this and closes its own direction, as `nc -N` does. */
function said({ url }: TestGateway, lines: readonly string[], body = ''): Socket {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
  return socket;
}

async function answerTo(socket: Socket): Promise<{ readonly status: number; readonly body: string }> {
  const whole = await text(socket);
  socket.destroy();
  const [head = '', ...rest] = whole.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1] ?? 0), body: rest.join('\r\n\r\n') };
}

const jsonFields = (token: string, body: string) => [
  'host: localhost',
  `authorization: Bearer ${token}`,
  'content-type: application/json',
  `content-length: ${Buffer.byteLength(body)}`,
];

const asksFor = (token: string, path: string) => [
  `GET ${path} HTTP/1.1`,
  'host: localhost',
  `authorization: Bearer ${token}`,
];

async function connections({ listener }: TestGateway): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  listener.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  return await promise;
}

test('who closes its direction behind a request has its answer, whichever way the request goes', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const body = JSON.stringify({ to: 'app:b', text: 'over and out' });
  const short = await answerTo(
    said(gateway, ['POST /v1/messages HTTP/1.1', ...jsonFields(a ?? '', body)], body),
  );
  assert.equal(short.status, 201);
  const routed = ['POST /v1/messages HTTP/1.1', ...jsonFields(a ?? '', body), 'accept: text/plain'];
  assert.equal((await answerTo(said(gateway, routed, body))).status, 201);
  const both = [
    ...asksFor(a ?? '', `/v1/messages/${JSON.parse(short.body).id}`),
    '',
    ...asksFor(a ?? '', '/v1/peers'),
  ];
  assert.equal((await text(said(gateway, both))).match(/HTTP\/1\.1 (?:200|403)/g)?.length, 2);
  const inbox = await answerTo(said(gateway, asksFor(b ?? '', '/v1/inbox')));
  assert.equal(JSON.parse(inbox.body).items.length, 2);
  await eventually(() => connections(gateway), 0);
});

test('who closes its direction and waits gets what there is, and nothing waits for it', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const none = await answerTo(said(gateway, asksFor(b ?? '', '/v1/inbox?wait=60')));
  assert.deepEqual([none.status, JSON.parse(none.body).items], [200, []]);
  const body = JSON.stringify({ to: 'app:b', text: 'one' });
  await answerTo(said(gateway, ['POST /v1/messages HTTP/1.1', ...jsonFields(a ?? '', body)], body));
  const one = await answerTo(said(gateway, asksFor(b ?? '', '/v1/inbox?wait=60')));
  assert.deepEqual([one.status, JSON.parse(one.body).items.length], [200, 1]);
  const stream = await answerTo(said(gateway, asksFor(b ?? '', '/v1/events')));
  assert.equal(stream.status, 200);
  await eventually(() => connections(gateway), 0);
});

test('a long poll and a stream end with their readers', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  for (const path of ['/v1/inbox?wait=60', '/v1/events']) {
    const begun = once(gateway.listener.app.server, 'request');
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    socket.write(`${asksFor(token, path).join('\r\n')}\r\n\r\n`);
    await begun;
    await new Promise(resolve => setImmediate(resolve));
    socket.resume().end();
    await once(socket, 'close');
    await eventually(() => connections(gateway), 0);
  }
});

test('who closes its direction without a whole request is not waited for', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  assert.equal(await text(said(gateway, []).resume()).catch(() => ''), '');
  const half = await answerTo(
    said(gateway, ['POST /v1/messages HTTP/1.1', ...jsonFields(token, '{"to":"app:a"}')]),
  );
  assert.ok(half.status === 400 || half.status === 0);
  await eventually(() => connections(gateway), 0);
});
