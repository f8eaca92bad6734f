import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { encodeRandomBlob } from '../../../src/mesh/reticulum/announce.ts';
import { decodePath, encodePath } from '../../../src/mesh/reticulum/path-codec.ts';
import { type PathRecord, PathTable } from '../../../src/mesh/reticulum/path-table.ts';
import { ManualClock } from '../../sim/clock.ts';
import { MemoryStorage } from './memory-storage.ts';

const key = '11'.repeat(16);
const week = 7 * 24 * 3_600_000;

interface Offer {
  readonly hops: number;
  readonly emitted: number;
  readonly salt?: number;
  readonly over?: string;
}

function table({ capacity = 100, storage = new MemoryStorage() } = {}) {
  const clock = new ManualClock();
  const down = new Set<string>();
  const counters = new Counters();
  const replaced: PathRecord[] = [];
  const gravities: Readonly<Record<string, number>> = { heavy: 5, light: -5 };
  const paths = new PathTable({
    clock,
    storage,
    log: silentLog,
    counters,
    capacity,
    reachable: name => !down.has(name),
    gravity: name => (down.has(name) ? undefined : (gravities[name] ?? 0)),
    replaced: path => replaced.push(path),
  });
  const blob = ({ emitted, salt = 0 }: Offer) => encodeRandomBlob(new Uint8Array(5).fill(salt), emitted);
  const offer = (what: Offer, destination = key) => {
    const accepted = paths.accepts(destination, {
      hops: what.hops,
      randomBlob: blob(what),
      gravity: gravities[what.over ?? ''] ?? 0,
    });
    if (accepted) {
      paths.take(destination, {
        destinationHash: Uint8Array.fromHex(destination),
        hops: what.hops,
        nextHop: new Uint8Array(16).fill(what.hops),
        interfaceName: what.over ?? 'one',
        packetHash: new Uint8Array(32),
        randomBlob: blob(what),
        lifetime: week,
      });
    }
    return accepted;
  };
  return { clock, down, counters, paths, replaced, storage, offer };
}

describe('a path', () => {
  test('to an unknown destination is taken', () => {
    const { paths, offer } = table();
    assert.equal(offer({ hops: 3, emitted: 100 }), true);
    assert.equal(paths.get(key)?.hops, 3);
  });

  test('heard twice keeps the first, even if the second is shorter', () => {
    const { paths, offer } = table();
    offer({ hops: 3, emitted: 100 });
    assert.equal(offer({ hops: 3, emitted: 100 }), false);
    assert.equal(offer({ hops: 2, emitted: 100 }), false);
    assert.equal(offer({ hops: 2, emitted: 100, salt: 1 }), false);
    assert.equal(paths.get(key)?.hops, 3);
  });

  test('announced later is taken, shorter or longer', () => {
    const { paths, offer } = table();
    offer({ hops: 3, emitted: 100 });
    assert.equal(offer({ hops: 2, emitted: 101 }), true);
    assert.equal(offer({ hops: 5, emitted: 102 }), true);
    assert.equal(paths.get(key)?.hops, 5);
  });

  test('announced earlier is not taken, shorter or longer', () => {
    const { offer } = table();
    offer({ hops: 3, emitted: 100 });
    assert.equal(offer({ hops: 1, emitted: 99 }), false);
    assert.equal(offer({ hops: 5, emitted: 99 }), false);
  });

  test('that got no answer yields to one announced at the same time', () => {
    const { paths, offer } = table();
    offer({ hops: 1, emitted: 100 });
    paths.markUnresponsive(key);
    assert.equal(offer({ hops: 4, emitted: 99 }), false);
    assert.equal(offer({ hops: 4, emitted: 100 }), true);
    assert.equal(offer({ hops: 5, emitted: 100 }), false);
  });

  test('over an interface that is gone yields to one announced at the same time', () => {
    const { down, offer } = table();
    offer({ hops: 1, emitted: 100 });
    assert.equal(offer({ hops: 4, emitted: 100, over: 'two' }), false);
    down.add('one');
    assert.equal(offer({ hops: 4, emitted: 100, over: 'two' }), true);
  });

  test('is over after its lifetime, and then any other is taken', async () => {
    const { clock, paths, offer } = table();
    offer({ hops: 1, emitted: 100 });
    await clock.advance(week - 1);
    assert.ok(paths.get(key));
    await clock.advance(1);
    assert.equal(offer({ hops: 4, emitted: 90 }), true);
    assert.equal(paths.get(key)?.hops, 4);
    await clock.advance(week);
    assert.equal(paths.get(key), undefined);
    assert.equal(paths.size, 0);
  });

  test('that is over takes no room once others are learnt, though nobody asks for it', async () => {
    const { clock, paths, storage, offer } = table();
    offer({ hops: 3, emitted: 100 });
    await clock.advance(week);
    offer({ hops: 1, emitted: 100 }, '22'.repeat(16));
    assert.equal(paths.size, 1);
    await paths.flush();
    assert.equal([...storage.load('path')].length, 1);
  });

  test('makes room for the next where there are too many, the one heard longest ago first', () => {
    const { paths, offer } = table({ capacity: 3 });
    const keys = ['aa', 'bb', 'cc', 'dd'].map(part => part.repeat(16));
    for (const one of keys.slice(0, 3)) {
      offer({ hops: 1, emitted: 100 }, one);
    }
    offer({ hops: 1, emitted: 101 }, keys[0]);
    offer({ hops: 1, emitted: 100 }, keys[3]);
    assert.deepEqual(
      keys.map(one => paths.get(one) !== undefined),
      [true, false, true, true],
    );
  });

  test('that is used stays when a flood of others comes, one of ours longer than one of others', () => {
    const { paths, offer } = table({ capacity: 10 });
    const keyOf = (number: number) => number.toString(16).padStart(32, '0');
    const [ours, theirs] = [keyOf(1), keyOf(2)];
    offer({ hops: 1, emitted: 100 }, ours);
    offer({ hops: 1, emitted: 100 }, theirs);
    paths.use(ours, 'us');
    paths.use(ours, 'others');
    paths.use(theirs, 'others');
    for (let i = 100; i < 200; i++) {
      offer({ hops: 1, emitted: 100 }, keyOf(i));
    }
    assert.equal(paths.size, 10);
    assert.ok(paths.get(ours) && paths.get(theirs));
    for (let i = 200; i < 300; i++) {
      offer({ hops: 1, emitted: 100 }, keyOf(i));
      paths.use(keyOf(i), 'others');
    }
    assert.equal(paths.get(theirs), undefined);
    offer({ hops: 1, emitted: 101 }, ours);
    offer({ hops: 1, emitted: 100 }, keyOf(300));
    assert.ok(paths.get(ours));
    assert.equal(paths.size, 10);
  });

  test('is there again after a restart with what it knows of announces, until it is over', async () => {
    const storage = new MemoryStorage();
    const before = table({ storage });
    before.offer({ hops: 2, emitted: 100 });
    before.offer({ hops: 3, emitted: 101 }, '22'.repeat(16));
    before.paths.drop('22'.repeat(16));
    await before.paths.flush();
    const after = table({ storage });
    assert.deepEqual(after.paths.get(key), before.paths.get(key));
    assert.equal(after.paths.size, 1);
    assert.equal(after.offer({ hops: 1, emitted: 100 }), false);
    assert.equal(after.offer({ hops: 1, emitted: 101 }), true);
  });

  test('heard twice goes over the interface of more gravity, if that is no farther', () => {
    const { paths, offer } = table();
    offer({ hops: 3, emitted: 100 });
    assert.equal(offer({ hops: 4, emitted: 100, over: 'heavy' }), false);
    assert.equal(offer({ hops: 2, emitted: 100, over: 'light' }), false);
    assert.equal(offer({ hops: 3, emitted: 99, over: 'heavy' }), false);
    assert.equal(offer({ hops: 3, emitted: 100, over: 'heavy' }), true);
    assert.equal(offer({ hops: 3, emitted: 100, over: 'heavy' }), false);
    assert.equal(offer({ hops: 2, emitted: 100 }), false);
    assert.equal(paths.get(key)?.interfaceName, 'heavy');
    assert.equal(offer({ hops: 9, emitted: 101, over: 'light' }), true, 'what is newer wins in any case');
  });

  test('that another took the place of while its interface was gone comes back, unless that is nearer or newer', () => {
    for (const [other, back] of [
      [{ hops: 5, emitted: 100 }, true],
      [{ hops: 2, emitted: 100 }, false],
      [{ hops: 5, emitted: 101 }, false],
    ] as const) {
      const { down, paths, replaced, offer } = table();
      offer({ hops: 3, emitted: 100, over: 'tunnel' });
      down.add('tunnel');
      assert.equal(offer(other), true);
      assert.equal(replaced.length, 1);
      down.clear();
      paths.restore(key, replaced[0]!);
      assert.equal(paths.get(key)?.interfaceName, back ? 'tunnel' : 'one');
    }
  });

  test('moves with what leads over its interface', () => {
    const { paths, offer } = table();
    offer({ hops: 3, emitted: 100 });
    offer({ hops: 3, emitted: 100, over: 'other' }, '22'.repeat(16));
    paths.move('one', 'tunnel');
    assert.equal(paths.get(key)?.interfaceName, 'tunnel');
    assert.equal(paths.over('tunnel').length, 1);
    assert.equal(paths.over('other').length, 1);
    assert.equal(paths.over('one').length, 0);
  });

  test('that is stored is truncated wherever it ends early', () => {
    const stored = encodePath({
      destinationHash: Uint8Array.fromHex(key),
      hops: 7,
      nextHop: new Uint8Array(16).fill(1),
      interfaceName: 'lora',
      heard: 1_760_000_000_000,
      expires: 1_760_000_000_000 + week,
      packetHash: new Uint8Array(32).fill(2),
      blobs: Uint8Array.from({ length: 20 }, (_, at) => (at < 10 ? 1 : 2)),
    });
    const { emitted, unresponsive, ...path } = decodePath(key, stored);
    assert.deepEqual(encodePath(path), stored);
    assert.equal(emitted, 0x02_02_02_02_02);
    assert.equal(unresponsive, false);
    for (let length = 0; length < stored.length; length++) {
      assert.throws(() => decodePath(key, stored.subarray(0, length)), { code: 'wire/truncated' });
    }
    assert.throws(() => decodePath('zz', stored), { code: 'wire/malformed' });
    assert.throws(() => decodePath(key, Uint8Array.of(9, ...stored)), { code: 'wire/unsupported' });
  });
});
