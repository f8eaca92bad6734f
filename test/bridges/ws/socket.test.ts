import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { eventSchema, messageViewSchema } from '../../../src/bridges/schema.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { memoryBridge } from '../../gateway/fixture.ts';
import { eventually, foreign, openGateway } from '../gateway.ts';
import { bearer, dial, isAck, isError, isHello, isMessage } from './dial.ts';

test('a socket says hello with its token in either place, and anything else first is refused', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using byHeader = dial(gateway, bearer(a));
  byHeader.say({ op: 'hello' });
  const hello = await byHeader.until(isHello);
  assert.equal(hello.hub, gateway.desk.hub.id);
  assert.equal(typeof hello.cursor, 'string');
  using byFrame = dial(gateway);
  byFrame.say({ op: 'hello', token: a });
  assert.equal((await byFrame.until(isHello)).client, 'app:a');
  using impatient = dial(gateway);
  impatient.say({ op: 'send', id: '1', message: { to: 'app:a', text: 'x' } });
  assert.equal((await impatient.until(isError)).problem.code, 'request/unauthenticated');
  assert.equal(await impatient.closed(), 4001);
  using wrong = dial(gateway);
  wrong.say({ op: 'hello', token: 'wrong' });
  assert.equal(await wrong.closed(), 4001);
  using silent = dial(gateway);
  silent.say({ op: 'hello' });
  assert.equal(await silent.closed(), 4001);
});

test('a wrong token in the header refuses the upgrade itself', async () => {
  await using gateway = await openGateway();
  using socket = dial(gateway, bearer('wrong'));
  const [, response] = await once(socket.ws, 'unexpected-response');
  assert.equal(response.statusCode, 401);
});

test('a page of another site cannot open a socket', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, { ...bearer(a), origin: 'http://evil.example' });
  const [, response] = await once(socket.ws, 'unexpected-response');
  assert.equal(response.statusCode, 403);
});

test('the path without an upgrade says what it wants', async () => {
  await using gateway = await openGateway();
  const answer = await gateway.call(undefined, 'GET', '/v1/ws');
  assert.equal(answer.status, 426);
  assert.equal(answer.headers.get('upgrade'), 'websocket');
});

test('a send is acknowledged once durable, and a repeat of its id is the same message', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  const send = { op: 'send', id: 'k-1', message: { to: 'app:b', text: 'over the wire' } };
  socket.say(send);
  const first = await socket.until(isAck);
  messageViewSchema.parse(first.message);
  assert.equal(first.id, 'k-1');
  const inbox = await gateway.call(b, 'GET', '/v1/inbox');
  assert.equal(inbox.body.items[0].message.id, first.message.id);
  socket.say(send);
  const second = await socket.until(isAck);
  assert.deepEqual([second.message.id, second.replayed], [first.message.id, true]);
  socket.say({ ...send, message: { to: 'app:b', text: 'other' } });
  assert.equal((await socket.until(isError)).problem.code, 'request/idempotency-mismatch');
});

test('a socket that asks for envelopes gets and sends them', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello', form: 'klp' });
  await socket.until(isHello);
  socket.say({ op: 'subscribe', id: 'all' });
  socket.say({
    op: 'send',
    id: 'one',
    envelope: { to: 'app:a', type: 'task', payload: 'hello', signature: 's' },
  });
  const { message } = await socket.until(isAck);
  assert.deepEqual(
    [message.protocol, message.type, message.payload, message.signature],
    ['klp/1', 'task', { text: 'hello' }, 's'],
  );
  const event = await socket.until(isMessage);
  assert.deepEqual(event.message, message);
  socket.say({ op: 'send', id: 'two' });
  assert.equal((await socket.until(isError)).problem.code, 'request/invalid');
  socket.say({ op: 'send', id: 'three', envelope: { to: 'app:a', from: 'app:b' } });
  assert.equal((await socket.until(isError)).problem.code, 'request/forbidden');
});

test('what came while a socket was away comes when it is back with its cursor, once', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const send = (text: string) => gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text });
  let cursor: string;
  {
    using socket = dial(gateway, bearer(b));
    socket.say({ op: 'hello' });
    socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
    await socket.until(isHello);
    await send('one');
    const one = await socket.until(isMessage);
    eventSchema.parse(one);
    assert.equal(one.message.text, 'one');
    cursor = one.cursor;
  }
  await send('two');
  await send('three');
  using socket = dial(gateway);
  socket.say({ op: 'hello', token: b, after: cursor });
  socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
  assert.equal((await socket.until(isMessage)).message.text, 'two');
  assert.equal((await socket.until(isMessage)).message.text, 'three');
});

test('what was not seen comes again to a socket without a cursor, what was seen does not', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const send = (text: string) => gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text });
  const sent = await send('one');
  await send('two');
  const next = async (seen: boolean) => {
    using socket = dial(gateway, bearer(b));
    socket.say({ op: 'hello' });
    socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
    const event = await socket.until(isMessage);
    if (seen) {
      socket.say({ op: 'seen', cursor: event.cursor });
      // Frames are taken in order: when the send is acknowledged, the cursor was.
      socket.say({ op: 'send', id: `after-${event.cursor}`, message: { to: 'app:a', text: 'ok' } });
      await socket.until(isAck);
    }
    return event.message.text;
  };
  assert.equal(await next(false), 'one');
  assert.equal(await next(true), 'one');
  assert.equal(await next(false), 'two');
  const view = await gateway.call(a, 'GET', `/v1/messages/${sent.body.id}`);
  assert.equal(view.body.deliveries[0].state, 'delivered');
});

test('what was not pushed on a socket cannot be seen by it', async () => {
  await using gateway = await openGateway();
  const [a, b] = await Promise.all(['a', 'b'].map(name => gateway.client(name)));
  const send = async (text: string) =>
    (await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text })).body;
  const first = await send('one');
  using socket = dial(gateway, bearer(b!));
  socket.say({ op: 'hello' });
  const start = await socket.until(isHello);
  const later = await send('two');
  const ahead = gateway.desk.events.cursor;
  socket.say({ op: 'seen', cursor: ahead });
  const refused = await socket.until(isError);
  assert.equal(refused.problem.code, 'request/invalid');
  assert.deepEqual(refused.problem.errors[0].pointer, '/cursor');
  socket.say({ op: 'seen', cursor: start.cursor });
  socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
  const event = await socket.until(isMessage);
  assert.equal(event.message.id, first.id);
  const second = await socket.until(isMessage);
  socket.say({ op: 'seen', cursor: event.cursor });
  socket.say({ op: 'send', id: 'after', message: { to: 'app:a', text: 'ok' } });
  await socket.until(isAck);
  assert.equal(second.message.id, later.id);
  const stateOf = async (id: string) =>
    (await gateway.call(a, 'GET', `/v1/messages/${id}`)).body.deliveries[0].state;
  assert.equal(await stateOf(first.id), 'delivered');
  assert.notEqual(await stateOf(later.id), 'delivered');
});

test('a subscription shows what its filter says, and nothing of other clients', async () => {
  await using gateway = await openGateway();
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(name => gateway.client(name)));
  using socket = dial(gateway, bearer(b!));
  socket.say({ op: 'hello' });
  socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'], peers: ['app:c'] } });
  socket.say({ op: 'subscribe', id: 't', filter: { kinds: ['message.accepted'], types: ['test.wanted'] } });
  await socket.until(isHello);
  const send = (from: string | undefined, message: object) =>
    gateway.call(from, 'POST', '/v1/messages', message);
  await send(a, { to: 'app:c', text: 'not for b' });
  await send(a, { to: 'app:b', text: 'unwanted' });
  await send(a, { to: 'app:b', text: 'wanted by type', type: 'test.wanted' });
  await send(c, { to: 'app:b', text: 'wanted by peer' });
  const seen: string[] = [];
  await socket.until(frame => {
    if (isMessage(frame)) {
      seen.push(frame.message.text);
    }
    return frame.message?.text === 'wanted by peer';
  });
  assert.deepEqual(seen, ['wanted by type', 'wanted by peer']);
});

test('frames that are wrong are answered with what is wrong, and the socket lives on', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  await socket.until(isHello);
  const wrong: [unknown, string][] = [
    ['{', 'request/invalid'],
    ['[]', 'request/invalid'],
    ['{"op":"send","op":"seen"}', 'request/invalid'],
    [{ op: 'dance' }, 'request/invalid'],
    [{ op: 'hello' }, 'request/conflict'],
    [{ op: 'seen', cursor: 'nonsense' }, 'request/invalid'],
    [{ op: 'subscribe', id: 's', filter: { kinds: ['weather'] } }, 'request/invalid'],
    [{ op: 'send', id: 'x', message: { to: 'app:nobody', text: 'x' } }, 'request/not-found'],
  ];
  for (const [frame, code] of wrong) {
    socket.say(frame);
    assert.equal((await socket.until(isError)).problem.code, code, JSON.stringify(frame));
  }
  socket.say({ op: 'send', id: 'x-1', message: { to: 'app:a', from: 'app:b', text: 7 } });
  const refused = await socket.until(isError);
  assert.equal(refused.id, 'x-1');
  assert.deepEqual(refused.problem.errors.map(({ pointer }: { pointer: string }) => pointer).sort(), [
    '/message/from',
    '/message/text',
  ]);
  socket.ws.send(Buffer.from([1, 2, 3]), { binary: true });
  assert.equal((await socket.until(isError)).problem.code, 'request/unsupported');
  socket.say({ op: 'send', id: 'fine', message: { to: 'app:a', text: 'still here' } });
  assert.equal((await socket.until(isAck)).id, 'fine');
});

test('a frame beyond the limit ends its socket and nothing else', async () => {
  await using gateway = await openGateway({ ws: { frameBytes: 1000 } });
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  using other = dial(gateway, bearer(a));
  socket.say('x'.repeat(2000));
  assert.equal(await socket.closed(), 1009);
  other.say({ op: 'hello' });
  await other.until(isHello);
});

test('a client that reads too slowly is closed with 4008 and can resume', async () => {
  // Long enough for whoever reads at all, on however busy a machine.
  const patience = 1500;
  await using gateway = await openGateway({ ws: { slack: 1024, patience } });
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  using slow = dial(gateway, bearer(b));
  slow.say({ op: 'hello' });
  slow.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
  const { cursor } = await slow.until(isHello);
  slow.ws.pause();
  const text = 'x'.repeat(250_000);
  const count = 64;
  for (let i = 0; i < count; i++) {
    const sent = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: `${i} ${text}` });
    assert.equal(sent.status, 201);
  }
  await systemClock.sleep(2 * patience);
  slow.ws.resume();
  assert.equal(await slow.closed(), 4008);
  using quick = dial(gateway, bearer(b));
  quick.say({ op: 'hello', after: cursor });
  quick.say({ op: 'subscribe', id: 's', filter: { kinds: ['message.accepted'] } });
  for (let i = 0; i < count; i++) {
    assert.match((await quick.until(isMessage)).message.text, new RegExp(`^${i} `));
  }
});

test('a cursor that is expired closes with 4009', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello', after: foreign(gateway.desk.events.cursor) });
  assert.equal((await socket.until(isError)).problem.code, 'request/cursor-expired');
  assert.equal(await socket.closed(), 4009);
});

test('a socket too many is told to come later, and not that its token is bad', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const sockets = Array.from({ length: 32 }, () => dial(gateway, bearer(a)));
  for (const socket of sockets) {
    socket.say({ op: 'hello' });
    await socket.until(isHello);
  }
  using late = dial(gateway, bearer(a));
  late.say({ op: 'hello' });
  const { problem } = await late.until(({ op }) => op === 'error');
  assert.equal(problem.code, 'request/rate-limited');
  assert.equal(await late.closed(), 1013);
  sockets.pop()?.[Symbol.dispose]();
  let isIn = false;
  for (let tries = 0; tries < 200 && !isIn; tries++) {
    const next = dial(gateway, bearer(a));
    sockets.push(next);
    next.say({ op: 'hello' });
    isIn = (await next.until(({ op }) => op === 'hello' || op === 'error')).op === 'hello';
  }
  assert.ok(isIn, 'there is room again');
  for (const socket of sockets) {
    socket[Symbol.dispose]();
  }
});

test('what a socket says it has seen waits in its socket, not in the memory of the hub', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  const { cursor } = await socket.until(isHello);
  const { promise: disk, resolve: work } = Promise.withResolvers<void>();
  const frames = 20_000;
  let begun = 0;
  Object.assign(gateway.desk.inbox, {
    seen() {
      begun += 1;
      return disk;
    },
  });
  for (let n = 0; n < frames; n++) {
    socket.ws.send(JSON.stringify({ op: 'seen', cursor }));
  }
  let before = -1;
  for (let still = 0; still < 20; still = begun === before && begun > 0 ? still + 1 : 0) {
    before = begun;
    await systemClock.sleep(10);
  }
  // What was read in one piece is worked off.
  assert.ok(begun < frames / 2, `${begun} wait for the disk`);
  work();
  await eventually(async () => begun, frames);
});

test('a cursor that is none is named by the member it stands in', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  await socket.until(isHello);
  for (const cursor of ['e1-1', 'nonsense', 'i1-1']) {
    socket.say({ op: 'seen', cursor });
    const { problem } = await socket.until(({ op }) => op === 'error');
    assert.deepEqual([problem.status, problem.errors[0].pointer], [400, '/cursor']);
  }
});

test('a revoked token closes its sockets, and a stopping gateway all', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  using revoked = dial(gateway, bearer(a));
  using stopped = dial(gateway, bearer(b));
  for (const socket of [revoked, stopped]) {
    socket.say({ op: 'hello' });
    await socket.until(isHello);
  }
  await gateway.desk.clients.revoke('a');
  assert.equal(await revoked.closed(), 4001);
  await gateway.listener.close();
  assert.equal(await stopped.closed(), 1012);
});

test('a message from the mesh comes to the sockets of those it is for, and to no others', async () => {
  const lxmf = memoryBridge();
  await using gateway = await openGateway({ bridges: [lxmf] });
  const member = await gateway.client('member');
  const stranger = await gateway.client('stranger', { rooms: [] });
  using inside = dial(gateway, bearer(member));
  using outside = dial(gateway, bearer(stranger));
  for (const socket of [inside, outside]) {
    socket.say({ op: 'hello' });
    socket.say({ op: 'subscribe', id: 's' });
    await socket.until(isHello);
  }
  await lxmf.say({ remoteId: 'far-1', to: `lxmf:${gateway.desk.hub.lxmf}`, text: 'to whom it concerns' });
  const heard = await inside.until(isMessage);
  assert.equal(heard.message.text, 'to whom it concerns');
  assert.equal(heard.message.to, 'room:hub');
  const sent = await gateway.call(member, 'POST', '/v1/messages', { to: 'app:stranger', text: 'only this' });
  assert.equal(sent.status, 201);
  assert.equal((await outside.until(isMessage)).message.text, 'only this');
});

test('a delivery to the mesh is followed to its end', async () => {
  const lxmf = memoryBridge();
  await using gateway = await openGateway({ bridges: [lxmf] });
  const a = await gateway.client('a');
  using socket = dial(gateway, bearer(a));
  socket.say({ op: 'hello' });
  socket.say({ op: 'subscribe', id: 's', filter: { kinds: ['delivery.changed'] } });
  await socket.until(isHello);
  socket.say({
    op: 'send',
    id: '1',
    message: { to: `lxmf:${'ab'.repeat(16)}`, text: 'hi', correlation: 'c-1' },
  });
  const end = await socket.until(frame => frame.delivery?.state === 'delivered');
  assert.equal(end.delivery.correlation, 'c-1');
  assert.equal(end.delivery.bridge, 'lxmf');
});

test('a socket whose other end does not answer pings is ended', async () => {
  await using gateway = await openGateway({ ws: { ping: 50 } });
  const a = await gateway.client('a');
  using dead = dial(gateway, bearer(a), { autoPong: false });
  assert.equal(await dead.closed(), 1006);
});

test('a first frame whose mistake is longer than a close frame holds ends its own socket and nothing else', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  using other = dial(gateway, bearer(a));
  for (const letter of ['x', 'é', '語', '📡']) {
    using stranger = dial(gateway);
    stranger.say({ op: 'hello', [letter.repeat(100)]: 1 });
    assert.equal((await stranger.until(isError)).problem.code, 'request/invalid');
    assert.equal(await stranger.closed(), 4001);
  }
  other.say({ op: 'hello' });
  await other.until(isHello);
});

test('only what a subscription showed is marked as sent', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  using socket = dial(gateway, bearer(b));
  socket.say({ op: 'hello' });
  await socket.until(isHello);
  socket.say({ op: 'subscribe', id: 's', filter: { types: ['alarm.fire'] } });
  const post = async (type: string) =>
    (await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', type, text: type })).body.id;
  const quiet = await post('chat.message');
  const loud = await post('alarm.fire');
  assert.equal((await socket.until(isMessage)).message.id, loud);
  const state = async (id: string) =>
    (await gateway.call(a, 'GET', `/v1/messages/${id}`)).body.deliveries[0].state;
  await eventually(() => state(loud), 'sent');
  assert.equal(await state(quiet), 'queued');
});
