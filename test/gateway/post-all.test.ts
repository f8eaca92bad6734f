import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGatewayError } from '../../src/lib/errors.ts';
import { memoryBridge, openTestSwitch } from './fixture.ts';

const peers = ['1', '2', '3'].map(digit => `lxmf:${digit.repeat(32)}`);
const to = (addresses: readonly string[], text = 'fire') => addresses.map(one => ({ to: one, text }));

/** A far side that is not there: what is for it waits. */
function silentBridge() {
  const bridge = memoryBridge();
  bridge.respond = (_, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  return bridge;
}

test('what is said to several at once is one commit, known by its key, and given again under it', async () => {
  await using hub = await openTestSwitch({ bridges: [silentBridge()] });
  const { client } = await hub.client('alarm');
  const { messages } = hub.desk;
  const commits = hub.store.committer.commits;
  const { messages: first, repeated } = await messages.postAll(client, to(peers), 'k');
  assert.equal(repeated, false);
  assert.deepEqual(
    first.map(one => one.to),
    peers,
  );
  assert.equal(new Set(first.map(({ id }) => id)).size, 3);
  assert.ok(hub.store.committer.commits > commits);
  const again = await messages.postAll(client, to(peers), 'k');
  assert.equal(again.repeated, true);
  assert.deepEqual(
    again.messages.map(({ id }) => id),
    first.map(({ id }) => id),
  );
  assert.deepEqual(
    messages.postedAs(client, 'k').map(({ id }) => id),
    first.map(({ id }) => id),
  );
  const { client: other } = await hub.client('other');
  assert.deepEqual(messages.postedAs(other, 'k'), [], 'the keys of others are not known');
  for (const different of [to(peers, 'flood'), to(peers.slice(1)), to([...peers, 'app:alarm'])]) {
    await assert.rejects(messages.postAll(client, different, 'k'), error =>
      isGatewayError(error, 'request/idempotency-mismatch'),
    );
  }
  const { key } = await messages.postAll(client, to(peers));
  assert.equal(messages.postedAs(client, key).length, 3, 'without a key one is made, by which it is found');
});

test('where one of several cannot be sent to, none is kept and nobody hears of it', async () => {
  await using hub = await openTestSwitch({
    bridges: [silentBridge()],
    limits: { queuedPerDestination: 1 },
  });
  const { client } = await hub.client('alarm');
  const { messages, events } = hub.desk;
  await messages.post(client, { to: peers[2] as string, text: 'takes the place' });
  const before = events.cursor;
  const refusals = [
    [to([peers[0] as string, 'app:nobody']), 'request/not-found'],
    [to([peers[0] as string, peers[1] as string, peers[2] as string]), 'store/full'],
    [to([peers[0] as string, peers[0] as string]), 'store/full'],
    [
      [...to([peers[0] as string]), { to: 'app:alarm', text: 'x', inReplyTo: '0'.repeat(32) }],
      'request/not-found',
    ],
  ] as const;
  for (const [drafts, code] of refusals) {
    await assert.rejects(messages.postAll(client, drafts), error => isGatewayError(error, code), code);
  }
  assert.equal(messages.list(client, {}).items.length, 1);
  assert.equal(events.read(client, before).items.filter(({ kind }) => kind === 'message.accepted').length, 0);
  const { messages: taken } = await messages.postAll(client, to(peers.slice(0, 2)));
  assert.equal(taken.length, 2, 'what was refused left no place taken');
});

test('several of which one is known already are refused by the writer as a whole', async () => {
  await using hub = await openTestSwitch({ bridges: [silentBridge()] });
  const { client } = await hub.client('alarm');
  const { messages } = hub.desk;
  // The remote id that the second of them will have.
  await messages.post(client, { to: peers[1] as string, text: 'earlier' }, 'k\n1');
  await assert.rejects(messages.postAll(client, to(peers), 'k'), error =>
    isGatewayError(error, 'request/idempotency-mismatch'),
  );
  assert.deepEqual(
    messages.list(client, {}).items.map(({ text }) => text),
    ['earlier'],
    'the first and the third were rolled back',
  );
});

test('two that come at the same time under one key are one, or one of them is refused', async () => {
  await using hub = await openTestSwitch({ bridges: [silentBridge()] });
  const { client } = await hub.client('alarm');
  const { messages } = hub.desk;
  const same = await Promise.all([1, 2, 3].map(() => messages.postAll(client, to(peers), 'same')));
  assert.equal(same.filter(({ repeated }) => !repeated).length, 1);
  const outcomes = await Promise.allSettled([
    messages.postAll(client, to(peers), 'race'),
    messages.postAll(client, to([...peers, 'app:alarm']), 'race'),
  ]);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  const kept = messages.postedAs(client, 'race').length;
  assert.ok(kept === 3 || kept === 4);
  assert.equal(messages.list(client, { limit: 200 }).items.length, 3 + kept);
});
