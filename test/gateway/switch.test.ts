import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { memoryBridge, openTestSwitch, testHub, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;

test('a message posted by an app is delivered by the bridge of its address', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'hello' });
  assert.equal(message.deliveries.length, 1);
  const done = await until(() => {
    const view = hub.desk.messages.get(hub.owner, message.id);
    return view.deliveries[0]?.state === 'delivered' && view;
  });
  assert.deepEqual(
    done.deliveries[0]?.history.map(step => step.state),
    ['queued', 'sending', 'delivered'],
  );
  assert.equal(lxmf.delivered[0]?.message.text, 'hello');
});

test('a far message to the hub goes to everybody in its room, and a repeat to nobody', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { client: inside } = await hub.client('inside');
  const { client: outside } = await hub.client('outside', { rooms: [] });
  const first = await lxmf.say({ remoteId: 'one', to: `lxmf:${testHub.lxmf}`, text: 'hi' });
  const again = await lxmf.say({ remoteId: 'one', to: `lxmf:${testHub.lxmf}`, text: 'hi' });
  assert.deepEqual(again, { id: first.id, repeated: true });
  for (const [client, texts] of [
    [inside, ['hi']],
    [hub.owner, ['hi']],
    [outside, []],
  ] as const) {
    const page = await hub.desk.inbox.read(client, {});
    assert.deepEqual(
      page.items.map(item => item.message.text),
      texts,
    );
  }
});

test("a reply to an app's message goes to that app alone", async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { client: asker } = await hub.client('asker');
  const { message } = await hub.desk.messages.post(asker, { to: peer, text: 'question' });
  await lxmf.say({ remoteId: 'answer', to: `lxmf:${testHub.lxmf}`, text: 'answer', inReplyTo: message.id });
  const page = await hub.desk.inbox.read(asker, {});
  assert.deepEqual(
    page.items.map(item => item.message.to),
    ['app:asker'],
  );
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, {})).items, []);
});

test('reading on by the cursor acknowledges, and the sender sees each state', async () => {
  await using hub = await openTestSwitch();
  const { client: reader } = await hub.client('reader');
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'app:reader', text: 'note' });
  const page = await hub.desk.inbox.read(reader, { wait: 1000 });
  assert.equal(page.items.length, 1);
  await until(() => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state === 'sent');
  const next = await hub.desk.inbox.read(reader, { after: page.cursor });
  assert.deepEqual(next.items, []);
  assert.equal(hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state, 'delivered');
  assert.deepEqual((await hub.desk.inbox.read(reader, {})).items, []);
});

test('a note to oneself arrives', async () => {
  await using hub = await openTestSwitch();
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'hello' });
  assert.equal((await hub.desk.inbox.read(hub.owner, {})).items.length, 1);
});

test('a long poll wakes with the first message and ends with its time', async () => {
  await using hub = await openTestSwitch();
  const waiting = hub.desk.inbox.read(hub.owner, { wait: 60_000 });
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'hello' });
  assert.equal((await waiting).items.length, 1);
  assert.deepEqual(
    (await hub.desk.inbox.read(hub.owner, { after: (await waiting).cursor, wait: 5 })).items,
    [],
  );
});

test('the same key gives the first answer, and another body under it is refused', async () => {
  await using hub = await openTestSwitch();
  const first = await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'once' }, 'key');
  const again = await hub.desk.messages.post(hub.owner, { text: 'once', to: 'app:owner' }, 'key');
  assert.equal(again.repeated, true);
  assert.equal(again.message.id, first.message.id);
  await assert.rejects(hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'twice' }, 'key'), {
    code: 'request/idempotency-mismatch',
  });
  assert.equal((await hub.desk.inbox.read(hub.owner, {})).items.length, 1);
});

test('an address nobody has is refused with a pointer', async () => {
  await using hub = await openTestSwitch({ bridges: [memoryBridge()] });
  for (const to of ['matrix:@a:b', 'app:nobody', 'room:none', 'lxmf:', 'nonsense']) {
    await assert.rejects(hub.desk.messages.post(hub.owner, { to, text: '' }), (error: GatewayError) => {
      assert.equal(error.code, 'request/not-found');
      assert.equal(error.errors[0]?.pointer, '/to');
      return true;
    });
  }
});

test('what waits says why, and goes at once when the far side is reachable', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'hello' });
  const state = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0];
  const waiting = await until(() => state()?.reason === 'no path yet' && state());
  assert.equal(waiting.state, 'queued');
  assert.ok((waiting.nextAt ?? 0) > message.acceptedAt);
  lxmf.respond = () => ({ state: 'delivered', remoteId: 'far' });
  (await lxmf.port).reachable(peer);
  await until(() => state()?.state === 'delivered');
  assert.equal((await lxmf.port).resolve('far'), message.id);
  assert.deepEqual((await lxmf.port).remoteIds(message.id), ['far']);
});

test('a poisoned message parks itself and lets the next pass, in order', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = ({ message }) => {
    if (message.text === 'poison') {
      throw new GatewayError('bridge/rejected', 'cannot be said');
    }
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const ids: string[] = [];
  for (const text of ['one', 'poison', 'two']) {
    ids.push((await hub.desk.messages.post(hub.owner, { to: peer, text })).message.id);
  }
  const states = () => ids.map(id => hub.desk.messages.get(hub.owner, id).deliveries[0]?.state);
  await until(() => states().at(-1) === 'delivered');
  assert.deepEqual(states(), ['delivered', 'failed', 'delivered']);
  assert.deepEqual(
    lxmf.delivered.map(delivery => delivery.message.text),
    ['one', 'poison', 'two'],
  );
});

test('what is queued can be cancelled and is not sent then', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = () => {
    throw new GatewayError('bridge/unavailable', 'away', { retryable: true });
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'never' });
  await until(
    () =>
      lxmf.delivered.length === 1 &&
      hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state === 'queued',
  );
  const cancelled = await hub.desk.messages.cancel(hub.owner, message.id);
  assert.equal(cancelled.deliveries[0]?.state, 'cancelled');
  (await lxmf.port).reachable(peer);
  assert.equal(lxmf.delivered.length, 1);
});

test('events come in the order of commits, each client sees its own, and a cursor resumes', async () => {
  await using hub = await openTestSwitch();
  const start = hub.desk.events.cursor;
  const { client: other } = await hub.client('other');
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'mine', correlation: 'c1' });
  const mine = hub.desk.events.read(hub.owner, start);
  assert.deepEqual(
    mine.items.map(event => event.kind),
    ['message.accepted', 'delivery.changed'],
  );
  assert.equal(mine.items[1]?.delivery?.correlation, 'c1');
  assert.deepEqual(hub.desk.events.read(hub.owner, mine.items[0]?.cursor ?? '').items, mine.items.slice(1));
  assert.deepEqual(hub.desk.events.read(other, start).items, []);
});

test('a stream acknowledges by event cursors', async () => {
  await using hub = await openTestSwitch();
  const start = hub.desk.inbox.unseenSince(hub.owner);
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'one' });
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'two' });
  assert.equal(hub.desk.inbox.unseenSince(hub.owner), start);
  await hub.desk.inbox.pushed(hub.owner, [message.id]);
  assert.equal(hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state, 'sent');
  const first = hub.desk.events.read(hub.owner, start).items[0];
  await hub.desk.inbox.seen(hub.owner, first?.cursor ?? '');
  assert.equal(hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state, 'delivered');
  assert.deepEqual(
    (await hub.desk.inbox.read(hub.owner, {})).items.map(item => item.message.text),
    ['two'],
  );
});
