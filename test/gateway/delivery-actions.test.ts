import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

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
