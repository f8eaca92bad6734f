import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  decodeRatchets,
  encodeRatchets,
  RatchetRing,
  ratchetInterval,
  retainedRatchets,
} from '../../../src/mesh/reticulum/ratchet.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { MemoryStorage } from './memory-storage.ts';

function ring(storage = new MemoryStorage(), clock = new ManualClock()) {
  const [stored] = [...storage.load('ratchet')];
  const parts = { clock, storage, random: seededRandom(5) };
  return {
    clock,
    storage,
    ring: new RatchetRing(new Uint8Array(16), stored ? decodeRatchets(stored.value) : [], parts),
  };
}

describe('a ring of ratchets', () => {
  test('makes a new one after half an hour and not before', async () => {
    const { clock, ring: one } = ring();
    const first = await one.announced();
    await clock.advance(ratchetInterval - 1);
    assert.deepEqual(await one.announced(), first);
    await clock.advance(1);
    assert.notDeepEqual(await one.announced(), first);
    assert.equal(one.openers().length, 2);
  });

  test('makes one ratchet however many announces ask for it at once', async () => {
    const { storage, ring: one } = ring();
    const [first, ...others] = await Promise.all([one.announced(), one.announced(), one.announced()]);
    for (const other of others) {
      assert.deepEqual(other, first);
    }
    assert.equal(storage.writes.length, 1);
  });

  test('keeps 512, the newest first, and they are there after a restart', async () => {
    const { clock, storage, ring: one } = ring();
    for (let i = 0; i < retainedRatchets + 3; i++) {
      await one.announced();
      await clock.advance(ratchetInterval);
    }
    assert.equal(one.kept.length, retainedRatchets);
    assert.ok(one.kept[0]!.created > one.kept[1]!.created);
    const again = ring(storage, clock).ring;
    assert.deepEqual(again.kept, one.kept);
    assert.deepEqual(
      again.openers().map(({ id }) => id),
      one.openers().map(({ id }) => id),
    );
  });

  test('goes by its own interval and count, and refuses none', async () => {
    const { clock, ring: one } = ring();
    one.interval = 60_000;
    for (let i = 0; i < 4; i++) {
      await one.announced();
      await clock.advance(60_000);
    }
    assert.equal(one.kept.length, 4);
    const [newest, next] = one.openers();
    one.retained = 2;
    assert.deepEqual(one.openers(), [newest, next]);
    await one.announced();
    assert.deepEqual([one.kept.length, one.openers().length], [2, 2]);
    for (const none of [0, -1, 1.5]) {
      assert.throws(() => Object.assign(one, { interval: none }), { code: 'config/invalid' });
      assert.throws(() => Object.assign(one, { retained: none }), { code: 'config/invalid' });
    }
    one.retained = 10_000;
    assert.equal(one.retained, retainedRatchets);
  });

  test('that is stored is truncated wherever it ends early', () => {
    const stored = encodeRatchets(
      [1, 2, 3].map(i => ({ created: i * 1000, privateKey: new Uint8Array(32).fill(i) })),
    );
    assert.deepEqual(encodeRatchets(decodeRatchets(stored)), stored);
    for (let length = 0; length < stored.length; length++) {
      assert.throws(() => decodeRatchets(stored.subarray(0, length)), { code: 'wire/truncated' });
    }
    assert.throws(() => decodeRatchets(Uint8Array.of(...stored, 0)), { code: 'wire/malformed' });
    assert.throws(() => decodeRatchets(Uint8Array.of(9)), { code: 'wire/unsupported' });
  });
});
