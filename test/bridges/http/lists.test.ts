import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../../src/lib/errors.ts';
import { memoryBridge } from '../../gateway/fixture.ts';
import { eventually, openGateway } from '../gateway.ts';

const alice = `lxmf:${'a1'.repeat(16)}`;
const bob = `lxmf:${'b0'.repeat(16)}`;

test('conversations are the far sides and rooms there were messages with, the newest first', async () => {
  const lxmf = memoryBridge();
  await using gateway = await openGateway({ bridges: [lxmf], rooms: { plaza: { members: ['app:owner'] } } });
  const owner = gateway.hub.ownerToken;
  (await lxmf.port).seen(alice, { at: 5000, name: 'Alice' });
  const send = (token: string, to: string, text: string) =>
    gateway.call(token, 'POST', '/v1/messages', { to, text });
  const board = await gateway.client('board', { rooms: [] });
  await send(owner, bob, 'to bob');
  await send(owner, 'room:plaza', 'to all');
  await send(board, 'app:owner', 'from the board');
  await lxmf.say({ remoteId: '1', from: alice, to: `lxmf:${gateway.desk.hub.lxmf}`, text: 'x'.repeat(500) });
  const { status, body } = await gateway.call(owner, 'GET', '/v1/conversations');
  assert.equal(status, 200);
  assert.deepEqual(
    body.items.map(({ address }: { address: string }) => address),
    [alice, 'app:board', 'room:plaza', bob],
  );
  assert.equal(body.items[0].name, 'Alice');
  assert.equal(body.items[0].last.text.length, 240);
  assert.equal(body.cursor, null);
  const first = await gateway.call(owner, 'GET', '/v1/conversations?limit=2');
  const rest = await gateway.call(owner, 'GET', `/v1/conversations?limit=9&after=${first.body.cursor}`);
  assert.deepEqual(
    rest.body.items.map(({ address }: { address: string }) => address),
    ['room:plaza', bob],
  );
  const mine = await gateway.call(board, 'GET', '/v1/conversations');
  assert.deepEqual(
    mine.body.items.map(({ address }: { address: string }) => address),
    ['app:owner'],
    'others see their own',
  );
});

test('what waits is listed with its reason and can be called back; what failed is listed apart', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = ({ to }) => {
    throw to === bob
      ? new GatewayError('bridge/rejected', 'not wanted')
      : new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  await using gateway = await openGateway({ bridges: [lxmf] });
  const owner = gateway.hub.ownerToken;
  const board = await gateway.client('board');
  const other = await gateway.client('other');
  const sent = await gateway.call(board, 'POST', '/v1/messages', { to: alice, text: 'hello' });
  await gateway.call(board, 'POST', '/v1/messages', { to: alice, text: 'and more' });
  await gateway.call(board, 'POST', '/v1/messages', { to: bob, text: 'hello' });
  const list = async (token: string, query = '') =>
    (await gateway.call(token, 'GET', `/v1/deliveries${query}`)).body.items;
  await eventually(async () => (await list(owner))[0]?.reason, 'no path yet');
  const [first, second] = await list(owner);
  assert.equal(first.message.id, sent.body.id);
  assert.equal(first.message.from, 'app:board');
  assert.equal(first.to, alice);
  assert.ok(first.nextAt > 0 && first.attempts === 1, JSON.stringify(first));
  assert.match(second.reason, /no path yet|go first/);
  const page = await gateway.call(owner, 'GET', '/v1/deliveries?limit=1');
  assert.equal(page.body.items.length, 1);
  const next = await gateway.call(owner, 'GET', `/v1/deliveries?limit=1&after=${page.body.cursor}`);
  assert.equal(next.body.items[0].id, second.id);
  assert.equal(next.body.cursor, null);
  await eventually(async () => (await list(owner, '?state=failed'))[0]?.reason, 'not wanted');
  assert.equal((await list(board)).length, 2);
  assert.deepEqual(await list(other), [], 'others see their own');
  await gateway.call(owner, 'DELETE', `/v1/messages/${sent.body.id}`);
  await eventually(async () => (await list(owner)).length, 1);
  assert.equal((await gateway.call(owner, 'GET', '/v1/deliveries?state=delivered')).status, 400);
});

test('rooms are listed with their members, to whom is in them', async () => {
  await using gateway = await openGateway({ rooms: { plaza: { members: [alice] } } });
  const board = await gateway.client('board', { rooms: ['plaza'] });
  const rooms = async (token: string) =>
    (await gateway.call(token, 'GET', '/v1/rooms')).body.items as { name: string; members: string[] }[];
  assert.deepEqual((await rooms(gateway.hub.ownerToken)).map(({ name }) => name).sort(), [
    'hub',
    'plaza',
    'sensors',
  ]);
  const mine = await rooms(board);
  assert.deepEqual(mine[0]?.members, [alice, 'app:board']);
  assert.equal(mine.length, 1);
});

test('peers can be asked for by when they were heard, a page at a time', async () => {
  const lxmf = memoryBridge();
  await using gateway = await openGateway({ bridges: [lxmf] });
  const port = await lxmf.port;
  for (const [index, at] of [300, 100, 200].entries()) {
    port.seen(`lxmf:${String(index).repeat(32)}`, { at, name: `n${index}` });
  }
  const names: string[] = [];
  for (let after = ''; ; ) {
    const { body } = await gateway.call(
      gateway.hub.ownerToken,
      'GET',
      `/v1/peers?order=seen&limit=2${after && `&after=${after}`}`,
    );
    names.push(...body.items.map(({ name }: { name: string }) => name));
    if (body.cursor === null) {
      break;
    }
    after = body.cursor;
  }
  assert.deepEqual(names, ['n0', 'n2', 'n1']);
});
