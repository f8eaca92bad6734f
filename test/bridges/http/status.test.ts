import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../../src/lib/errors.ts';
import { memoryBridge } from '../../gateway/fixture.ts';
import { openGateway } from '../gateway.ts';

test('liveness, readiness, the document and its page need no token', async () => {
  await using gateway = await openGateway();
  assert.deepEqual((await gateway.call(undefined, 'GET', '/healthz')).body, { status: 'ok' });
  const ready = await gateway.call(undefined, 'GET', '/readyz');
  assert.equal(ready.status, ready.body.ready ? 200 : 503);
  assert.ok(Array.isArray(ready.body.failures));
  const document = await gateway.call(undefined, 'GET', '/openapi.json');
  assert.equal(document.body.openapi, '3.1.0');
  assert.equal(document.body.info.version, gateway.desk.hub.version);
  const page = await gateway.call(undefined, 'GET', '/docs');
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.doesNotMatch(page.body, /(?:src|href)="https?:/, 'nothing comes from outside');
  assert.match(page.headers.get('content-security-policy') ?? '', /script-src 'self'/);
  assert.match(
    (await gateway.call(undefined, 'GET', '/docs/docs.js')).headers.get('content-type') ?? '',
    /^text\/javascript/,
  );
});

test('status tells of the hub, its parts and its counters', async () => {
  await using gateway = await openGateway();
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const { status, body } = await gateway.call(watcher, 'GET', '/v1/status');
  assert.equal(status, 200);
  assert.equal(body.hub.id, gateway.desk.hub.id);
  assert.equal(body.hub.transport, 'off');
  assert.ok(Array.isArray(body.services));
  assert.equal(typeof body.counters, 'object');
});

test('a part that does not work makes the gateway unready, by name', async () => {
  const broken = memoryBridge();
  broken.run = async () => {
    throw new GatewayError('bridge/unavailable', 'the far side is gone');
  };
  await using gateway = await openGateway({ bridges: [broken] });
  const ready = await gateway.call(undefined, 'GET', '/readyz');
  assert.equal(ready.status, 503);
  assert.equal(ready.body.failures[0].name, 'lxmf');
  assert.match(ready.body.failures[0].reason, /far side/);
});

test('a server of somebody else that is away has a name among the failures, and the gateway is ready', async () => {
  const away = Object.assign(memoryBridge('matrix'), { isRemote: true });
  away.run = async () => {
    throw new GatewayError('bridge/unavailable', 'the homeserver is not reachable');
  };
  await using gateway = await openGateway({ bridges: [away] });
  const ready = await gateway.call(undefined, 'GET', '/readyz');
  assert.equal(ready.status, 200);
  assert.deepEqual(
    ready.body.failures.map(({ name }: { name: string }) => name),
    ['matrix'],
  );
  const broken = Object.assign(memoryBridge('matrix'), { isRemote: true });
  broken.run = async () => {
    throw new TypeError('a bug');
  };
  await using other = await openGateway({ bridges: [broken] });
  assert.equal((await other.call(undefined, 'GET', '/readyz')).status, 503);
});

test('who was heard is a peer with name, time and hops', async () => {
  const lxmf = memoryBridge();
  await using gateway = await openGateway({ bridges: [lxmf] });
  const watcher = await gateway.client('watcher', { scopes: ['peers:read'] });
  const address = `lxmf:${'ab'.repeat(16)}`;
  (await lxmf.port).seen(address, { at: 5000, name: 'Alice', hops: 2 });
  const peer = await gateway.call(watcher, 'GET', `/v1/peers/${encodeURIComponent(address)}`);
  assert.deepEqual(peer.body, { address, name: 'Alice', lastSeen: 5000, hops: 2 });
  const found = await gateway.call(watcher, 'GET', '/v1/peers?search=ali');
  assert.deepEqual(found.body.items, [peer.body]);
});

test('announcing is for the owner', async () => {
  await using gateway = await openGateway();
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  assert.equal((await gateway.call(watcher, 'POST', '/v1/mesh/announce')).status, 403);
  const { status, body } = await gateway.call(gateway.hub.ownerToken, 'POST', '/v1/mesh/announce');
  assert.equal(status, 200);
  assert.equal(typeof body.sent, 'boolean');
});

test('peers are listed, and one that was never heard is 404', async () => {
  await using gateway = await openGateway();
  const watcher = await gateway.client('watcher', { scopes: ['peers:read'] });
  const list = await gateway.call(watcher, 'GET', '/v1/peers?limit=10');
  assert.equal(list.status, 200);
  assert.ok(Array.isArray(list.body.items));
  assert.equal((await gateway.call(watcher, 'GET', `/v1/peers/lxmf:${'0'.repeat(32)}`)).status, 404);
  assert.equal((await gateway.call(watcher, 'GET', '/v1/peers/nobody')).status, 400);
});

test('every path of the table answers 405 with Allow to a method it does not have', async () => {
  await using gateway = await openGateway();
  const { body } = await gateway.call(undefined, 'GET', '/openapi.json');
  for (const [path, methods] of Object.entries<object>(body.paths)) {
    const missing = ['PATCH', 'PUT', 'DELETE', 'POST'].find(method => !(method.toLowerCase() in methods));
    assert.ok(missing);
    const answer = await gateway.call(undefined, missing, path.replaceAll(/\{\w+\}/g, 'x'));
    assert.equal(answer.status, 405, path);
    for (const method of Object.keys(methods)) {
      assert.ok(answer.headers.get('allow')?.includes(method.toUpperCase()), path);
    }
  }
});
