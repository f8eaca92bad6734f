import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createSlotHash } from '../../../src/mesh/reticulum/slot-hash.ts';
import { seededRandom } from '../../sim/random.ts';

const count = 4096;
const slots = 8192;

/** How many of them want the slot that most want. */
function crowd(words: readonly (readonly [low: number, high: number])[], secret: Uint8Array): number {
  const slotHash = createSlotHash(secret);
  const wanted = new Map<number, number>();
  for (const [low, high] of words) {
    const slot = slotHash(low, high) & (slots - 1);
    wanted.set(slot, (wanted.get(slot) ?? 0) + 1);
  }
  return Math.max(...wanted.values());
}

describe('the slots of packet hashes', () => {
  test('are spread whichever bits of the hashes were made alike', () => {
    const random = seededRandom(1);
    const words = (make: (at: number, chance: number) => readonly [number, number]) =>
      Array.from({ length: count }, (_, at) => make(at, Math.floor(random.fraction() * 2 ** 32)));
    const kinds = {
      'the first word': words((_, chance) => [0x01020304, chance]),
      'the second word': words((_, chance) => [chance, 0x01020304]),
      'the low bits of both': words((at, chance) => [(at << 20) >>> 0, (chance & 0xfff00000) >>> 0]),
      'all but a count': words(at => [0, at]),
      'all but a count above': words(at => [(at << 20) >>> 0, 0]),
    };
    for (const [name, made] of Object.entries(kinds)) {
      const most = crowd(made, random.bytes(12));
      assert.ok(most < 64, `${name}: ${most} in one slot`);
    }
  });

  test('are others for another secret', () => {
    const [one, other] = [
      createSlotHash(new Uint8Array(12).fill(1)),
      createSlotHash(new Uint8Array(12).fill(2)),
    ];
    const same = Array.from({ length: count }, (_, at) => at).filter(
      at => one(at, at) % slots === other(at, at) % slots,
    );
    assert.ok(same.length < count / 10);
  });
});
