import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, ghost, openRig, peer, type Rig, registration } from './rig.ts';

async function call(
  rig: Rig,
  method: string,
  path: string,
  { token = registration.hs_token as string | null, body = undefined as unknown } = {},
) {
  const answer = await fetch(`${rig.url}${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as { errcode?: string } };
}

const base = '/_matrix/app/v1';

test('without the hs_token nothing is told or taken, with the codes of Matrix', async () => {
  await using rig = await openRig();
  const put = (token: string | null) =>
    call(rig, 'PUT', `${base}/transactions/1`, { token, body: { events: [] } });
  const none = await put(null);
  assert.deepEqual([none.status, none.body.errcode], [401, 'M_MISSING_TOKEN']);
  const wrong = await put('hs-token-of-the-test-onlx');
  assert.deepEqual([wrong.status, wrong.body.errcode], [403, 'M_FORBIDDEN']);
  assert.equal((await put(registration.hs_token)).status, 200);
  const query = await call(rig, 'POST', `${base}/ping?access_token=${registration.hs_token}`, {
    token: null,
    body: { transaction_id: 'x' },
  });
  assert.equal(query.status, 200);
  assert.equal((await call(rig, 'GET', `${base}/users/@x:y`, { token: null })).status, 401);
  assert.equal((await call(rig, 'GET', `${base}/nothing`, { token: null })).status, 401);
});

test('unknown paths and methods are M_UNRECOGNIZED, a body that is no JSON is M_NOT_JSON', async () => {
  await using rig = await openRig();
  const nothing = await call(rig, 'GET', `${base}/nothing`);
  assert.deepEqual([nothing.status, nothing.body.errcode], [404, 'M_UNRECOGNIZED']);
  const method = await call(rig, 'POST', `${base}/transactions/1`, { body: {} });
  assert.deepEqual([method.status, method.body.errcode], [405, 'M_UNRECOGNIZED']);
  const broken = await call(rig, 'PUT', `${base}/transactions/1`, { body: '{"events": [' });
  assert.deepEqual([broken.status, broken.body.errcode], [400, 'M_NOT_JSON']);
});

test('whatever is in a transaction, it is taken: a homeserver would send nothing else until then', async () => {
  await using rig = await openRig();
  await rig.up();
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const bodies = [
    '{"events":[null,1,"x",[],{}]}',
    '{"events":{"a":1},"ephemeral":7}',
    '{"events":[{"event_id":"$a","room_id":"!r","type":"m.room.message","sender":"@a:b","content":{"__proto__":{"x":1},"constructor":{"prototype":1},"msgtype":"m.text","body":"x"}}]}',
    `{"events":[{"event_id":"$b","room_id":"!r","type":"m.room.message","sender":"@a:b","content":{"deep":${deep}}}]}`,
    `{"events":[{"event_id":"$c","room_id":"!r","type":"m.room.message","sender":"@a:b","content":{"msgtype":"m.text","body":"\\ud83d","n":1e400,"m":12345678901234567890}}]}`,
    '{"events":[{"event_id":"$d","room_id":"!r","type":"m.room.member","state_key":"@_kos_ü:home.test","sender":"@a:b","content":{"membership":"invite"}}]}',
    '{}',
  ];
  for (const [index, body] of bodies.entries()) {
    assert.equal(
      (await call(rig, 'PUT', `${base}/transactions/${index}`, { body })).status,
      200,
      body.slice(0, 80),
    );
  }
  assert.ok(rig.counters.get('matrix/event/malformed') >= 5);
});

test('the same transaction again is answered at once; the same number with another body is another one', async () => {
  await using rig = await openRig({ rooms: { plaza: { members: [`lxmf:${peer}`] } } });
  await rig.up();
  const alice = rig.homeserver.person('alice');
  const room = alice.join('#_kos_plaza:home.test');
  await eventually(() => rig.homeserver.pusher.idle);
  const event = (id: string) => ({
    event_id: id,
    room_id: room,
    type: 'm.room.message',
    sender: '@alice:home.test',
    origin_server_ts: 1,
    content: { msgtype: 'm.text', body: id },
  });
  const put = (txn: string, ...ids: string[]) =>
    call(rig, 'PUT', `${base}/transactions/${txn}`, { body: { events: ids.map(event) } });
  await put('900', '$1');
  await put('900', '$1');
  assert.equal(rig.counters.get('matrix/transaction/repeated'), 1);
  await put('900', '$2');
  await put('901', '$2', '$3');
  await eventually(() => rig.mesh.delivered.length >= 3);
  assert.deepEqual(
    rig.mesh.delivered.map(({ message }) => message.text),
    ['$1', '$2', '$3'],
  );
});

test('asked for users and rooms, the gateway says yes to mesh peers and its rooms, who are there by then', async () => {
  await using rig = await openRig({ rooms: { plaza: { members: [] } } });
  await rig.up();
  const ask = async (path: string) => (await call(rig, 'GET', `${base}${path}`)).status;
  assert.equal(await ask(`/users/${encodeURIComponent(ghost)}`), 200);
  assert.ok(rig.homeserver.names.has(ghost));
  for (const user of [
    '@_kos_nobody:home.test',
    '@alice:home.test',
    `@_kos_${peer}:other.test`,
    '@_kos_bot:home.test',
  ]) {
    assert.equal(await ask(`/users/${encodeURIComponent(user)}`), 404, user);
  }
  assert.equal(await ask(`/rooms/${encodeURIComponent('#_kos_plaza:home.test')}`), 200);
  assert.equal(await ask(`/rooms/${encodeURIComponent('#_kos_other:home.test')}`), 404);
  const legacy = await call(rig, 'GET', `/users/${encodeURIComponent(ghost)}`);
  assert.equal(legacy.status, 200);
});
