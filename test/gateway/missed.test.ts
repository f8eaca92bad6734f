import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MessageDraft } from '../../src/gateway/desk.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;
const rooms = { both: { members: [peer, 'app:reader'] } };

function to(hub: TestSwitch, message: string, address = peer) {
  const delivery = hub.desk.messages.get(hub.owner, message).deliveries.find(one => one.to === address);
  assert.ok(delivery);
  return delivery;
}

function refuse(): never {
  throw new GatewayError('bridge/rejected', 'too strange');
}

async function posted(hub: TestSwitch, draft: MessageDraft) {
  return (await hub.desk.messages.post(hub.owner, draft)).message;
}

const textsOf = (bridge: MemoryBridge) => bridge.delivered.map(({ message }) => message.text);

for (const where of [peer, 'room:both']) {
  test(`an edit of what failed is not sent to ${where === peer ? 'a peer' : 'a member'} who has nothing: its answer says so, and sent again the message says it`, async () => {
    const bridge = memoryBridge();
    bridge.respond = refuse;
    await using hub = await openTestSwitch({ bridges: [bridge], rooms });
    const message = await posted(hub, { to: where, text: 'at noon' });
    await until(() => to(hub, message.id).state === 'failed');
    bridge.respond = () => ({ state: 'delivered' });
    const before = hub.desk.events.cursor;
    const edit = await posted(hub, { to: where, type: 'chat.edit', text: 'at one', inReplyTo: message.id });
    const told = edit.deliveries.find(one => one.to === peer);
    assert.deepEqual(
      [told?.state, told?.reason],
      ['cancelled', 'its message has not arrived there: sent again, that says this'],
    );
    const { items } = hub.desk.events.read(hub.owner, before, 100);
    assert.ok(items.some(({ delivery }) => delivery?.id === told?.id && delivery?.state === 'cancelled'));
    const again = await posted(hub, { to: where, type: 'chat.edit', text: 'at two', inReplyTo: edit.id });
    assert.equal(
      again.deliveries.find(one => one.to === peer)?.state,
      'cancelled',
      'nor what changes the edit',
    );
    await hub.desk.deliveries.retry(hub.owner, to(hub, message.id).id);
    await until(() => to(hub, message.id).state === 'delivered');
    assert.deepEqual(textsOf(bridge), ['at noon', 'at one']);
    const last = await posted(hub, { to: where, type: 'chat.edit', text: 'at six', inReplyTo: message.id });
    await until(() => to(hub, last.id).state === 'delivered');
    assert.deepEqual(textsOf(bridge), ['at noon', 'at one', 'at six']);
  });

  test(`a redaction of what failed says to its sender that ${where === peer ? 'a peer' : 'a member'} had nothing of it`, async () => {
    const bridge = memoryBridge();
    bridge.respond = refuse;
    await using hub = await openTestSwitch({ bridges: [bridge], rooms });
    const message = await posted(hub, { to: where, text: 'at noon' });
    await until(() => to(hub, message.id).state === 'failed');
    const back = await posted(hub, { to: where, type: 'chat.redaction', inReplyTo: message.id });
    const told = back.deliveries.find(one => one.to === peer);
    assert.deepEqual(
      [told?.state, told?.reason],
      ['cancelled', 'its message has not arrived there: it is not sent again'],
    );
    await assert.rejects(hub.desk.deliveries.retry(hub.owner, to(hub, message.id).id), {
      code: 'request/conflict',
    });
    assert.deepEqual(textsOf(bridge), ['at noon']);
  });
}

test('an edit of what was called back or is out of time says which', async () => {
  const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const waiting = await posted(hub, { to: peer, text: 'at noon' });
  await until(() => to(hub, waiting.id).reason === 'no path yet');
  await hub.desk.messages.cancel(hub.owner, waiting.id);
  const brief = await posted(hub, { to: peer, text: 'now', expiresAt: Date.now() + 200 });
  await until(() => to(hub, brief.id).state === 'expired');
  const edits = [waiting, brief].map(({ id }) =>
    posted(hub, { to: peer, type: 'chat.edit', text: 'later', inReplyTo: id }),
  );
  assert.deepEqual(
    (await Promise.all(edits)).map(({ deliveries }) => deliveries[0]?.reason),
    [
      'its message has not arrived there: it was called back',
      'its message has not arrived there: its time was over',
    ],
  );
});

test('an edit that was accepted before its message failed is not sent by itself either', async () => {
  const bridge = memoryBridge();
  const answer = Promise.withResolvers<never>();
  bridge.respond = () => answer.promise;
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const message = await posted(hub, { to: peer, text: 'at noon' });
  await until(() => bridge.delivered.length === 1);
  const edit = await posted(hub, { to: peer, type: 'chat.edit', text: 'at one', inReplyTo: message.id });
  const other = await posted(hub, { to: peer, text: 'something else' });
  assert.equal(to(hub, edit.id).state, 'queued');
  bridge.respond = () => ({ state: 'delivered' });
  answer.reject(new GatewayError('bridge/rejected', 'too strange'));
  await until(() => to(hub, other.id).state === 'delivered');
  await until(() => to(hub, edit.id).state === 'cancelled');
  assert.equal(to(hub, edit.id).reason, 'its message has not arrived there: sent again, that says this');
  await hub.desk.deliveries.retry(hub.owner, to(hub, message.id).id);
  await until(() => to(hub, message.id).state === 'delivered');
  assert.deepEqual(textsOf(bridge), ['at noon', 'something else', 'at one']);
});

test('what failed and is proven to have arrived is delivered, told once, and what was changed meanwhile follows', async () => {
  const bridge = memoryBridge();
  bridge.respond = refuse;
  await using hub = await openTestSwitch({ bridges: [bridge], rooms });
  const message = await posted(hub, { to: 'room:both', text: 'at noon' });
  await until(() => to(hub, message.id).state === 'failed');
  const { id } = to(hub, message.id);
  for (const text of ['at one', 'at two']) {
    await posted(hub, { to: 'room:both', type: 'chat.edit', text, inReplyTo: message.id });
  }
  bridge.respond = () => ({ state: 'delivered' });
  const before = hub.desk.events.cursor;
  const port = await bridge.port;
  await Promise.all([port.report(id, { state: 'delivered' }), port.report(id, { state: 'delivered' })]);
  await port.report(id, { state: 'delivered' });
  await until(() => bridge.delivered.length === 2);
  await until(() => hub.desk.health().queued === 0);
  assert.deepEqual(textsOf(bridge), ['at noon', 'at two']);
  assert.equal(to(hub, message.id).reason, 'it arrived after all, and had failed');
  const { items } = hub.desk.events.read(hub.owner, before, 100);
  assert.deepEqual(
    items.filter(({ delivery }) => delivery?.id === id).map(({ delivery }) => delivery?.state),
    ['delivered'],
  );
  assert.deepEqual(hub.desk.deliveries.list(hub.owner, { state: 'failed' }).items, []);
  await assert.rejects(hub.desk.deliveries.retry(hub.owner, id), { code: 'request/conflict' });
});

test('what was called back and arrived all the same stays called back and says so, and what takes it back follows', async () => {
  const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const message = await posted(hub, { to: peer, text: 'at noon' });
  await until(() => to(hub, message.id).reason === 'no path yet');
  await hub.desk.messages.cancel(hub.owner, message.id);
  const back = await posted(hub, { to: peer, type: 'chat.redaction', inReplyTo: message.id });
  assert.equal(to(hub, back.id).state, 'cancelled');
  bridge.respond = () => ({ state: 'delivered' });
  const port = await bridge.port;
  await port.report(to(hub, message.id).id, { state: 'delivered' });
  await until(() => to(hub, back.id).state === 'delivered');
  const { state, reason, history } = to(hub, message.id);
  assert.deepEqual([state, reason], ['cancelled', 'called back; it arrived all the same']);
  await port.report(to(hub, message.id).id, { state: 'read' });
  assert.equal(to(hub, message.id).history.length, history.length);
});
