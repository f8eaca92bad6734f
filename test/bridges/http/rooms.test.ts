import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBridge } from '../../gateway/fixture.ts';
import { openGateway, type TestGateway } from '../gateway.ts';

const ada = `lxmf:${'a1'.repeat(16)}`;
const path = encodeURIComponent;

/** A gateway with a mesh, and short words for calls of its owner. */
async function open(options: Parameters<typeof openGateway>[0] = {}) {
  const gateway = await openGateway({ bridges: [memoryBridge(), memoryBridge('mqtt')], ...options });
  const call = (method: string, at: string, body?: unknown, headers: Record<string, string> = {}) =>
    gateway.call(gateway.hub.ownerToken, method, at, body, { headers });
  return { gateway, call, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const as = (gateway: TestGateway, token: string) => (method: string, at: string, body?: unknown) =>
  gateway.call(token, method, at, body);

test('a room is made, read, replaced, changed in part and taken away over the API', async () => {
  await using bench = await open();
  const { call } = bench;
  const made = await call('POST', '/v1/rooms', { name: 'plaza', members: [ada], open: true });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get('location'), '/v1/rooms/plaza');
  const { status, headers, body } = await call('GET', '/v1/rooms/plaza');
  assert.equal(status, 200);
  assert.equal(headers.get('etag'), made.headers.get('etag'));
  assert.deepEqual([body.members, body.open, body.source, body.changed], [[ada], true, 'api', false]);
  assert.deepEqual(body.memberStates, [{ address: ada, source: 'api' }]);
  assert.equal((await call('POST', '/v1/rooms', { name: 'plaza' })).status, 409);
  const put = await call('PUT', '/v1/rooms/plaza', { members: ['mqtt:square'] });
  assert.deepEqual([put.status, put.body.members, put.body.open], [200, ['mqtt:square'], false]);
  assert.equal((await call('PUT', '/v1/rooms/yard', {})).status, 201);
  const patched = await call('PATCH', '/v1/rooms/plaza', { open: true });
  assert.deepEqual([patched.body.members, patched.body.open], [['mqtt:square'], true]);
  const added = await call('PUT', `/v1/rooms/plaza/members/${path('mqtt:dev/pump/1')}`);
  assert.deepEqual(added.body.members, ['mqtt:square', 'mqtt:dev/pump/1']);
  assert.equal((await call('DELETE', `/v1/rooms/plaza/members/${path('mqtt:square')}`)).status, 204);
  assert.equal((await call('DELETE', `/v1/rooms/plaza/members/${path('mqtt:square')}`)).status, 404);
  assert.equal((await call('DELETE', '/v1/rooms/plaza')).status, 204);
  assert.equal((await call('GET', '/v1/rooms/plaza')).status, 404);
  assert.equal((await call('DELETE', '/v1/rooms/hub')).status, 409);
});

test('a change is made only of what was read, where it says what it read', async () => {
  await using bench = await open({ rooms: { plaza: { members: [ada] } } });
  const { call } = bench;
  const tag = (await call('GET', '/v1/rooms/plaza')).headers.get('etag')!;
  const change = (headers: Record<string, string>, method = 'PATCH') =>
    call(method, '/v1/rooms/plaza', method === 'DELETE' ? undefined : { open: true }, headers);
  assert.equal((await change({ 'if-match': '"other"' })).status, 412);
  assert.equal((await change({ 'if-match': `W/${tag}` })).status, 412, 'a weak tag is none to go by');
  assert.equal((await change({ 'if-none-match': '*' }, 'PUT')).status, 412);
  const done = await change({ 'if-match': `"other", ${tag}` });
  assert.equal(done.status, 200);
  assert.notEqual(done.headers.get('etag'), tag);
  assert.equal((await change({ 'if-match': tag })).status, 412);
  assert.equal((await change({ 'if-match': tag }, 'DELETE')).status, 412);
  assert.equal((await change({ 'if-match': '*' }, 'DELETE')).status, 204);
  assert.equal((await change({ 'if-match': '*' }, 'PUT')).status, 412, 'it is gone');
  const answers = await Promise.all([1, 2, 3].map(() => change({ 'if-none-match': '*' }, 'PUT')));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 412, 412]);
});

test('mistakes in a room have their places, and who may not change one is told so', async () => {
  await using bench = await open({ rooms: { plaza: { members: [] } } });
  const { call, gateway } = bench;
  const pointers = async (body: object) =>
    (await call('POST', '/v1/rooms', body)).body.errors.map((one: { pointer: string }) => one.pointer);
  assert.deepEqual(await pointers({ name: 'No', members: ['x', 'room:hub'], more: 1 }), [
    '/name',
    '/members/0',
    '/members/1',
    '/more',
  ]);
  assert.equal((await call('PUT', '/v1/rooms/plaza/members/nobody')).status, 400);
  const reader = as(gateway, await gateway.client('reader', { scopes: ['messages:read'], rooms: ['plaza'] }));
  const writer = as(gateway, await gateway.client('writer', { scopes: ['messages:read', 'rooms:write'] }));
  assert.equal((await reader('GET', '/v1/rooms/plaza')).status, 200);
  assert.equal((await reader('PATCH', '/v1/rooms/plaza', { open: true })).status, 403);
  assert.equal((await writer('GET', '/v1/rooms/plaza')).status, 404);
  assert.equal((await writer('DELETE', '/v1/rooms/plaza')).status, 404);
  assert.equal((await writer('PATCH', '/v1/rooms/hub', { open: true })).status, 403);
  assert.equal((await writer('POST', '/v1/rooms', { name: 'mine' })).body.members[0], 'app:writer');
  assert.equal((await writer('POST', '/v1/rooms/mine/reset')).status, 403);
  assert.equal((await writer('GET', '/v1/routes')).status, 403);
  assert.equal((await writer('PATCH', `/v1/peers/${path(ada)}`, { trust: 'known' })).status, 403);
});

test('a rule is made, tried, switched off and taken away; one of the configuration is only switched off', async () => {
  const template = { text: 'Temperature {data.values.t|round:1} °C at {from.id}', withoutData: true };
  const configured = { from: 'mqtt:dev/#', to: ['mqtt:copy'] };
  await using bench = await open({ routes: [configured] });
  const { call } = bench;
  const [first] = (await call('GET', '/v1/routes')).body.items;
  assert.equal(first.source, 'config');
  const rule = {
    id: 'frost',
    from: 'mqtt:dev/#',
    type: 'sensor.*',
    to: [ada],
    maxRate: '1/10m',
    priority: 'bulk',
    template,
  };
  const made = await call('POST', '/v1/routes', rule);
  assert.deepEqual([made.status, made.headers.get('location')], [201, '/v1/routes/frost']);
  assert.equal((await call('POST', '/v1/routes', rule)).status, 409);
  const message = { from: 'mqtt:dev/pump', type: 'sensor.reading', data: { values: { t: 3.149 } } };
  const trial = (await call('POST', '/v1/route-test', { message })).body;
  assert.deepEqual(trial, {
    to: 'room:sensors',
    matches: [
      { id: first.id, adds: 1 },
      { id: 'frost', adds: 1 },
    ],
    recipients: [
      {
        to: 'mqtt:copy',
        bridge: 'mqtt',
        route: first.id,
        priority: 'normal',
        type: 'sensor.reading',
        text: '',
        passes: true,
      },
      {
        to: ada,
        bridge: 'lxmf',
        route: 'frost',
        priority: 'bulk',
        type: 'sensor.reading',
        text: 'Temperature 3.1 °C at dev/pump',
        passes: true,
      },
    ],
  });
  assert.equal((await call('PATCH', `/v1/routes/${first.id}`, { enabled: false })).status, 200);
  assert.equal((await call('PATCH', `/v1/routes/${first.id}`, { to: ['mqtt:x'] })).status, 409);
  assert.equal((await call('DELETE', `/v1/routes/${first.id}`)).status, 409);
  const changed = await call('PATCH', '/v1/routes/frost', { maxRate: null, order: -5 });
  assert.deepEqual([changed.body.maxRate, changed.body.order], [undefined, -5]);
  const ids = (await call('GET', '/v1/routes')).body.items.map((one: { id: string }) => one.id);
  assert.deepEqual(ids, ['frost', first.id]);
  const { headers } = await call('GET', '/v1/routes/frost');
  const put = (tag: string) => call('PUT', '/v1/routes/frost', { ...configured }, { 'if-match': tag });
  assert.equal((await put('"old"')).status, 412);
  assert.equal((await put(headers.get('etag')!)).status, 200);
  const wrong = await call('POST', '/v1/routes', {
    from: 'mqtt:*',
    to: ['room:none'],
    template: { text: 'at {form.name}' },
  });
  assert.deepEqual(
    wrong.body.errors.map((one: { pointer: string }) => one.pointer),
    ['/template/text'],
  );
  const lost = await call('POST', '/v1/routes', { from: 'mqtt:*', to: ['room:none'] });
  assert.deepEqual(lost.body.errors[0].pointer, '/to/0');
  assert.equal((await call('DELETE', '/v1/routes/frost')).status, 204);
  assert.equal((await call('DELETE', '/v1/routes/frost')).status, 404);
});

test('the owner names a peer, trusts it, blocks it, and finds it by that', async () => {
  const lxmf = memoryBridge();
  await using bench = await open({ bridges: [lxmf] });
  const { call } = bench;
  (await lxmf.port).seen(ada, { at: 5000, name: 'ada-phone', hops: 1 });
  const at = `/v1/peers/${path(ada)}`;
  const { headers } = await call('GET', at);
  const patched = await call(
    'PATCH',
    at,
    { name: 'Ada', trust: 'trusted' },
    { 'if-match': headers.get('etag')! },
  );
  assert.deepEqual(patched.body, {
    address: ada,
    name: 'Ada',
    heardName: 'ada-phone',
    lastSeen: 5000,
    hops: 1,
    trust: 'trusted',
  });
  assert.equal((await call('PATCH', at, { trust: null }, { 'if-match': headers.get('etag')! })).status, 412);
  for (const query of ['q=ada-ph', 'q=Ada', 'trust=trusted', 'search=ada']) {
    assert.equal((await call('GET', `/v1/peers?${query}`)).body.items.length, 1, query);
  }
  assert.equal((await call('GET', '/v1/peers?trust=known')).body.items.length, 0);
  const unheard = `/v1/peers/${path(`lxmf:${'77'.repeat(16)}`)}`;
  assert.equal((await call('GET', unheard)).status, 404);
  assert.deepEqual((await call('PATCH', unheard, { blocked: true })).body.blocked, true);
  assert.equal((await call('GET', unheard)).body.lastSeen, undefined);
  assert.equal((await call('GET', '/v1/blocks')).body.items.length, 1);
  const block = await call('PUT', `/v1/blocks/${path('matrix:@*:spam.example')}`, { reason: 'spam' });
  assert.deepEqual([block.status, block.body.reason], [200, 'spam']);
  assert.equal((await call('GET', `/v1/blocks/${path('matrix:@*:spam.example')}`)).status, 200);
  assert.equal((await call('DELETE', `/v1/blocks/${path('matrix:@*:spam.example')}`)).status, 204);
  assert.equal((await call('DELETE', `/v1/blocks/${path('matrix:@*:spam.example')}`)).status, 404);
  assert.equal((await call('PUT', `/v1/blocks/${path('app:owner')}`, {})).status, 400);
  const plain = await call('PATCH', at, { name: null, trust: null });
  assert.deepEqual(plain.body, { address: ada, name: 'ada-phone', lastSeen: 5000, hops: 1 });
});

test('a rule that is asked for again under its key is the same one, and another is refused', async () => {
  await using bench = await open();
  const { call } = bench;
  const rule = { from: 'mqtt:dev/#', to: [ada] };
  const make = (body: object, key = 'k') => call('POST', '/v1/routes', body, { 'idempotency-key': key });
  const first = await make(rule);
  assert.equal(first.status, 201, JSON.stringify(first.body));
  assert.equal(first.headers.get('idempotency-replayed'), null);
  const again = await make({ ...rule, enabled: true }, '"k"');
  assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [201, 'true']);
  assert.deepEqual(again.body, first.body);
  assert.equal(again.headers.get('location'), first.headers.get('location'));
  assert.equal((await make({ ...rule, priority: 'bulk' })).status, 422);
  assert.notEqual((await make(rule, 'other')).body.id, first.body.id);
  const named = { ...rule, id: 'frost' };
  assert.deepEqual([(await make(named)).status, (await make(named)).status], [201, 201]);
  assert.equal((await make({ ...named, priority: 'bulk' })).status, 409, 'the id is taken');
  assert.equal((await call('GET', '/v1/routes')).body.items.length, 3);
});
