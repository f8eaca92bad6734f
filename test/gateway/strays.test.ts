import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { ManualClock } from '../sim/clock.ts';
import { memoryBridge, openTestSwitch, until } from './fixture.ts';
import { Hub, type Process } from './life/hub.ts';

const lxmf = (two: string) => `lxmf:${two.repeat(16)}`;
const [ada, ben, eve] = [lxmf('a1'), lxmf('b2'), lxmf('e5')] as const;

test('what a hub that died had no time to call back is called back by the next: for the blocked, and for who was taken out of a room', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-strays-'));
  try {
    const rooms = { plaza: { members: [ada, ben, eve] } };
    const away = memoryBridge();
    away.respond = () => {
      throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
    };
    const first = await openTestSwitch({ dir, rooms, bridges: [away] });
    const post = async (to: string, rest: { type?: string; inReplyTo?: string } = {}) =>
      (await first.desk.messages.post(first.owner, { to, text: `to ${to}`, ...rest })).message.id;
    const plaza = await post('room:plaza');
    const direct = await post(ben);
    const answer = await post('room:plaza', { type: 'chat.edit', inReplyTo: plaza });
    await until(() => away.delivered.length >= 3);
    // As they lie on disk when the power goes between a change and what follows from it.
    await first.store.committer.commit('rooms.put', {
      rooms: [{ name: 'plaza', change: { added: [], removed: [ada] } }],
      events: [],
    });
    await first.store.committer.commit('peers.note', { blocks: [{ pattern: ben, since: 1, reason: null }] });
    await first.stop();

    const well = memoryBridge();
    await using hub = await openTestSwitch({ dir, rooms, bridges: [well] });
    await until(() => hub.desk.health().queued === 0 && hub.store.read.waiting().length === 0);
    const ends = (id: string) =>
      Object.fromEntries(
        hub.desk.messages
          .get(hub.owner, id)
          .deliveries.map(({ to, state, reason }) => [to, state === 'delivered' ? state : reason]),
      );
    assert.deepEqual(ends(plaza), {
      [ada]: 'not in the room plaza any more',
      [ben]: 'its recipient is blocked',
      [eve]: 'delivered',
    });
    assert.deepEqual(ends(direct), { [ben]: 'its recipient is blocked' });
    assert.equal(ends(answer)[ada], 'delivered', 'who was told something is told that it changed');
    assert.deepEqual([...new Set(well.delivered.map(({ to }) => to))].sort(), [ada, eve].sort());
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

for (const change of ['the room is taken away', 'a member is taken out'] as const) {
  test(`a hub that dies during an attempt sends nothing again to who was in a room that was made while it ran: ${change}`, async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const lxmf = memoryBridge();
    lxmf.respond = ({ to }) => (to === ada ? new Promise(() => {}) : { state: 'delivered' });
    const hub = new Hub({
      name: 'hub',
      id: 'aa'.repeat(16),
      lxmf: 'ab'.repeat(16),
      seed: 1,
      clock,
      rooms: {},
      routes: [],
      bridges: () => [lxmf],
    });
    const pass = async (ms: number) => {
      for (let step = 0; step < 50; step++) {
        await clock.advance(ms / 50);
      }
    };
    const start = async (): Promise<Process> => {
      void hub.start();
      await pass(1000);
      assert.ok(hub.process?.owner);
      return hub.process;
    };
    try {
      const first = await start();
      const members = [ada, ben, eve];
      void first.desk.rooms.create(first.owner, 'den', { members, consent: 'given' });
      await pass(1000);
      void first.desk.messages.post(first.owner, { to: 'room:den', text: 'for the den' });
      await pass(1000);
      assert.equal(lxmf.delivered.filter(({ to }) => to === ada).length, 1, 'it is being tried');
      void (change === 'the room is taken away'
        ? first.desk.rooms.remove(first.owner, 'den')
        : first.desk.rooms.removeMember(first.owner, 'den', ada));
      await pass(1000);
      hub.kill();

      const second = await start();
      await pass(600_000);
      assert.equal(lxmf.delivered.filter(({ to }) => to === ada).length, 1, 'who is out is sent it again');
      const id = lxmf.delivered[0]?.message.id ?? '';
      const ends = second.desk.messages.get(second.owner, id).deliveries;
      const reason =
        change === 'the room is taken away' ? 'the room den is gone' : 'not in the room den any more';
      assert.deepEqual(
        ends.map(({ to, state, reason: why }) => [to, state, why]),
        [
          [ada, 'cancelled', reason],
          [ben, 'delivered', undefined],
          [eve, 'delivered', undefined],
        ],
      );
    } finally {
      hub.kill();
      hub.disk.close();
    }
  });
}
