import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { Duplicates } from '../../../src/mesh/reticulum/duplicates.ts';
import { HashJournal } from '../../../src/mesh/reticulum/hash-journal.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { createSlotHash } from '../../../src/mesh/reticulum/slot-hash.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air, settled, TestNode } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

function hashOf(number: number): Uint8Array {
  return sha256(new Uint8Array(new Uint32Array([number]).buffer));
}

function heardBy(storage: MemoryStorage) {
  const clock = new ManualClock();
  const counters = new Counters();
  const journal = new HashJournal({ clock, storage, log: silentLog, counters });
  return {
    clock,
    counters,
    journal,
    heard: new Duplicates(500_000, createSlotHash(new Uint8Array(12)), journal),
  };
}

const minutes = 60_000;

describe('packet hashes', () => {
  test('are known after a restart, and written rarely', async () => {
    const storage = new MemoryStorage();
    const before = heardBy(storage);
    for (let number = 0; number < 100; number++) {
      before.heard.add(hashOf(number));
    }
    await before.clock.advance(14 * minutes);
    assert.deepEqual(storage.writes, []);
    await before.clock.advance(2 * minutes);
    assert.deepEqual(storage.writes, ['packet-hash 00']);
    before.heard.add(hashOf(100));
    await before.journal.flush();
    const after = heardBy(storage);
    assert.equal(after.heard.size, 101);
    assert.ok(Array.from({ length: 101 }, (_, number) => after.heard.has(hashOf(number))).every(Boolean));
    assert.equal(after.heard.has(hashOf(101)), false);
    assert.equal(after.journal.unwritten, 0);
    assert.equal(after.clock.waiting, 0);
  });

  test('are kept up to a bound, the newest of them, over several restarts', async () => {
    const storage = new MemoryStorage();
    let number = 0;
    for (const count of [100_000, 60_000, 10]) {
      const { heard, journal } = heardBy(storage);
      for (const end = number + count; number < end; number++) {
        heard.add(hashOf(number));
      }
      await journal.flush();
    }
    const { heard } = heardBy(storage);
    assert.ok(heard.size > 100_000 && heard.size <= 131_072, `${heard.size} are known`);
    const newest = Array.from({ length: 100_000 }, (_, at) => heard.has(hashOf(number - 1 - at)));
    assert.ok(newest.every(Boolean));
    assert.equal([...storage.load('packet-hash')].length, 32);
  });

  test('that cannot be written wait for the next time', async () => {
    const storage = new MemoryStorage();
    const { clock, heard, journal } = heardBy(storage);
    storage.refuse = new GatewayError('store/full', 'full');
    heard.add(hashOf(1));
    await clock.advance(16 * minutes);
    assert.equal(journal.unwritten, 1);
    storage.refuse = undefined;
    await journal.flush();
    assert.equal(journal.unwritten, 0);
    assert.equal(heardBy(storage).heard.has(hashOf(1)), true);
  });

  test('stored by something else are counted and left out', async () => {
    const storage = new MemoryStorage();
    await storage.save('packet-hash', '00', new Uint8Array([9, 0, 0, 0, 0]));
    await storage.save('packet-hash', '01', new Uint8Array([1, 0, 0]));
    await storage.save('packet-hash', '02', new Uint8Array(5 + 7).fill(1));
    const { counters, heard } = heardBy(storage);
    assert.equal(heard.size, 0);
    assert.deepEqual(counters.snapshot(), {
      'wire/malformed': 1,
      'wire/truncated': 1,
      'wire/unsupported': 1,
    });
  });

  test('keep a node from taking a packet again that it took before a restart', async () => {
    const clock = new ManualClock();
    const storage = new MemoryStorage();
    const identity = generateIdentity(seededRandom(5));
    const air = new Air();
    const a = new TestNode({ clock });
    a.use(air.join('a'));
    let b = new TestNode({ clock, storage, identity });
    b.use(air.join('b'));
    const { destination } = b.serve();
    await b.transport.announce(destination);
    await settled();
    await a.transport.send({
      destination: { identity: destination.identity!.public, hash: destination.hash },
      data: utf8('once'),
    });
    await settled();
    const packet = air.packets.at(-1)!;
    await b.down('b');
    await b.transport.close();
    b = new TestNode({ clock, storage, identity });
    b.use(air.join('b'));
    const { received } = b.serve();
    air.carry(packet);
    await settled();
    assert.deepEqual(received, []);
    assert.equal(b.counters.get('mesh/duplicate'), 1);
  });
});
