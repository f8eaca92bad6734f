import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

/*
 * A request whose head came with a good token, and whose body ends when the token is good no more: what was taken from a
 * thief also ends what the thief has begun.
 */

interface Begun {
  /** Sends the rest of the body; the status of the answer. */
  end(): Promise<number>;
}

interface Beginning {
  readonly method?: string;
  readonly path: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends all but the last byte of a request, and resolves when the gateway knows whose it is. */
async function begin(gateway: TestGateway, name: string, from: string, what: Beginning): Promise<Begun> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname).unref();
  await once(socket, 'connect');
  const seen = () => gateway.hub.counters.snapshot()[`seen ${name}`] ?? 0;
  const before = seen();
  const headers = {
    host: `${hostname}:${port}`,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(what.body)),
    ...what.headers,
    ...(from.startsWith('kos_') ? { authorization: `Bearer ${from}` } : { cookie: from, 'kos-page': '1' }),
  };
  const head = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
  socket.write(`${what.method ?? 'POST'} ${what.path} HTTP/1.1\r\n${head.join('')}\r\n`);
  socket.write(what.body.slice(0, -1));
  await eventually(async () => seen() > before, true);
  return {
    async end() {
      socket.write(what.body.slice(-1));
      const [answer] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return Number(/^HTTP\/1\.1 (\d+)/.exec(answer.toString('latin1'))?.[1]);
    },
  };
}

/** A gateway with a victim that can do everything, which counts whose heads it has read. */
async function openRobbed() {
  const gateway = await openGateway();
  const { clients } = gateway.desk;
  const used = clients.used.bind(clients);
  Object.assign(clients, {
    used(id: string, from: string) {
      gateway.hub.counters.add(`seen ${clients.find(id)?.name}`);
      used(id, from);
    },
  });
  const token = await gateway.client('victim', { scopes: ['admin'] });
  await gateway.client('till');
  const post = { path: '/v1/messages', body: JSON.stringify({ to: 'app:till', text: 'pay me' }) };
  const ways: Readonly<Record<string, Beginning>> = {
    'a message': post,
    'a message by the long way': { ...post, headers: { origin: gateway.url } },
    'a form': {
      path: '/v1/messages',
      body: 'to=app:till&text=pay',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    },
    'a token for later': { path: '/v1/tokens', body: '{"name":"door","role":"owner"}' },
    'a room': { method: 'PUT', path: '/v1/rooms/den', body: '{"members":[]}' },
    'a blob': { path: '/v1/blobs', body: 'bytes', headers: { 'content-type': 'image/png' } },
  };
  const begun: (readonly [string, Begun])[] = [];
  for (const [what, one] of Object.entries(ways)) {
    begun.push([what, await begin(gateway, 'victim', token, one)]);
  }
  return {
    gateway,
    token,
    async statuses() {
      const ends = await Promise.all(begun.map(async ([what, { end }]) => [what, await end()] as const));
      return Object.fromEntries(ends);
    },
    expected: (status: number) => Object.fromEntries(Object.keys(ways).map(what => [what, status])),
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

test('a token that is revoked within a request has done nothing by it', async () => {
  await using robbed = await openRobbed();
  await robbed.gateway.desk.clients.revoke('victim');
  assert.deepEqual(await robbed.statuses(), robbed.expected(401));
  assert.equal(robbed.gateway.desk.clients.find('door'), undefined);
});

test('a token that is replaced at once within a request has done nothing by it', async () => {
  await using robbed = await openRobbed();
  await robbed.gateway.desk.clients.rotate('victim', 0);
  assert.deepEqual(await robbed.statuses(), robbed.expected(401));
  assert.equal(robbed.gateway.desk.clients.find('door'), undefined);
});

test('a token that is replaced with a time of grace ends within it what it began', async () => {
  await using robbed = await openRobbed();
  await robbed.gateway.desk.clients.rotate('victim', 60_000);
  const { 'a room': room, ...rest } = await robbed.statuses();
  assert.ok(room === 200 || room === 201);
  const { 'a room': _, ...expected } = robbed.expected(201);
  assert.deepEqual(rest, expected);
});

test('rights that were taken within a request are not used any more', async () => {
  await using robbed = await openRobbed();
  await robbed.gateway.desk.clients.change('victim', { role: 'reader' });
  const { 'a blob': _blob, ...statuses } = await robbed.statuses();
  const { 'a blob': _, ...expected } = robbed.expected(403);
  assert.deepEqual(statuses, expected);
});

test('a log-in that is ended within a request has done nothing by it', async () => {
  await using robbed = await openRobbed();
  const { gateway, token } = robbed;
  const login = await gateway.call(
    undefined,
    'POST',
    '/v1/session',
    { token },
    { headers: { 'kos-page': '1' } },
  );
  const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? '';
  const begun = await begin(gateway, 'victim', cookie, {
    path: '/v1/tokens',
    body: '{"name":"door","role":"owner"}',
  });
  const out = await gateway.call(token, 'DELETE', '/v1/sessions');
  assert.ok(out.status < 300, String(out.status));
  assert.equal(await begun.end(), 401);
  assert.equal(gateway.desk.clients.find('door'), undefined);
  assert.deepEqual(await robbed.statuses(), robbed.expected(201), 'the token is as good as before');
});
