import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { encodeKnown, KnownDestinations } from '../../../src/mesh/reticulum/known.ts';
import { encodePath } from '../../../src/mesh/reticulum/path-codec.ts';
import { PathTable } from '../../../src/mesh/reticulum/path-table.ts';
import type { MeshStorage, StoredEntry } from '../../../src/mesh/storage.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { heapInUse } from './heap.ts';

const random = seededRandom(8);
const count = 5000;

/** Gives entries made one by one, and says how much the heap has grown when the last was taken. */
function storage(make: (at: number) => StoredEntry): {
  readonly made: MeshStorage;
  readonly grown: () => number;
} {
  let grown = 0;
  return {
    made: {
      *load() {
        const before = heapInUse();
        for (let at = 0; at < count; at++) {
          yield make(at);
        }
        grown = heapInUse() - before;
      },
      save: async () => {},
      remove: async () => {},
    },
    grown: () => grown,
  };
}

function parts(made: MeshStorage) {
  return { clock: new ManualClock(), storage: made, log: silentLog, counters: new Counters() };
}

describe('what is loaded at a start', () => {
  test('of destinations never takes more than a kilobyte each', () => {
    const { made, grown } = storage(at => ({
      key: toHex(random.bytes(16)),
      value: encodeKnown({
        ...{ destinationHash: random.bytes(16), packetHash: random.bytes(32), heard: at, ratchetHeard: at },
        ...{ appData: undefined, ratchet: undefined, announceHasRatchet: true, used: false },
        nameHash: random.bytes(10),
        announce: concat(
          random.bytes(64),
          random.bytes(10),
          random.bytes(10),
          random.bytes(32),
          random.bytes(84),
        ),
        identity: undefined as never,
      }),
    }));
    const known = new KnownDestinations({ ...parts(made), capacity: 4000 });
    assert.equal(known.size, 4000);
    assert.ok(grown() < count * 1000, `${Math.round(grown() / count)} B each`);
    assert.equal(Math.min(...[...known.values()].map(({ heard }) => heard)), count - 4000);
    const [some] = known.values();
    const key = toHex(some!.destinationHash);
    assert.deepEqual([...known.values(one => one === key)], [some]);
  });

  test('of paths neither, and how many go where is told', () => {
    const { made, grown } = storage(at => ({
      key: toHex(random.bytes(16)),
      value: encodePath({
        ...{ destinationHash: random.bytes(16), nextHop: random.bytes(16), packetHash: random.bytes(32) },
        ...{ hops: 2, heard: at, expires: 1e15, blobs: random.bytes(10) },
        interfaceName: at % 5 === 0 ? 'one' : 'two',
      }),
    }));
    const paths = new PathTable({ ...parts(made), reachable: () => true, capacity: 4000 });
    assert.equal(paths.size, 4000);
    assert.ok(grown() < count * 1000, `${Math.round(grown() / count)} B each`);
    assert.equal(Math.min(...[...paths.values()].map(({ heard }) => heard)), count - 4000);
    const [some] = paths.values();
    const key = toHex(some!.destinationHash);
    assert.deepEqual([...paths.values(one => one === key)], [some]);
    assert.deepEqual(
      paths.counts(),
      new Map([
        ['one', 800],
        ['two', 3200],
      ]),
    );
  });
});
