import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Duplicates } from '../../../src/mesh/reticulum/duplicates.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { createSlotHash } from '../../../src/mesh/reticulum/slot-hash.ts';

const slotHash = createSlotHash(hashOf(7));

function hashOf(number: number): Uint8Array {
  return sha256(new Uint8Array(new Uint32Array([number]).buffer));
}

describe('duplicates', () => {
  test('are known for at least the last capacity hashes, and at most twice as many', () => {
    const capacity = 5000;
    const heard = new Duplicates(capacity, slotHash);
    for (let i = 0; i < 20_000; i++) {
      heard.add(hashOf(i));
    }
    const known = Array.from({ length: 20_000 }, (_, i) => heard.has(hashOf(i)));
    assert.ok(known.slice(-capacity).every(Boolean));
    assert.ok(known.filter(Boolean).length <= 2 * capacity);
  });

  test('take no more room for what is added and deleted without end, and lose nothing over it', () => {
    const heard = new Duplicates(1_000_000, slotHash);
    for (let i = 0; i < 300; i++) {
      heard.add(hashOf(i));
    }
    for (let i = 1000; i < 40_000; i++) {
      heard.add(hashOf(i));
      heard.delete(hashOf(i));
    }
    assert.ok(heard.slots <= 4096, `${heard.slots} slots`);
    assert.equal(heard.size, 300);
    assert.ok(Array.from({ length: 300 }, (_, i) => heard.has(hashOf(i))).every(Boolean));
  });

  test('behave like a set, whatever is added and deleted', () => {
    const operation = fc.record({ add: fc.boolean(), hash: fc.uint8Array({ minLength: 8, maxLength: 8 }) });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 3000 }), operations => {
        const heard = new Duplicates(10_000, slotHash);
        const model = new Set<string>();
        for (const { add, hash } of operations) {
          const key = normal(hash).toHex();
          if (add) {
            heard.add(hash);
            model.add(key);
          } else {
            heard.delete(hash);
            model.delete(key);
          }
        }
        for (const { hash } of operations) {
          assert.equal(heard.has(hash), model.has(normal(hash).toHex()));
        }
      }),
      { numRuns: 50 },
    );
  });
});

/** Hashes whose second word is 0 or 1 count as those with 2 or 3 there. */
function normal(hash: Uint8Array): Uint8Array {
  const same = new Uint8Array(hash);
  if (same[4]! < 2 && same[5] === 0 && same[6] === 0 && same[7] === 0) {
    same[4] = same[4]! + 2;
  }
  return same;
}
