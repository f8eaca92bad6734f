import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import {
  decodeKnown,
  encodeKnown,
  type Heard,
  KnownDestinations,
} from '../../../src/mesh/reticulum/known.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { MemoryStorage } from './memory-storage.ts';

const random = seededRandom(3);
const day = 24 * 3_600_000;

function heard(facts: Partial<Pick<Heard, 'identity' | 'ratchet' | 'appData'>> = {}): Heard {
  const { identity = generateIdentity(random).public, ratchet, appData } = facts;
  const nameHash = random.bytes(10);
  const nothing = new Uint8Array(0);
  return {
    destinationHash: random.bytes(16),
    identity,
    nameHash,
    appData,
    ratchet,
    packetHash: random.bytes(32),
    announce: concat(
      identity.publicKey,
      nameHash,
      random.bytes(10),
      ratchet ?? nothing,
      random.bytes(64),
      appData ?? nothing,
    ),
    announceHasRatchet: ratchet !== undefined,
  };
}

function table(capacity = 100, storage = new MemoryStorage(), clock = new ManualClock()) {
  const counters = new Counters();
  const known = new KnownDestinations({ clock, storage, log: silentLog, counters, capacity });
  return { clock, storage, known };
}

describe('a known destination', () => {
  test('keeps a ratchet until it hears another, for 30 days', async () => {
    const { clock, known } = table();
    const ratchet = random.bytes(32);
    const first = heard({ ratchet });
    const key = toHex(first.destinationHash);
    known.remember(key, first);
    await clock.advance(day);
    known.remember(key, heard({ identity: first.identity }));
    assert.deepEqual(known.get(key)?.ratchet, ratchet);
    await clock.advance(29 * day);
    assert.deepEqual(known.get(key)?.ratchet, ratchet);
    await clock.advance(1);
    assert.equal(known.get(key)?.ratchet, undefined);
    assert.ok(known.get(key));
  });

  test('that was written to stays when a flood of others comes', () => {
    const { known } = table(10);
    const friend = heard();
    known.remember(toHex(friend.destinationHash), friend);
    known.use(toHex(friend.destinationHash));
    for (let i = 0; i < 50; i++) {
      const other = heard({ identity: friend.identity });
      known.remember(toHex(other.destinationHash), other);
    }
    assert.equal(known.size, 10);
    assert.ok(known.get(toHex(friend.destinationHash)));
    assert.equal([...known.values()].length, 10);
  });

  test('is there again after a restart', async () => {
    const { clock, storage, known } = table();
    const plain = heard();
    const full = heard({ ratchet: random.bytes(32), appData: random.bytes(100) });
    for (const one of [plain, full]) {
      known.remember(toHex(one.destinationHash), one);
    }
    known.use(toHex(full.destinationHash));
    await known.flush();
    const again = table(100, storage, clock).known;
    for (const one of [plain, full]) {
      const key = toHex(one.destinationHash);
      assert.deepEqual(encodeKnown(again.get(key)!), encodeKnown(known.get(key)!));
    }
    assert.equal(again.get(toHex(full.destinationHash))?.used, true);
  });

  test('that is stored is truncated wherever it ends before its app data', () => {
    const { known } = table();
    const one = heard({ ratchet: random.bytes(32), appData: Uint8Array.of(1, 2, 3) });
    const key = toHex(one.destinationHash);
    const stored = encodeKnown(known.remember(key, one));
    assert.deepEqual(encodeKnown(decodeKnown(key, stored)), stored);
    for (let length = 0; length < stored.length - 3; length++) {
      assert.throws(() => decodeKnown(key, stored.subarray(0, length)), { code: 'wire/truncated' });
    }
    assert.throws(() => decodeKnown('abc', stored), { code: 'wire/malformed' });
    assert.throws(() => decodeKnown(key, Uint8Array.of(9, ...stored)), { code: 'wire/unsupported' });
  });
});
