import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeliveryView } from '../../src/gateway/desk.ts';
import { defaultLimits, type Limits } from '../../src/gateway/limits.ts';
import { sweepOnce } from '../../src/gateway/sweep.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;
const far = Number.MAX_SAFE_INTEGER;

async function sweep(hub: TestSwitch, limits: Partial<Limits>, now = Date.now()): Promise<void> {
  const { store, counters } = hub;
  await sweepOnce(
    { store, counters, clock: systemClock, log: silentLog, limits: { ...defaultLimits, ...limits } },
    now,
  );
}

async function post(hub: TestSwitch, to: string, texts: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const text of texts) {
    ids.push((await hub.desk.messages.post(hub.owner, { to, text })).message.id);
  }
  return ids;
}

test('an inbox keeps its newest messages, and a cursor before them has expired', async () => {
  await using hub = await openTestSwitch();
  await post(hub, 'app:owner', ['1', '2', '3', '4', '5']);
  const page = await hub.desk.inbox.read(hub.owner, { limit: 1, hold: true });
  await sweep(hub, { inboxCount: 2 });
  await assert.rejects(hub.desk.inbox.read(hub.owner, { after: page.cursor }), {
    code: 'request/cursor-expired',
  });
  const rest = await hub.desk.inbox.read(hub.owner, {});
  assert.deepEqual(
    rest.items.map(item => item.message.text),
    ['4', '5'],
  );
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, { after: rest.cursor })).items, []);
});

test('events are forgotten by number and by age, oldest first, and a stream behind them is told', async () => {
  await using hub = await openTestSwitch();
  const start = hub.desk.events.cursor;
  await post(hub, 'app:owner', ['1', '2', '3']);
  const all = hub.desk.events.read(hub.owner, start).items;
  await sweep(hub, { eventCount: 2 });
  assert.throws(() => hub.desk.events.read(hub.owner, start), { code: 'request/cursor-expired' });
  assert.deepEqual(hub.desk.events.read(hub.owner, all.at(-3)?.cursor ?? '').items, all.slice(-2));
  await sweep(hub, { eventAge: 1 }, Date.now() + 10);
  assert.throws(() => hub.desk.events.read(hub.owner, all.at(-3)?.cursor ?? ''), {
    code: 'request/cursor-expired',
  });
  assert.deepEqual(hub.desk.events.read(hub.owner, hub.desk.events.cursor).items, []);
  await post(hub, 'app:owner', ['4']);
  assert.equal(hub.desk.events.read(hub.owner, all.at(-1)?.cursor ?? '').items.length, 2);
});

test('messages go with all that names them, but not while something of them is open or in an inbox', async () => {
  const lxmf = memoryBridge();
  let away = false;
  lxmf.respond = async ({ id }) => {
    await (await lxmf.port).remember(id, Uint8Array.of(1), `far-${id}`);
    if (away) {
      throw new GatewayError('bridge/unavailable', 'away', { retryable: true });
    }
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const state = (id: string): DeliveryView | undefined => hub.desk.messages.get(hub.owner, id).deliveries[0];
  const [done = ''] = await post(hub, peer, ['done']);
  await until(() => state(done)?.state === 'delivered');
  const delivery = state(done)?.id ?? '';
  assert.equal(hub.store.read.remembered(delivery), undefined);
  away = true;
  const [open = ''] = await post(hub, peer, ['open']);
  await until(() => state(open)?.state === 'queued' && state(open)?.reason === 'away');
  const [kept = ''] = await post(hub, 'app:owner', ['in an inbox']);
  await sweep(hub, { messageAge: 0 }, Date.now() + 10);
  assert.throws(() => hub.desk.messages.get(hub.owner, done), { code: 'request/not-found' });
  assert.equal(hub.store.read.knownAs('lxmf', `far-${delivery}`), undefined);
  assert.equal(state(open)?.state, 'queued');
  assert.equal(state(kept)?.state, 'queued');
  assert.notEqual(hub.store.read.remembered(state(open)?.id ?? ''), undefined);
});

test('what nobody read in time expires in the inbox', async () => {
  await using hub = await openTestSwitch();
  const [id = ''] = await post(hub, 'app:owner', ['too late']);
  await sweep(hub, { inboxAge: far, messageAge: far }, Date.now() + 8 * 24 * 60 * 60 * 1000);
  assert.equal(hub.desk.messages.get(hub.owner, id).deliveries[0]?.state, 'expired');
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, {})).items, []);
});

test('a list by address or room finds its own, newest first, over pages', async () => {
  await using hub = await openTestSwitch({ bridges: [memoryBridge()] });
  await post(hub, peer, ['1', '2', '3']);
  await post(hub, 'room:hub', ['elsewhere']);
  const first = hub.desk.messages.list(hub.owner, { peer, limit: 2 });
  const second = hub.desk.messages.list(hub.owner, { peer, limit: 2, after: first.cursor ?? '' });
  assert.deepEqual(
    [...first.items, ...second.items].map(message => message.text),
    ['3', '2', '1'],
  );
  assert.equal(second.cursor, null);
  assert.equal(hub.desk.messages.list(hub.owner, { room: 'hub' }).items.length, 1);
});

test('what the mesh tells takes no place from messages, and what nobody has read is still shown', async () => {
  await using hub = await openTestSwitch();
  const first = hub.desk.events.cursor;
  await post(hub, 'app:owner', ['unread', 'unread too']);
  const start = hub.desk.events.cursor;
  for (let n = 0; n < 50; n++) {
    hub.publish('path.changed', { path: { n } });
  }
  await post(hub, 'app:owner', ['newest']);
  await sweep(hub, { eventCount: 20, otherEventCount: 5 });
  const kinds = hub.desk.events.read(hub.owner, start).items.map(event => event.kind);
  assert.equal(kinds.filter(kind => kind === 'path.changed').length, 5);
  await sweep(hub, { eventCount: 1, otherEventCount: 0 });
  assert.throws(() => hub.desk.events.read(hub.owner, first), { code: 'request/cursor-expired' });
  const shown: (string | undefined)[] = [];
  for (let cursor = hub.desk.inbox.unseenSince(hub.owner); ; ) {
    const page = hub.desk.events.read(hub.owner, cursor, 1);
    if (page.items.length === 0) {
      break;
    }
    ({ cursor } = page);
    shown.push(...page.items.flatMap(event => event.message?.text ?? []));
    await hub.desk.inbox.seen(hub.owner, page.items[0]?.cursor ?? '');
  }
  assert.deepEqual(shown, ['unread', 'unread too', 'newest']);
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, {})).items, []);
});

test('reading goes on where an inbox was forgotten, and what was not read is not forgotten with age', async () => {
  await using hub = await openTestSwitch();
  const [, second = '', third = ''] = await post(hub, 'app:owner', ['1', '2', '3']);
  await hub.desk.inbox.acknowledge(hub.owner, (await hub.desk.inbox.read(hub.owner, { limit: 1 })).cursor);
  await sweep(hub, { inboxAge: 0 }, Date.now() + 10);
  const rest = await hub.desk.inbox.read(hub.owner, { hold: true });
  assert.deepEqual(
    rest.items.map(item => item.message.id),
    [second, third],
  );
  await sweep(hub, { inboxCount: 1 });
  const page = await hub.desk.inbox.read(hub.owner, { limit: 1, hold: true });
  assert.deepEqual(
    page.items.map(item => item.message.id),
    [third],
  );
  await hub.desk.inbox.acknowledgeMessage(hub.owner, third);
  await sweep(hub, { inboxAge: 0 }, Date.now() + 10);
  const empty = await hub.desk.inbox.read(hub.owner, {});
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, { after: empty.cursor })).items, []);
});

test('what was shown and never acknowledged expires too', async () => {
  await using hub = await openTestSwitch();
  const [id = ''] = await post(hub, 'app:owner', ['shown']);
  await hub.desk.inbox.read(hub.owner, {});
  const state = () => hub.desk.messages.get(hub.owner, id).deliveries[0]?.state;
  await until(() => state() === 'sent');
  await sweep(hub, { inboxAge: far, messageAge: far }, Date.now() + 8 * 24 * 60 * 60 * 1000);
  assert.equal(state(), 'expired');
});

test('a blob is its owner’s for a while, and nobody’s where no message came to name it', async () => {
  await using hub = await openTestSwitch();
  const idle = await hub.desk.blobs.put(Uint8Array.of(1));
  const used = await hub.desk.blobs.put(Uint8Array.of(2));
  for (const { sha256 } of [idle, used]) {
    await hub.desk.ownBlob(hub.owner, sha256);
  }
  await hub.desk.messages.post(hub.owner, {
    to: 'app:owner',
    attachments: [{ name: 'it', sha256: used.sha256 }],
  });
  await sweep(hub, {}, Date.now() + 1000);
  assert.equal(await hub.desk.blobs.size(idle.sha256), 1);
  await sweep(hub, { orphanAge: 0 }, Date.now() + 1000);
  assert.equal(await hub.desk.blobs.size(idle.sha256), undefined);
  assert.equal(await hub.desk.blobs.size(used.sha256), 1);
});

test('a database at its limit makes room by itself, though nothing in it is old', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf], store: { databaseLimit: 600 * 1024 } });
  const text = 'x'.repeat(10_000);
  const fill = async () => {
    for (let n = 0; n < 200; n++) {
      await hub.desk.messages.post(hub.owner, { to: peer, text });
    }
  };
  await assert.rejects(fill(), { code: 'store/full', retryable: true });
  await until(() => hub.desk.health().queued === 0);
  await sweep(hub, {}, Date.now() + 10);
  await hub.desk.messages.post(hub.owner, { to: peer, text });
});

test('a full store makes room while others go on posting', async () => {
  await using hub = await openTestSwitch({ store: { databaseLimit: 1200 * 1024 } });
  const { client } = await hub.client('writer');
  await hub.client('reader');
  const outcomes = { kept: 0, refused: 0 };
  const text = 'x'.repeat(4000);
  const postOne = async () => {
    try {
      await hub.desk.messages.post(client, { to: 'app:reader', text });
      outcomes.kept += 1;
    } catch (error) {
      assert.ok(isGatewayError(error, 'store/full'), String(error));
      outcomes.refused += 1;
    }
  };
  while (outcomes.refused === 0) {
    await postOne();
  }
  let isOver = false;
  const posting = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      await postOne();
    }
  });
  const before = outcomes.kept;
  await sweep(hub, { inboxCount: 5, messageCount: 5, eventCount: 5 });
  isOver = true;
  await Promise.all(posting);
  await postOne();
  assert.equal(hub.counters.snapshot()['retention/failed'], undefined, 'no part of the sweep was undone');
  assert.ok(outcomes.kept > before, 'there was room again');
});
