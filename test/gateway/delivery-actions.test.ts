import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;

function first(hub: TestSwitch, message: string) {
  const [delivery] = hub.desk.messages.get(hub.owner, message).deliveries;
  assert.ok(delivery);
  return delivery;
}

test('what failed is sent again on request, by its sender alone', async () => {
  const bridge = memoryBridge();
  bridge.respond = () => {
    throw new GatewayError('bridge/rejected', 'too strange');
  };
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { client: mallory } = await hub.client('mallory');
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'strange' });
  await until(() => first(hub, message.id).state === 'failed');
  const { id } = first(hub, message.id);
  await assert.rejects(hub.desk.deliveries.retry(mallory, id), error =>
    isGatewayError(error, 'request/not-found'),
  );
  await assert.rejects(hub.desk.deliveries.cancel(hub.owner, id), error =>
    isGatewayError(error, 'request/conflict'),
  );

  bridge.respond = async () => ({ state: 'delivered' });
  const again = await hub.desk.deliveries.retry(hub.owner, id);
  assert.notEqual(again.state, 'failed');
  await until(() => first(hub, message.id).state === 'delivered');
  assert.deepEqual(
    first(hub, message.id)
      .history.filter(({ state }) => state !== 'sending')
      .map(({ state }) => state),
    ['queued', 'failed', 'queued', 'delivered'],
  );
  assert.equal(bridge.delivered.length, 2);
  assert.equal(bridge.delivered[0]?.id, bridge.delivered[1]?.id, 'the far side can tell that it is a repeat');
  await assert.rejects(hub.desk.deliveries.retry(hub.owner, id), error =>
    isGatewayError(error, 'request/conflict'),
  );
});

test('what is ambiguous is sent again or settled, as a person decides', async () => {
  const bridge = memoryBridge('mqtt', { deduplicates: false });
  bridge.respond = () => new Promise(() => {});
  const first = await openTestSwitch({ bridges: [bridge] });
  const ids: string[] = [];
  for (const to of ['mqtt:a', 'mqtt:b']) {
    const { message } = await first.desk.messages.post(first.owner, { to, text: to });
    ids.push(message.deliveries[0]?.id ?? '');
  }
  await until(() => bridge.delivered.length === 2);
  // The process did not end: its rows are put into the state that a restart gives them.
  for (const id of ids) {
    const at = Date.now();
    const input = { on: 'restart', deduplicates: false } as const;
    assert.equal(
      await first.store.committer.commit('delivery.advance', { id, inputs: [{ input, at }] }),
      'ambiguous',
    );
  }
  const { items } = first.desk.deliveries.list(first.owner, { state: 'ambiguous' });
  assert.equal(items.length, 2);
  assert.equal((await first.desk.deliveries.cancel(first.owner, ids[0] ?? '')).state, 'cancelled');
  assert.equal(first.desk.deliveries.list(first.owner, { state: 'ambiguous' }).items.length, 1);
  const retried = await first.desk.deliveries.retry(first.owner, ids[1] ?? '');
  assert.equal(retried.state, 'queued');
  await first.stop();
});

test('what waits is tried at once on request, and what is out of time is not', async () => {
  const bridge = memoryBridge();
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  await using hub = await openTestSwitch({ bridges: [bridge], limits: { firstRetry: 60_000 } });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'soon' });
  await until(() => bridge.delivered.length === 1 && first(hub, message.id).reason === 'no path yet');
  bridge.respond = async () => ({ state: 'delivered' });
  await hub.desk.deliveries.retry(hub.owner, first(hub, message.id).id);
  await until(() => first(hub, message.id).state === 'delivered');

  bridge.respond = () => {
    throw new GatewayError('bridge/rejected', 'no');
  };
  const brief = await hub.desk.messages.post(hub.owner, { to: peer, text: 'x', expiresAt: Date.now() + 300 });
  await until(() => first(hub, brief.message.id).state === 'failed');
  await until(() => Date.now() > brief.message.expiresAt);
  await assert.rejects(hub.desk.deliveries.retry(hub.owner, first(hub, brief.message.id).id), error =>
    isGatewayError(error, 'request/conflict'),
  );
});

test('what was ambiguous may have arrived: an edit in its room follows, though it was settled', async () => {
  const bridge = memoryBridge('sms', { deduplicates: false });
  bridge.respond = () => {
    throw new GatewayError('mesh/timeout', 'no answer', { retryable: true });
  };
  await using hub = await openTestSwitch({
    bridges: [bridge],
    rooms: { both: { members: ['sms:bell'] } },
  });
  const post = (draft: object) => hub.desk.messages.post(hub.owner, { to: 'room:both', ...draft });
  const { message } = await post({ text: 'at noon' });
  await until(() => first(hub, message.id).state === 'ambiguous');
  await hub.desk.deliveries.cancel(hub.owner, first(hub, message.id).id);
  assert.equal(first(hub, message.id).state, 'cancelled');
  bridge.respond = () => ({ state: 'delivered' });
  const edit = await post({ type: 'chat.edit', text: 'at one', inReplyTo: message.id });
  await until(() => first(hub, edit.message.id).state === 'delivered');
});

/** A hub, a message in a room of one that has failed there, and a way to change it. */
async function failedInRoom(hub: TestSwitch, bridge: MemoryBridge) {
  bridge.respond = () => {
    throw new GatewayError('bridge/rejected', 'too strange');
  };
  const post = async (draft: object) =>
    (await hub.desk.messages.post(hub.owner, { to: 'room:both', ...draft })).message;
  const message = await post({ text: 'at noon', title: 'Lunch' });
  await until(() => first(hub, message.id).state === 'failed');
  const { id } = first(hub, message.id);
  bridge.respond = () => ({ state: 'delivered' });
  return { post, message, id };
}

const rooms = { both: { members: [peer, 'app:reader'] } };

test('what failed and was edited since says what was meant last when it is sent again', async () => {
  const bridge = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [bridge], rooms });
  const { client: mallory } = await hub.client('reader');
  const { post, message, id } = await failedInRoom(hub, bridge);
  const forged = { to: 'room:both', type: 'chat.edit', text: 'never', inReplyTo: message.id };
  await post({ type: 'chat.edit', text: 'at one', inReplyTo: message.id });
  const edit = await post({ type: 'chat.edit', text: 'at two', inReplyTo: message.id });
  await hub.desk.messages.post(mallory, forged);
  assert.equal(edit.deliveries.find(({ to }) => to === peer)?.state, 'cancelled');
  assert.ok(
    !bridge.delivered.some(one => one.message.id === edit.id),
    'who has nothing is not told of an edit',
  );
  await hub.desk.deliveries.retry(hub.owner, id);
  await until(() => first(hub, message.id).state === 'delivered');
  const got = bridge.delivered.filter(one => one.id === id).at(-1)?.message;
  assert.deepEqual([got?.type, got?.text, got?.title], ['chat.message', 'at two', 'Lunch']);
});

test('what failed and was taken back since is not sent again', async () => {
  const bridge = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [bridge], rooms });
  const { post, message, id } = await failedInRoom(hub, bridge);
  await post({ type: 'chat.redaction', inReplyTo: message.id });
  await post({ type: 'chat.edit', text: 'after that', inReplyTo: message.id });
  await assert.rejects(hub.desk.deliveries.retry(hub.owner, id), { code: 'request/conflict' });
  assert.equal(first(hub, message.id).state, 'failed');
  assert.equal(bridge.delivered.length, 1);
});

test('an edit that failed says what the next one says when it is sent again, and stays an edit', async () => {
  const bridge = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [bridge], rooms: { both: { members: [peer] } } });
  const post = async (draft: object) =>
    (await hub.desk.messages.post(hub.owner, { to: 'room:both', ...draft })).message;
  const message = await post({ text: 'one' });
  await until(() => first(hub, message.id).state === 'delivered');
  bridge.respond = () => {
    throw new GatewayError('bridge/rejected', 'too strange');
  };
  const edit = await post({ type: 'chat.edit', text: 'two', inReplyTo: message.id });
  await until(() => first(hub, edit.id).state === 'failed');
  bridge.respond = () => ({ state: 'delivered' });
  const next = await post({ type: 'chat.edit', text: 'three', inReplyTo: message.id });
  await until(() => first(hub, next.id).state === 'delivered');
  await hub.desk.deliveries.retry(hub.owner, first(hub, edit.id).id);
  await until(() => first(hub, edit.id).state === 'delivered');
  const got = bridge.delivered.at(-1)?.message;
  assert.deepEqual([got?.id, got?.type, got?.text], [edit.id, 'chat.edit', 'three']);
});

test('a change that is accepted while what failed is sent again has its say in it', async () => {
  for (const [type, sent] of [
    ['chat.edit', 1],
    ['chat.redaction', 0],
  ] as const) {
    const bridge = memoryBridge();
    await using hub = await openTestSwitch({ bridges: [bridge], rooms });
    const { post, message, id } = await failedInRoom(hub, bridge);
    const change = post({ type, text: 'at one', inReplyTo: message.id });
    const retried = hub.desk.deliveries.retry(hub.owner, id).catch(error => error);
    await Promise.all([change, retried]);
    await until(() => /^(?:delivered|cancelled|failed)$/.test(first(hub, message.id).state));
    assert.deepEqual(
      bridge.delivered.slice(1).map(one => one.message.text),
      sent === 1 ? ['at one'] : [],
    );
  }
});

test('what a rule words anew is worded so when it was edited and is sent again', async () => {
  const bridge = memoryBridge();
  await using hub = await openTestSwitch({
    bridges: [bridge],
    rooms: { both: { members: ['app:reader'] } },
    routes: [{ from: 'app:*', room: 'both', to: [peer], template: { text: '{title}: {text}' } }],
  });
  const { post, message, id } = await failedInRoom(hub, bridge);
  await post({ type: 'chat.edit', text: 'at one', inReplyTo: message.id });
  await hub.desk.deliveries.retry(hub.owner, id);
  await until(() => first(hub, message.id).state === 'delivered');
  assert.equal(bridge.delivered.at(-1)?.message.text, 'Lunch: at one');
});

test('what is called back while it is being taken up again is not sent', async () => {
  const bridge = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [bridge], rooms });
  const { message, id } = await failedInRoom(hub, bridge);
  const { committer } = hub.store;
  const { commit } = committer;
  const gate = Promise.withResolvers<void>();
  committer.commit = async (...given) => {
    committer.commit = commit;
    const result = await commit(...given);
    await gate.promise;
    return result;
  };
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  const retried = hub.desk.deliveries.retry(hub.owner, id);
  await until(() => first(hub, message.id).state === 'queued');
  const cancelled = hub.desk.deliveries.cancel(hub.owner, id);
  gate.resolve();
  await retried;
  await cancelled;
  await until(() => first(hub, message.id).state === 'cancelled');
  assert.equal(hub.desk.health().queued, 0);
});
