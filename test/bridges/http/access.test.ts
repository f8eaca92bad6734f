import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { openGateway, pointers } from '../gateway.ts';

test('without a token, with a wrong one and with something else the answer is 401 and says which', async () => {
  await using gateway = await openGateway();
  const ask = async (authorization?: string) =>
    gateway.call(undefined, 'GET', '/v1/inbox', undefined, {
      headers: { ...(authorization && { authorization }) },
    });
  const none = await ask();
  assert.equal(none.status, 401);
  assert.equal(none.headers.get('www-authenticate'), 'Bearer realm="kos"');
  const wrong = await ask('Bearer wrong');
  assert.equal(wrong.status, 401);
  assert.match(wrong.headers.get('www-authenticate') ?? '', /error="invalid_token".*not known/);
  const basic = await ask('Basic YTpi');
  assert.match(basic.body.detail, /no Bearer token/);
});

test('a token that has expired says so, and its streams end with it', async () => {
  let ahead = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + ahead };
  await using gateway = await openGateway({ clock });
  const brief = await gateway.client('brief', { expiresAt: clock.now() + 60_000 });
  assert.equal((await gateway.call(brief, 'GET', '/v1/inbox')).status, 200);
  ahead = 61_000;
  const late = await gateway.call(brief, 'GET', '/v1/inbox');
  assert.equal(late.status, 401);
  assert.match(late.body.detail, /expired/);
  assert.equal(late.body.reason, 'expired');
  assert.match(late.headers.get('www-authenticate') ?? '', /expired/);
  const short = await gateway.client('short', { expiresAt: clock.now() + 300 });
  assert.equal((await gateway.call(short, 'GET', '/v1/inbox?wait=60')).status, 401);
});

test('the control socket has the rights of the owner without a token, and with one those of its client', async () => {
  await using gateway = await openGateway();
  const path = join(gateway.hub.dir, 'control.sock');
  await gateway.listener.control(path);
  const ask = async (what: string, authorization?: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number | undefined;
      body: string;
    }>();
    const headers = { ...(authorization && { authorization }) };
    request({ socketPath: path, path: what, headers }, response => {
      text(response).then(body => resolve({ status: response.statusCode, body }), reject);
    })
      .on('error', reject)
      .end();
    return promise;
  };
  const { status, body } = await ask('/v1/tokens');
  assert.equal(status, 200);
  assert.match(body, /"owner"/);
  const token = await gateway.client('script');
  const own = await ask('/v1/session', `Bearer ${token}`);
  assert.equal(own.status, 200, own.body);
  assert.match(own.body, /"script"/);
  assert.equal((await ask('/v1/tokens', `Bearer ${token}`)).status, 403);
  assert.equal((await ask('/v1/tokens', 'Bearer wrong')).status, 401);
});

test('the scheme is taken in any case', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    const answer = await gateway.call(undefined, 'GET', '/v1/inbox', undefined, {
      headers: { authorization: `${scheme} ${a}` },
    });
    assert.equal(answer.status, 200);
  }
});

test('a scope that is missing is 403 and named', async () => {
  await using gateway = await openGateway();
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  const refused = await gateway.call(reader, 'POST', '/v1/messages', { to: 'app:reader', text: 'x' });
  assert.equal(refused.status, 403);
  assert.match(refused.headers.get('www-authenticate') ?? '', /insufficient_scope.*scope="messages:send"/);
  for (const [method, path] of [
    ['GET', '/v1/tokens'],
    ['POST', '/v1/tokens'],
    ['DELETE', '/v1/tokens/reader'],
    ['GET', '/v1/peers'],
    ['GET', '/v1/status'],
  ] as const) {
    assert.equal((await gateway.call(reader, method, path)).status, 403, path);
  }
});

test('who may not call does not learn what was wrong with the body', async () => {
  await using gateway = await openGateway();
  assert.equal((await gateway.call('wrong', 'POST', '/v1/messages', { nonsense: 1 })).status, 401);
});

test('a token is made, shown once, used, listed and revoked', async () => {
  await using gateway = await openGateway();
  const owner = await gateway.client('boss', { scopes: ['admin'] });
  const made = await gateway.call(owner, 'POST', '/v1/tokens', {
    name: 'pump',
    scopes: ['messages:read', 'messages:send'],
    rooms: [],
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const { token } = made.body;
  assert.deepEqual(made.body.rooms, []);
  assert.equal((await gateway.call(token, 'GET', '/v1/inbox')).status, 200);
  const twice = await gateway.call(owner, 'POST', '/v1/tokens', { name: 'pump', scopes: ['mqtt'] });
  assert.equal(twice.status, 409);
  const list = await gateway.call(owner, 'GET', '/v1/tokens');
  assert.ok(!JSON.stringify(list.body).includes(token));
  assert.ok(list.body.items.some(({ name }: { name: string }) => name === 'pump'));
  assert.equal((await gateway.call(owner, 'DELETE', '/v1/tokens/pump')).status, 204);
  assert.equal((await gateway.call(token, 'GET', '/v1/inbox')).status, 401);
  assert.equal((await gateway.call(owner, 'DELETE', '/v1/tokens/nobody')).status, 404);
  const again = await gateway.call(owner, 'POST', '/v1/tokens', { name: 'pump', scopes: ['mqtt'] });
  assert.equal(again.status, 409, 'a name is never given twice');
});

test('mistakes in a token draft are told at once', async () => {
  await using gateway = await openGateway();
  const owner = await gateway.client('boss', { scopes: ['admin'] });
  const answer = await gateway.call(owner, 'POST', '/v1/tokens', {
    name: 'Pump 1',
    scopes: ['everything'],
    identity: 'mine',
    expiresAt: -1,
    admin: true,
  });
  assert.deepEqual(pointers(answer), ['/admin', '/expiresAt', '/identity', '/name', '/scopes/0']);
  const past = await gateway.call(owner, 'POST', '/v1/tokens', {
    name: 'x',
    scopes: ['mqtt'],
    expiresAt: 1000,
  });
  assert.deepEqual([past.status, past.body.errors[0].pointer], [409, '/expiresAt']);
});

test('guessing tokens locks the address out for guesses, and nobody whose token cannot be guessed', async () => {
  await using gateway = await openGateway();
  const fresh = await gateway.client('fresh');
  const answers: number[] = [];
  for (let guess = 0; guess < 12; guess++) {
    answers.push((await gateway.call(`guess-${guess}`, 'GET', '/v1/inbox')).status);
  }
  assert.deepEqual(answers, [...Array(10).fill(401), 429, 429]);
  assert.equal((await gateway.call(fresh, 'GET', '/v1/inbox')).status, 200);
  const locked = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/inbox');
  assert.equal(locked.status, 429, 'a token that a person chose may have been guessed');
  assert.ok(Number(locked.headers.get('retry-after')) >= 1);
  assert.equal(gateway.hub.counters.get('access/unknown'), 10);
  assert.equal(gateway.hub.counters.get('access/locked'), 3);
});

test('a token that a person chose passes where it was good before the guessing', async () => {
  await using gateway = await openGateway();
  assert.equal((await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/inbox')).status, 200);
  for (let guess = 0; guess < 12; guess++) {
    await gateway.call(`guess-${guess}`, 'GET', '/v1/inbox');
  }
  assert.equal((await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/inbox')).status, 200);
});

test('a name that many addresses try to guess the token of is locked out for guesses from everywhere', async () => {
  await using gateway = await openGateway();
  const { access, hub } = gateway;
  const pump = await gateway.client('pump');
  const asOwner = (token: string, remote: string) =>
    access.client(token, remote, { door: 'mqtt', name: 'owner' });
  for (let guess = 0; guess < 10; guess++) {
    assert.throws(() => asOwner('guess', `192.0.2.${guess}`), { code: 'request/unauthenticated' });
  }
  assert.throws(() => asOwner('guess', '192.0.2.99'), { code: 'request/rate-limited' });
  assert.throws(() => asOwner(hub.ownerToken, '192.0.2.99'), { code: 'request/rate-limited' });
  assert.equal(access.client(hub.ownerToken, '192.0.2.99').name, 'owner', 'not by that name');
  assert.equal(access.client(pump, '192.0.2.1', { door: 'mqtt', name: 'pump' }).name, 'pump');
});

test('a token that was revoked says so to who holds it, and is no guess', async () => {
  await using gateway = await openGateway();
  const gone = await gateway.client('gone');
  await gateway.desk.clients.revoke('gone');
  for (let call = 0; call < 12; call++) {
    const { status, body } = await gateway.call(gone, 'GET', '/v1/inbox');
    assert.deepEqual([status, body.reason], [401, 'revoked']);
  }
  assert.equal((await gateway.call('nonsense', 'GET', '/v1/inbox')).body.reason, 'unknown');
});

test('a connection is known by a good token, whichever way a request goes, and by nothing else', async t => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  const { mock } = t.mock.method(gateway.listener, 'prove');
  const proves = async (...[by, method, path, body, options]: Parameters<typeof gateway.call>) => {
    const before = mock.callCount();
    const { status } = await gateway.call(by, method, path, body, options);
    return [status, mock.callCount() - before];
  };
  const draft = { to: 'app:a', text: 'hello' };
  assert.deepEqual(await proves(token, 'POST', '/v1/messages', draft), [201, 1]);
  const asText = { headers: { accept: 'text/plain' } };
  assert.deepEqual(await proves(token, 'POST', '/v1/messages', draft, asText), [201, 1]);
  assert.deepEqual(await proves(token, 'GET', '/v1/inbox'), [200, 1]);
  const nonsense = { headers: { authorization: 'Bearer nonsense', cookie: 'kos=nonsense' } };
  assert.deepEqual(await proves(undefined, 'GET', '/healthz', undefined, nonsense), [200, 0]);
  assert.deepEqual(await proves(undefined, 'POST', '/v1/messages', draft, nonsense), [401, 0]);
  assert.deepEqual(await proves(undefined, 'GET', '/v1/inbox', undefined, nonsense), [401, 0]);
});
