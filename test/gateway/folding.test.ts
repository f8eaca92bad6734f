import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Delivery } from '../../src/gateway/bridge.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;
const other = `lxmf:${'cd'.repeat(16)}`;
const away = () => {
  throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
};

/** A far side that says when something leaves, and is away. */
function absent(): MemoryBridge {
  const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
  bridge.respond = away;
  return bridge;
}

function deliveriesOf(hub: TestSwitch, id: string) {
  return hub.desk.messages.get(hub.owner, id).deliveries;
}

/** Lets the far side be there again, and gives what reaches it once the last of these did. */
async function arrive(bridge: MemoryBridge, hub: TestSwitch, last: string): Promise<readonly Delivery[]> {
  const got: Delivery[] = [];
  bridge.respond = async delivery => {
    got.push(delivery);
    return { state: 'delivered' };
  };
  for (const to of [peer, other]) {
    (await bridge.port).reachable(to);
  }
  await until(() => got.some(({ message }) => message.text === last));
  await until(() => hub.desk.health().queued === 0);
  return got;
}

async function tried(bridge: MemoryBridge, count: number): Promise<void> {
  await until(() => bridge.delivered.length >= count);
}

test('an edit of a message that has not left goes into it, and nothing else is sent', async () => {
  const bridge = absent();
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const post = (draft: object) => hub.desk.messages.post(hub.owner, { to: peer, ...draft });
  const { message } = await post({ text: 'at noon', title: 'Lunch' });
  await tried(bridge, 1);
  const edit = await post({ type: 'chat.edit', text: 'at one', inReplyTo: message.id });
  assert.equal(edit.message.deliveries[0]?.state, 'cancelled');
  assert.match(edit.message.deliveries[0]?.reason ?? '', /went into the message/);
  assert.match(deliveriesOf(hub, message.id)[0]?.reason ?? '', /changed before it left/);
  const twice = await post({ type: 'chat.edit', text: 'at two', inReplyTo: message.id });
  assert.equal(twice.message.deliveries[0]?.state, 'cancelled');

  const got = await arrive(bridge, hub, 'at two');
  assert.deepEqual(
    got.map(one => [one.message.id, one.message.type, one.message.text, one.message.title]),
    [[message.id, 'chat.message', 'at two', 'Lunch']],
  );
  assert.equal(
    hub.desk.messages.get(hub.owner, message.id).text,
    'at noon',
    'what was said is kept as it was',
  );
  await until(() => deliveriesOf(hub, message.id)[0]?.state === 'delivered');
});

test('a redaction of a message that has not left calls it back, edits and all', async () => {
  const bridge = absent();
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const post = (draft: object) => hub.desk.messages.post(hub.owner, { to: peer, ...draft });
  const { message } = await post({ text: 'a secret' });
  await tried(bridge, 1);
  await post({ type: 'chat.edit', text: 'the secret', inReplyTo: message.id });
  const redaction = await post({ type: 'chat.redaction', inReplyTo: message.id });
  assert.equal(redaction.message.deliveries[0]?.state, 'cancelled');
  assert.equal(deliveriesOf(hub, message.id)[0]?.state, 'cancelled');
  assert.match(deliveriesOf(hub, message.id)[0]?.reason ?? '', /taken back before it left/);
  await post({ text: 'something else' });
  const got = await arrive(bridge, hub, 'something else');
  assert.deepEqual(
    got.map(one => one.message.text),
    ['something else'],
  );
});

test('of edits that wait behind what was delivered only the last is sent, and of an edit taken back only that', async () => {
  const bridge = memoryBridge('lxmf', { tellsWhenSent: true });
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const post = (draft: object) => hub.desk.messages.post(hub.owner, { to: peer, ...draft });
  const { message } = await post({ text: 'one' });
  await until(() => deliveriesOf(hub, message.id)[0]?.state === 'delivered');
  bridge.respond = away;
  const first = await post({ type: 'chat.edit', text: 'two', inReplyTo: message.id });
  await tried(bridge, 2);
  await post({ type: 'chat.edit', text: 'three', inReplyTo: message.id });
  assert.equal(deliveriesOf(hub, first.message.id)[0]?.state, 'cancelled');
  const got = await arrive(bridge, hub, 'three');
  assert.deepEqual(
    got.map(one => one.message.text),
    ['three'],
  );
  bridge.respond = away;
  await post({ type: 'chat.edit', text: 'four', inReplyTo: message.id });
  await post({ type: 'chat.redaction', text: 'gone', inReplyTo: message.id });
  const after = await arrive(bridge, hub, 'gone');
  assert.deepEqual(
    after.map(one => one.message.type),
    ['chat.redaction'],
  );
});

test('what may have left is not rewritten: the edit follows it', async () => {
  const bridge = absent();
  bridge.respond = async delivery => {
    await (await bridge.port).report(delivery.id, { state: 'sent' });
    return away();
  };
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
  await until(() => deliveriesOf(hub, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
  await hub.desk.messages.post(hub.owner, {
    to: peer,
    type: 'chat.edit',
    text: 'second words',
    inReplyTo: message.id,
  });
  const got = await arrive(bridge, hub, 'second words');
  assert.deepEqual(
    got.map(one => one.message.text),
    ['first words', 'second words'],
  );
});

test('a far side that does not say when something leaves is told of a change by itself, once anything was tried', async () => {
  const bridge = memoryBridge('lxmf');
  bridge.respond = away;
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
  await until(() => deliveriesOf(hub, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
  await hub.desk.messages.post(hub.owner, {
    to: peer,
    type: 'chat.edit',
    text: 'second words',
    inReplyTo: message.id,
  });
  const got = await arrive(bridge, hub, 'second words');
  assert.equal(got.length, 2);
});

test('nobody rewrites what somebody else said, and a room’s members are each told what they need', async () => {
  const bridge = absent();
  bridge.respond = async ({ to }) => (to === other ? { state: 'delivered' } : away());
  await using hub = await openTestSwitch({
    bridges: [bridge],
    rooms: { both: { members: [peer, other, 'app:mallory'] } },
  });
  const { client: mallory } = await hub.client('mallory');
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'room:both', text: 'mine' });
  const stateOf = (to: string) => deliveriesOf(hub, message.id).find(one => one.to === to);
  await until(() => stateOf(other)?.state === 'delivered' && stateOf(peer)?.reason === 'no path yet');
  await hub.desk.messages.post(mallory, {
    to: 'room:both',
    type: 'chat.edit',
    text: 'forged',
    inReplyTo: message.id,
  });
  const edit = await hub.desk.messages.post(hub.owner, {
    to: 'room:both',
    type: 'chat.edit',
    text: 'mine still',
    inReplyTo: message.id,
  });
  const states = Object.fromEntries(edit.message.deliveries.map(({ to, state }) => [to, state]));
  assert.equal(states[peer], 'cancelled', 'it goes into what waits');
  assert.equal(states[other], 'queued', 'who has the first words is told');
  const got = await arrive(bridge, hub, 'mine still');
  assert.deepEqual(
    got.filter(({ to }) => to === peer).map(one => [one.message.type, one.message.text]),
    [
      ['chat.message', 'mine still'],
      ['chat.edit', 'forged'],
    ],
  );
});

test('a rewritten message is still one after a restart, with the file that the edit brought', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-fold-'));
  try {
    const before = absent();
    const first = await openTestSwitch({ dir, bridges: [before] });
    const { message } = await first.desk.messages.post(first.owner, { to: peer, text: 'see below' });
    await tried(before, 1);
    await first.desk.messages.post(first.owner, {
      to: peer,
      type: 'chat.edit',
      text: 'see the file',
      inReplyTo: message.id,
      attachments: [{ name: 'map.txt', mediaType: 'text/plain', base64: 'bWFw' }],
    });
    await first.stop();
    const after = memoryBridge('lxmf', { tellsWhenSent: true });
    await using hub = await openTestSwitch({ dir, bridges: [after] });
    await until(() => deliveriesOf(hub, message.id)[0]?.state === 'delivered');
    assert.equal(after.delivered.length, 1);
    assert.equal(after.delivered[0]?.message.text, 'see the file');
    assert.equal(after.delivered[0]?.message.attachments[0]?.name, 'map.txt');
    assert.equal(
      hub.store.read.rewritten(after.delivered[0]?.id ?? ''),
      undefined,
      'nothing is kept after the end',
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('edits that are accepted at the same time leave in their order, though both take the place of an earlier one', async () => {
  const bridge = memoryBridge('lxmf', { tellsWhenSent: true, concurrency: 1 });
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
  await until(() => deliveriesOf(hub, message.id)[0]?.state === 'delivered');
  bridge.respond = away;
  const edit = (text: string) =>
    hub.desk.messages.post(hub.owner, { to: peer, type: 'chat.edit', text, inReplyTo: message.id });
  await edit('second words');
  await tried(bridge, 2);
  await Promise.all([edit('third words'), edit('fourth words')]);
  const got = await arrive(bridge, hub, 'fourth words');
  assert.equal(got.at(-1)?.message.text, 'fourth words');
});

test('an edit goes into what has not left, though a full disk has left its row behind the truth', async () => {
  const bridge = absent();
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
  const first = () => deliveriesOf(hub, message.id)[0]!;
  await until(() => first().history.at(-1)?.reason === 'no path yet');
  // The end of the next attempt is what could not be written.
  const begun = [{ input: { on: 'attempt' } as const, at: Date.now() }];
  await hub.store.committer.commit('delivery.advance', { id: first().id, inputs: begun });
  const edit = { to: peer, type: 'chat.edit', text: 'second words', inReplyTo: message.id };
  await hub.desk.messages.post(hub.owner, edit);
  const got = await arrive(bridge, hub, 'second words');
  assert.deepEqual(
    got.map(one => one.message.text),
    ['second words'],
  );
});

test('of edits that are accepted at the same time the later one has the last word, though the message waits again', async () => {
  const bridge = absent();
  const gate = Promise.withResolvers<void>();
  bridge.respond = async () => {
    await gate.promise;
    return away();
  };
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
  await tried(bridge, 1);
  const edit = (text: string) =>
    hub.desk.messages.post(hub.owner, { to: peer, type: 'chat.edit', text, inReplyTo: message.id });
  // The first edit finds its message under way and follows it; the second one finds it waiting.
  const second = edit('second words');
  gate.resolve();
  await new Promise(resolve => setImmediate(resolve));
  await Promise.all([second, edit('third words')]);
  const got = await arrive(bridge, hub, 'third words');
  assert.equal(got.at(-1)?.message.text, 'third words');
});

test('what may have left with bytes that are kept is not rewritten after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-folding-'));
  try {
    const before = absent();
    before.respond = async ({ id }) => {
      await (await before.port).remember(id, Uint8Array.of(1));
      return away();
    };
    const first = await openTestSwitch({ dir, bridges: [before] });
    const { message } = await first.desk.messages.post(first.owner, { to: peer, text: 'first words' });
    await until(() => deliveriesOf(first, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
    await first.stop();
    const bridge = absent();
    await using hub = await openTestSwitch({ dir, bridges: [bridge] });
    await tried(bridge, 1);
    const edit = { to: peer, type: 'chat.edit', text: 'second words', inReplyTo: message.id };
    await hub.desk.messages.post(hub.owner, edit);
    const got = await arrive(bridge, hub, 'second words');
    assert.deepEqual(
      got.map(one => one.message.text),
      ['first words', 'second words'],
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

/** The writer dies after the next commit of this and before its word. */
function loseWord(hub: TestSwitch, verb: string): void {
  const { committer } = hub.store;
  const { commit } = committer;
  committer.commit = async (given, ...rest) => {
    const result = await commit(given, ...rest);
    if (given === verb) {
      committer.commit = commit;
      throw new GatewayError('store/unavailable', 'the writer is gone', { retryable: true });
    }
    return result;
  };
}

test('a change that is on disk without word of it has been made: the edit goes into what waits, the redaction calls it back', async () => {
  for (const type of ['chat.edit', 'chat.redaction']) {
    const bridge = absent();
    await using hub = await openTestSwitch({ bridges: [bridge] });
    const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first words' });
    await until(() => deliveriesOf(hub, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
    loseWord(hub, 'accept');
    const change = { to: peer, type, text: 'second words', inReplyTo: message.id };
    await assert.rejects(hub.desk.messages.post(hub.owner, change, 'a key'), { code: 'store/unavailable' });
    const again = await hub.desk.messages.post(hub.owner, change, 'a key');
    assert.equal(again.repeated, true);
    assert.equal(again.message.deliveries[0]?.state, 'cancelled');
    assert.equal(hub.desk.health().queued, type === 'chat.edit' ? 1 : 0);
    await hub.desk.messages.post(hub.owner, { to: peer, text: 'something else' });
    const got = await arrive(bridge, hub, 'something else');
    assert.deepEqual(
      got.map(one => one.message.text),
      type === 'chat.edit' ? ['second words', 'something else'] : ['something else'],
    );
  }
});

test('what is called back on disk without word of it is not sent', async () => {
  const bridge = absent();
  await using hub = await openTestSwitch({ bridges: [bridge], limits: { firstRetry: 60_000 } });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'never mind' });
  await until(() => deliveriesOf(hub, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
  loseWord(hub, 'delivery.advance');
  await assert.rejects(hub.desk.messages.cancel(hub.owner, message.id), { code: 'store/unavailable' });
  assert.equal(deliveriesOf(hub, message.id)[0]?.state, 'cancelled');
  assert.equal(hub.desk.health().queued, 0);
});

test('what was not called back goes on waiting, though the store cannot be read either', async () => {
  const bridge = absent();
  await using hub = await openTestSwitch({ bridges: [bridge], limits: { firstRetry: 20 } });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'first' });
  await until(() => deliveriesOf(hub, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
  const { committer, read } = hub.store;
  const { commit } = committer;
  const { delivery } = read;
  const gone = new GatewayError('store/unavailable', 'the disk is gone', { retryable: true });
  committer.commit = () => Promise.reject(gone);
  read.delivery = () => {
    throw gone;
  };
  await assert.rejects(hub.desk.messages.cancel(hub.owner, message.id), /the disk is gone/);
  await new Promise(setImmediate);
  Object.assign(committer, { commit });
  Object.assign(read, { delivery });
  bridge.respond = () => ({ state: 'delivered' });
  await until(() => deliveriesOf(hub, message.id)[0]?.state === 'delivered');
});

test('an edit of what may have left without word of it follows after a restart, too', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-folding-'));
  try {
    const before = memoryBridge('lxmf');
    before.respond = away;
    const first = await openTestSwitch({ dir, bridges: [before] });
    const { message } = await first.desk.messages.post(first.owner, { to: peer, text: 'first words' });
    await until(() => deliveriesOf(first, message.id)[0]?.history.at(-1)?.reason === 'no path yet');
    await first.stop();
    const bridge = memoryBridge('lxmf');
    const { run } = bridge;
    const isUp = Promise.withResolvers<void>();
    bridge.run = async (port, signal) => {
      await isUp.promise;
      await run(port, signal);
    };
    await using hub = await openTestSwitch({ dir, bridges: [bridge] });
    const edit = { to: peer, type: 'chat.edit', text: 'second words', inReplyTo: message.id };
    await hub.desk.messages.post(hub.owner, edit);
    isUp.resolve();
    const got = await arrive(bridge, hub, 'second words');
    assert.deepEqual(
      got.map(one => one.message.text),
      ['first words', 'second words'],
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
