import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;

/** A hub that hears somebody, and the `peer.seen` events since it was opened. */
async function openHearing(peers = 100) {
  const lxmf = memoryBridge();
  const hub = await openTestSwitch({ bridges: [lxmf], limits: { peers, peerEventEvery: 60_000 } });
  const { seen } = await lxmf.port;
  const start = hub.desk.events.cursor;
  return { hub, seen, names: () => namesSince(hub, start) };
}

function namesSince(hub: TestSwitch, cursor: string): (string | undefined)[] {
  return hub.desk.events
    .read(hub.owner, cursor)
    .items.filter(event => event.kind === 'peer.seen')
    .map(event => event.peer?.name);
}

test('somebody heard again and again is one event a minute, and another name is one at once', async () => {
  const { hub, seen, names } = await openHearing();
  await using _ = hub;
  const at = 1_800_000_000_000;
  for (let n = 0; n < 50; n++) {
    seen(peer, { at: at + n, name: 'Ada', hops: 2 });
  }
  seen(peer, { at: at + 100, name: 'Ada L' });
  seen(peer, { at: at + 200 });
  seen(peer, { at: at + 60_101 });
  await until(() => names().length > 0);
  assert.deepEqual(names(), ['Ada', 'Ada L', 'Ada L']);
  assert.deepEqual(hub.desk.directory.get(hub.owner, peer), {
    address: peer,
    name: 'Ada L',
    hops: 2,
    lastSeen: at + 60_101,
  });
  assert.deepEqual(
    hub.store.read.peers().map(row => row.last_seen),
    [at + 60_101],
  );
});

test('a full directory forgets who was heard least recently, on disk too', async () => {
  const { hub, seen } = await openHearing(2);
  await using _ = hub;
  for (const [n, address] of ['lxmf:a', 'lxmf:b', 'lxmf:a', 'lxmf:c'].entries()) {
    seen(address, { at: n });
  }
  await until(() => hub.store.read.peers().length > 0);
  assert.deepEqual(
    hub.desk.directory.list(hub.owner, {}).items.map(one => one.address),
    ['lxmf:a', 'lxmf:c'],
  );
  assert.deepEqual(
    hub.store.read
      .peers()
      .map(row => row.address)
      .sort(),
    ['lxmf:a', 'lxmf:c'],
  );
});

test('a crowd of inventions is so many events a minute and no more', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf], limits: { peerEventsPerMinute: 5 } });
  const { seen } = await lxmf.port;
  const start = hub.desk.events.cursor;
  for (let n = 0; n < 50; n++) {
    seen(n % 2 === 0 ? `lxmf:${n}` : peer, { at: Date.now(), name: `${n}` });
  }
  await until(() => hub.store.read.peers().length === 26);
  assert.equal(namesSince(hub, start).length, 5);
});

test('eleven thousand inventions push out strangers, and nobody the hub has to do with, also after a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-directory-'));
  const invented = (n: number) => `lxmf:${n.toString(16).padStart(32, '0')}`;
  const [member, written, writer, unheard] = ['11', '22', '33', '44'].map(
    two => `lxmf:${two.repeat(16)}`,
  ) as [string, string, string, string];
  const friends = [member, written, writer, unheard];
  const rooms = { plaza: { members: [member] } };
  try {
    for (const run of [1, 2]) {
      const lxmf = memoryBridge();
      await using hub = await openTestSwitch({ dir, rooms, bridges: [lxmf] });
      const { seen } = await lxmf.port;
      if (run === 1) {
        for (const [n, address] of [member, written, writer].entries()) {
          seen(address, { at: n, name: 'friend' });
        }
        await hub.desk.messages.post(hub.owner, { to: written, text: 'hello' });
        await hub.desk.messages.post(hub.owner, { to: unheard, text: 'hello' });
        await lxmf.say({ remoteId: '1', from: writer, to: 'room:hub' });
        seen(unheard, { at: 4 });
      }
      for (let n = 0; n < 11_000; n++) {
        seen(invented(run * 20_000 + n), { at: 1000 + n });
      }
      for (const address of friends) {
        assert.equal(hub.desk.directory.get(hub.owner, address).address, address, `run ${run}`);
      }
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('somebody heard over hours, or named by the owner, is not pushed out by inventions, however often they come', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-directory-'));
  const invented = (n: number) => `lxmf:${n.toString(16).padStart(32, '0')}`;
  const [neighbour, named, blocked, unheard] = ['11', '22', '33', '44'].map(
    two => `lxmf:${two.repeat(16)}`,
  ) as [string, string, string, string];
  const hour = 3_600_000;
  const peers = 400;
  try {
    for (const run of [1, 2]) {
      const lxmf = memoryBridge();
      await using hub = await openTestSwitch({ dir, bridges: [lxmf], limits: { peers } });
      const { seen } = await lxmf.port;
      const { directory } = hub.desk;
      if (run === 1) {
        for (const address of [neighbour, named, blocked]) {
          seen(address, { at: 0, name: 'somebody' });
        }
        seen(neighbour, { at: hour });
        await directory.change(hub.owner, named, { name: 'Ada' });
        await directory.change(hub.owner, blocked, { blocked: true });
        await directory.change(hub.owner, unheard, { trust: 'known' });
      }
      // A crowd that announces itself again after more than an hour, twice the size of the directory.
      for (const round of [0, 1]) {
        for (let n = 0; n < 2 * peers; n++) {
          seen(invented(run * 10_000 + n), { at: (2 + 2 * run + 1.5 * round) * hour + n });
        }
      }
      // Another that writes, and signs what it writes.
      for (let n = 0; n < peers / 4; n++) {
        const from = invented(run * 20_000 + n);
        seen(from, { at: 8 * hour + n });
        await lxmf.say({ remoteId: `${run} ${n}`, from, to: 'room:hub' });
      }
      for (const address of [neighbour, named, blocked, unheard]) {
        assert.equal(directory.get(hub.owner, address).address, address, `run ${run}`);
      }
      assert.equal(directory.get(hub.owner, named).name, 'Ada');
      assert.equal(directory.get(hub.owner, unheard).trust, 'known');
      assert.ok(hub.store.read.peers().length <= peers);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
