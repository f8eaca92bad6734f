import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, foreign, openGateway, pointers, type TestGateway } from '../gateway.ts';

/** Resolves once the gateway has begun with as many requests. Call it before they are made. */
function begun(gateway: TestGateway, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = count;
  gateway.listener.app.server.on('request', () => {
    left -= 1;
    if (left === 0) {
      setImmediate(resolve);
    }
  });
  return promise;
}

const texts = (body: { items: { message: { text: string } }[] }) =>
  body.items.map(({ message }) => message.text);

test('reading on with the cursor acknowledges, and an older cursor reads again', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const one = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'one' });
  await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'two' });
  const stateOfOne = async () =>
    (await gateway.call(a, 'GET', `/v1/messages/${one.body.id}`)).body.deliveries[0].state;
  assert.equal(await stateOfOne(), 'queued');
  const first = await gateway.call(b, 'GET', '/v1/inbox?limit=1');
  assert.deepEqual(texts(first.body), ['one']);
  await eventually(stateOfOne, 'sent');
  const again = await gateway.call(b, 'GET', '/v1/inbox');
  assert.deepEqual(texts(again.body), ['one', 'two'], 'what was not acknowledged comes again');
  const second = await gateway.call(b, 'GET', `/v1/inbox?after=${first.body.cursor}`);
  assert.deepEqual(texts(second.body), ['two']);
  await eventually(stateOfOne, 'delivered');
  const third = await gateway.call(b, 'GET', `/v1/inbox?after=${second.body.cursor}`);
  assert.deepEqual(third.body.items, []);
  assert.equal(typeof third.body.cursor, 'string');
  assert.deepEqual(texts((await gateway.call(b, 'GET', `/v1/inbox?after=${first.body.cursor}`)).body), [
    'two',
  ]);
});

test('a long poll is woken by the message it waits for', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const waiting = gateway.call(b, 'GET', '/v1/inbox?wait=60');
  const forNobody = gateway.call(a, 'GET', '/v1/inbox?wait=1');
  await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'wake up' });
  assert.deepEqual(texts((await waiting).body), ['wake up']);
  const nothing = await forNobody;
  assert.equal(nothing.status, 200);
  assert.deepEqual(nothing.body.items, []);
});

test('a long poll ends when its token is revoked, and when the gateway stops', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const both = begun(gateway, 2);
  const revoked = gateway.call(a, 'GET', '/v1/inbox?wait=60');
  const stopped = gateway.call(b, 'GET', '/v1/inbox?wait=60');
  await both;
  await gateway.desk.clients.revoke('a');
  assert.equal((await revoked).status, 401);
  await gateway.listener.close();
  const end = await stopped;
  assert.deepEqual([end.status, end.body.items], [200, []]);
});

test('a client that goes away while it waits takes nothing along', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const gone = new AbortController();
  const one = begun(gateway, 1);
  const waiting = gateway.call(b, 'GET', '/v1/inbox?wait=60', undefined, { signal: gone.signal });
  await one;
  gone.abort();
  await assert.rejects(waiting);
  await gateway.call(undefined, 'GET', '/healthz');
  await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'still here' });
  assert.deepEqual(texts((await gateway.call(b, 'GET', '/v1/inbox')).body), ['still here']);
});

test('waits, limits and cursors out of range are refused', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  assert.deepEqual(pointers(await gateway.call(a, 'GET', '/v1/inbox?wait=61&limit=1000&x=1')), [
    '/query/limit',
    '/query/wait',
    '/query/x',
  ]);
  assert.equal((await gateway.call(a, 'GET', '/v1/inbox?after=nonsense')).status, 400);
  assert.equal((await gateway.call(a, 'GET', '/v1/inbox?after=')).status, 200);
});

test('streams of one client are bounded', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const polls = Array.from({ length: 33 }, () => gateway.call(a, 'GET', '/v1/inbox?wait=60'));
  const refused = await Promise.race(polls);
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  await gateway.listener.close();
  await Promise.all(polls);
});

test('a cursor that lies before what is kept, or in another data directory, is 410', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const { cursor } = (await gateway.call(a, 'GET', '/v1/inbox')).body;
  const answer = await gateway.call(a, 'GET', `/v1/inbox?after=${foreign(cursor)}`);
  assert.equal(answer.status, 410);
  assert.equal(answer.body.code, 'request/cursor-expired');
});
