import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { systemClock } from '../../../src/lib/clock.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { eventually, openGateway, pointers, type TestGateway } from '../gateway.ts';

/** A clock that can be set ahead; its timers stay real. */
function aheadClock() {
  let ahead = 0;
  return {
    ...systemClock,
    now: () => systemClock.now() + ahead,
    skip(ms: number) {
      ahead += ms;
    },
  };
}

async function openBoss(options: Parameters<typeof openGateway>[0] = {}) {
  const gateway = await openGateway(options);
  const boss = await gateway.client('boss', { scopes: ['admin'] });
  const call = (method: string, path: string, body?: unknown) => gateway.call(boss, method, path, body);
  return { gateway, call, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const statusOf = async (gateway: TestGateway, token: string) =>
  (await gateway.call(token, 'GET', '/v1/inbox')).status;

/** Opens a WebSocket that has said hello; resolves with what it was closed with. */
async function openSocket(gateway: TestGateway, token: string) {
  const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/ws`);
  const closed = Promise.withResolvers<number>();
  const hello = Promise.withResolvers<void>();
  socket.on('open', () => socket.send(JSON.stringify({ op: 'hello', token })));
  socket.on('message', () => hello.resolve());
  socket.on('close', code => closed.resolve(code));
  socket.on('error', () => {});
  await hello.promise;
  return { closed: closed.promise };
}

test('a client is looked at, by name and by id, and looks at itself', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const made = await call('POST', '/v1/tokens', { name: 'pump', role: 'member', rooms: [] });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal(made.headers.get('location'), '/v1/tokens/pump');
  const { token, ...rest } = made.body;
  assert.deepEqual(rest.scopes, ['messages:read', 'messages:send', 'peers:read']);
  assert.equal(rest.role, 'member');
  const mine = await gateway.call(token, 'GET', '/v1/me');
  assert.equal(mine.body.name, 'pump');
  assert.equal(mine.body.lastUsedFrom, '127.0.0.1');
  assert.ok(mine.body.lastUsedAt <= Date.now());
  for (const name of ['pump', rest.id]) {
    assert.equal((await call('GET', `/v1/tokens/${name}`)).body.id, rest.id);
  }
  assert.equal((await call('GET', '/v1/tokens/nobody')).status, 404);
  assert.equal((await gateway.call(token, 'GET', '/v1/tokens/pump')).status, 403);
});

test('a draft names scopes or a role, one of both', async () => {
  await using boss = await openBoss();
  for (const draft of [{ name: 'x' }, { name: 'x', role: 'reader', scopes: ['mqtt'] }]) {
    assert.deepEqual(pointers(await boss.call('POST', '/v1/tokens', draft)), ['/scopes']);
  }
  assert.deepEqual(pointers(await boss.call('POST', '/v1/tokens', { name: 'x', role: 'king' })), ['/role']);
});

test('a rotated token is shown once, and the one before is good for its grace and no longer', async () => {
  const clock = aheadClock();
  await using boss = await openBoss({ clock });
  const { gateway, call } = boss;
  const old = await gateway.client('pump');
  const rotated = await call('POST', '/v1/tokens/pump/rotate', { grace: 60 });
  assert.equal(rotated.status, 200, JSON.stringify(rotated.body));
  const fresh = rotated.body.token;
  assert.notEqual(fresh, old);
  assert.ok(rotated.body.previousUntil > clock.now());
  assert.deepEqual([await statusOf(gateway, old), await statusOf(gateway, fresh)], [200, 200]);
  assert.ok(!JSON.stringify((await call('GET', '/v1/tokens/pump')).body).includes(fresh));
  clock.skip(61_000);
  assert.deepEqual([await statusOf(gateway, old), await statusOf(gateway, fresh)], [401, 200]);
  assert.equal((await gateway.call(old, 'GET', '/v1/inbox')).body.reason, 'expired');
  assert.equal((await call('GET', '/v1/tokens/pump')).body.previousUntil, undefined);
});

test('a rotation whose answer was lost is asked for again, and the token in use stays good meanwhile', async () => {
  await using boss = await openBoss();
  const { gateway } = boss;
  const old = await gateway.client('pump');
  const lost = await gateway.call(old, 'POST', '/v1/me/rotate');
  const again = await gateway.call(old, 'POST', '/v1/me/rotate', {});
  for (const token of [old, lost.body.token, again.body.token]) {
    assert.equal(await statusOf(gateway, token), 200);
  }
  await gateway.call(again.body.token, 'POST', '/v1/me/rotate', { grace: 0 });
  for (const token of [old, lost.body.token, again.body.token]) {
    assert.equal(await statusOf(gateway, token), 401);
  }
});

test('however often the answer is lost, the token in use stays good for its grace, and the newest too', async () => {
  await using boss = await openBoss();
  const { gateway } = boss;
  const old = await gateway.client('pump');
  let newest = '';
  for (let turn = 0; turn < 9; turn++) {
    const { status, body } = await gateway.call(old, 'POST', '/v1/me/rotate');
    assert.equal(status, 200);
    newest = body.token;
  }
  assert.deepEqual([await statusOf(gateway, old), await statusOf(gateway, newest)], [200, 200]);
});

test('what is open with a token that is replaced ends with its grace, and not before', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const old = await gateway.client('pump');
  const first = await openSocket(gateway, old);
  const poll = gateway.call(old, 'GET', '/v1/inbox?wait=60');
  const { token } = (await call('POST', '/v1/tokens/pump/rotate', { grace: 1 })).body;
  const second = await openSocket(gateway, token);
  assert.equal(await first.closed, 4001);
  assert.equal((await poll).status, 401);
  await call('POST', '/v1/tokens/pump/rotate', { grace: 0 });
  assert.equal(await second.closed, 4001);
});

test('tokens that were replaced twice end at once where the second rotation says so', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const old = await gateway.client('pump');
  const socket = await openSocket(gateway, old);
  await call('POST', '/v1/tokens/pump/rotate', { grace: 3600 });
  await call('POST', '/v1/tokens/pump/rotate', { grace: 0 });
  assert.equal(await socket.closed, 4001);
});

test('rights are changed while a client is there: what it holds open ends, and it comes back with what it has now', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const pump = await gateway.client('pump');
  const socket = await openSocket(gateway, pump);
  const changed = await call('PATCH', '/v1/tokens/pump', { role: 'sender', rooms: [] });
  assert.equal(changed.status, 200, JSON.stringify(changed.body));
  assert.equal(await socket.closed, 1012, 'it may come back');
  assert.equal(await statusOf(gateway, pump), 403);
  assert.deepEqual(changed.body.rooms, []);
  const own = await call('PATCH', '/v1/tokens/pump', { scopes: ['messages:read'] });
  assert.equal(own.body.role, undefined, 'scopes of its own are no role');
  assert.equal(await statusOf(gateway, pump), 200);
  const [entry] = (await call('GET', '/v1/audit?action=tokens.change')).body.items.slice(-1);
  assert.deepEqual([entry.target, entry.keys], ['pump', ['role', 'rooms']]);
});

test('an end is set, moved and taken away', async () => {
  const clock = aheadClock();
  await using boss = await openBoss({ clock });
  const { gateway, call } = boss;
  const pump = await gateway.client('pump');
  await call('PATCH', '/v1/tokens/pump', { expiresAt: clock.now() + 60_000 });
  clock.skip(61_000);
  assert.equal(await statusOf(gateway, pump), 401);
  assert.equal((await call('PATCH', '/v1/tokens/pump', { expiresAt: null })).body.expiresAt, undefined);
  assert.equal(await statusOf(gateway, pump), 200);
  const past = await call('PATCH', '/v1/tokens/pump', { expiresAt: 1 });
  assert.deepEqual([past.status, past.body.errors[0].pointer], [409, '/expiresAt']);
  assert.deepEqual(pointers(await call('PATCH', '/v1/tokens/pump', { name: 'other', scopes: ['all'] })), [
    '/name',
    '/scopes/0',
  ]);
});

test('the owner is neither changed nor revoked, and is given another token', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  assert.equal((await call('PATCH', '/v1/tokens/owner', { role: 'reader' })).status, 409);
  assert.equal((await call('DELETE', '/v1/tokens/owner')).status, 409);
  const { token } = (await call('POST', '/v1/tokens/owner/rotate', { grace: 0 })).body;
  assert.equal(await statusOf(gateway, token), 200);
  assert.equal(await statusOf(gateway, gateway.hub.ownerToken), 401);
});

test('who is gone is neither changed nor rotated', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  await gateway.client('gone');
  await call('DELETE', '/v1/tokens/gone');
  assert.equal((await call('PATCH', '/v1/tokens/gone', { rooms: [] })).status, 404);
  assert.equal((await call('POST', '/v1/tokens/gone/rotate')).status, 404);
  assert.deepEqual(pointers(await call('POST', '/v1/tokens/boss/rotate', { grace: -1 })), ['/grace']);
});

test('two changes at once do not undo each other unseen', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  await gateway.client('pump');
  const both = await Promise.all([
    call('PATCH', '/v1/tokens/pump', { rooms: ['a'] }),
    call('PATCH', '/v1/tokens/pump', { rooms: ['b'] }),
  ]);
  const won = both.filter(({ status }) => status === 200);
  assert.ok(both.every(({ status }) => status === 200 || status === 409));
  const { rooms } = (await call('GET', '/v1/tokens/pump')).body;
  assert.ok(won.some(({ body }) => JSON.stringify(body.rooms) === JSON.stringify(rooms)));
});

test('roles, replaced tokens, versions and last uses outlive a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-tokens-'));
  try {
    const first = await openGateway({ dir });
    const old = await first.client('pump', { role: 'sensor', scopes: ['messages:read'] });
    assert.equal((await first.call(old, 'GET', '/v1/inbox')).status, 200);
    const { token } = (await first.call(first.hub.ownerToken, 'POST', '/v1/tokens/pump/rotate')).body;
    const before = first.desk.clients.find('pump');
    await first[Symbol.asyncDispose]();
    await using second = await openGateway({ dir });
    assert.deepEqual(second.desk.clients.find('pump'), before);
    assert.deepEqual([await statusOf(second, old), await statusOf(second, token)], [200, 200]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('many requests of a client cost no write of when it was last there', async () => {
  await using gateway = await openGateway();
  const pump = await gateway.client('pump');
  for (let n = 0; n < 20; n++) {
    await gateway.call(pump, 'GET', '/v1/me');
  }
  const onDisk = () => gateway.hub.store.read.clients().find(({ name }) => name === 'pump')?.used_from;
  assert.equal(onDisk(), null);
  assert.equal(gateway.desk.clients.find('pump')?.lastUsedFrom, '127.0.0.1');
  await (gateway.desk.clients as unknown as { flush(): Promise<void> }).flush();
  await eventually(async () => onDisk(), '127.0.0.1');
});

test('a change that names what was read is refused where another came first, and not because the client was there', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const pump = await gateway.client('pump');
  const read = await call('GET', '/v1/tokens/pump');
  const tag = read.headers.get('etag') ?? '';
  await gateway.call(pump, 'GET', '/v1/me');
  const change = (match: string, body: object) =>
    gateway.call(gateway.hub.ownerToken, 'PATCH', '/v1/tokens/pump', body, {
      headers: { 'if-match': match },
    });
  const used = await call('GET', '/v1/tokens/pump');
  assert.notEqual(used.headers.get('etag'), tag, 'it reads otherwise now');
  const mine = await change(tag, { rooms: [] });
  assert.equal(mine.status, 200, JSON.stringify(mine.body));
  const theirs = await change(tag, { rooms: ['hub'] });
  assert.deepEqual([theirs.status, theirs.body.code], [412, 'request/precondition-failed']);
  assert.equal((await change(mine.headers.get('etag') ?? '', { rooms: ['hub'] })).status, 200);
  assert.equal((await change('*', { rooms: [] })).status, 200);
});

test('a HEAD of what changes by being read reads nothing', async () => {
  await using gateway = await openGateway();
  const pump = await gateway.client('pump');
  const { deliveries } = (await gateway.call(pump, 'POST', '/v1/messages', { to: 'app:pump', text: 'x' }))
    .body;
  assert.equal(deliveries[0].state, 'queued');
  for (const path of ['/v1/inbox?wait=30', '/v1/events']) {
    const { status, body } = await gateway.call(pump, 'HEAD', path);
    assert.deepEqual([status, body], [200, '']);
  }
  const [item] = gateway.desk.messages.list(gateway.hub.owner, {}).items;
  assert.equal(item?.deliveries[0]?.state, 'queued');
  const response = await fetch(`${gateway.url}/v1/inbox`, { method: 'HEAD' });
  assert.equal(response.status, 401);
});

test('a token that is revoked on a full disk is not good any more, and the revocation can be repeated', async () => {
  await using boss = await openBoss();
  const { gateway, call } = boss;
  const { body: made } = await call('POST', '/v1/tokens', { name: 'pump', role: 'member' });
  const socket = await openSocket(gateway, made.token);
  const { committer } = gateway.hub.store;
  const { commit } = committer;
  committer.commit = ((verb: string, ...rest: never[]) =>
    verb.startsWith('client.') && verb !== 'client.used'
      ? Promise.reject(new GatewayError('store/full', 'no room left to store anything', { retryable: true }))
      : commit(verb as never, ...(rest as unknown as [never]))) as typeof commit;
  for (const [method, path, body] of [
    ['PATCH', '/v1/tokens/pump', { expiresAt: Date.now() + 60_000 }],
    ['POST', '/v1/tokens/pump/rotate', { grace: 0 }],
  ] as const) {
    const refused = await call(method, path, body);
    assert.equal(refused.status, 507);
    assert.match(refused.body.detail, /no room left to store anything: the token is as it was/);
    assert.equal(await statusOf(gateway, made.token), 200);
  }
  for (const time of ['first', 'again']) {
    const refused = await call('DELETE', '/v1/tokens/pump');
    assert.equal(refused.status, 507, time);
    assert.match(refused.body.detail, /revoked until the hub starts again; repeat it/);
    assert.equal(await statusOf(gateway, made.token), 401);
  }
  assert.equal(await socket.closed, 4001);
  committer.commit = commit;
  assert.equal((await call('DELETE', '/v1/tokens/pump')).status, 204);
  assert.equal((await call('DELETE', '/v1/tokens/pump')).status, 404);
  const row = gateway.hub.store.read.clients().find(({ name }) => name === 'pump');
  assert.equal(typeof row?.revoked_at, 'number');
});
