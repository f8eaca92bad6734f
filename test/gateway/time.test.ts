import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createHubClock, firstPlausible } from '../../src/gateway/hub-clock.ts';
import { defaultLifetime } from '../../src/gateway/message.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { ManualClock } from '../sim/clock.ts';
import { memoryBridge, openTestSwitch, type TestSwitch } from './fixture.ts';

const year = 365 * 24 * 3_600_000;
const now = firstPlausible + year;
const hour = 3_600_000;
const peer = `lxmf:${'ab'.repeat(16)}`;

/** A far side that is never there. */
function absent() {
  const bridge = memoryBridge();
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
  };
  return bridge;
}

/** Lets simulated time pass until it holds: the store answers in its own. */
async function advanceUntil(clock: ManualClock, holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    assert.ok(turn < 1000, 'it never held');
    await clock.advance(1000);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}

const stateOf = (hub: TestSwitch, id: string) => hub.desk.messages.get(hub.owner, id).deliveries[0]?.state;

describe("the hub's own time", () => {
  test('goes with small corrections and sleep, waits with a jump, and takes it on', async () => {
    const clock = new ManualClock(now);
    let slept = 0;
    const hub = createHubClock({
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      uptime: () => clock.monotonic() + slept,
      sleep: (delay, signal) => clock.sleep(delay, signal),
      after: (delay, callback) => clock.after(delay, callback),
    });
    clock.set(20_000);
    assert.equal(hub.now(), now + 20_000);
    slept += year;
    clock.set(year);
    assert.deepEqual([hub.now(), hub.jump], [now + 20_000 + year, 0], 'the machine slept');
    for (const by of [year, -year, 60_000]) {
      const before = hub.now();
      clock.set(by);
      await clock.advance(1000);
      assert.deepEqual([hub.now(), hub.jump], [before + 1000, by]);
      assert.equal(hub.adopt(), by);
      assert.deepEqual([hub.now(), hub.jump], [clock.now(), 0]);
    }
  });

  test('a router that is told the time late loses nothing it had accepted before, and it ends when it should', async () => {
    const clock = new ManualClock(90_000);
    await using hub = await openTestSwitch({ clock, bridges: [absent()] });
    const { post, get } = hub.desk.messages;
    const expiresAt = clock.now() + hour;
    const toPeer = (await post(hub.owner, { to: peer, text: 'far', expiresAt })).message.id;
    const toApp = (await post(hub.owner, { to: 'app:owner', text: 'near', expiresAt })).message.id;
    await advanceUntil(clock, () => stateOf(hub, toPeer) === 'queued');
    const unsure = () => hub.desk.health().failures.find(({ name }) => name === 'clock')?.reason;
    await advanceUntil(clock, () => unsure() !== undefined);
    assert.match(unsure() as string, /^the clock has not been set, it says 1970-01-01T/);

    clock.set(now);
    await advanceUntil(clock, () => unsure() === undefined);
    await advanceUntil(clock, () => get(hub.owner, toApp).acceptedAt > now);
    // Sweeps come and go.
    await clock.advance(10 * 60_000);
    for (const id of [toPeer, toApp]) {
      const { acceptedAt, sentAt, expiresAt: ends, deliveries } = get(hub.owner, id);
      assert.equal(deliveries[0]?.state, 'queued');
      assert.equal(ends, acceptedAt + hour);
      assert.equal(sentAt, acceptedAt);
      assert.ok(acceptedAt > now && acceptedAt <= clock.now());
    }
    const { items } = await hub.desk.inbox.read(hub.owner, {});
    assert.deepEqual(
      items.map(({ message }) => message.text),
      ['near'],
    );
    await clock.advance(hour);
    await advanceUntil(clock, () => stateOf(hub, toPeer) === 'expired' && stateOf(hub, toApp) === 'expired');
  });

  test('a clock that was ahead keeps nothing for years, and ends nothing early', async () => {
    const clock = new ManualClock(now + 10 * year);
    await using hub = await openTestSwitch({ clock, bridges: [absent()] });
    const before = (
      await hub.desk.messages.post(hub.owner, { to: peer, text: 'before', expiresAt: clock.now() + hour })
    ).message.id;
    clock.set(-10 * year);
    await advanceUntil(clock, () => hub.desk.messages.get(hub.owner, before).expiresAt < now + year);
    const after = (
      await hub.desk.messages.post(hub.owner, { to: peer, text: 'after', expiresAt: clock.now() + hour })
    ).message.id;
    await clock.advance(hour / 2);
    assert.deepEqual([stateOf(hub, before), stateOf(hub, after)], ['queued', 'queued']);
    await clock.advance(hour / 2);
    await advanceUntil(clock, () => stateOf(hub, before) === 'expired' && stateOf(hub, after) === 'expired');
  });

  test('what an earlier start accepted is left alone, but for what it accepted without a clock', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kos-time-'));
    try {
      const post = async (start: number) => {
        const clock = new ManualClock(start);
        await using hub = await openTestSwitch({ dir, clock, bridges: [absent()] });
        return (await hub.desk.messages.post(hub.owner, { to: peer, text: 'x' })).message.id;
      };
      const good = await post(now);
      const early = await post(90_000);
      const clock = new ManualClock(now + 3_600_000);
      await using hub = await openTestSwitch({ dir, clock, bridges: [absent()] });
      const times = (id: string) => {
        const { acceptedAt, expiresAt } = hub.desk.messages.get(hub.owner, id);
        return { acceptedAt, expiresAt };
      };
      await advanceUntil(clock, () => times(early).acceptedAt > now);
      assert.deepEqual(times(good), { acceptedAt: now, expiresAt: now + defaultLifetime });
      assert.equal(times(early).expiresAt, times(early).acceptedAt + defaultLifetime);
      clock.set(3_600_000);
      await clock.advance(60_000);
      assert.deepEqual(times(good), { acceptedAt: now, expiresAt: now + defaultLifetime });
      assert.deepEqual([stateOf(hub, good), stateOf(hub, early)], ['queued', 'queued']);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
