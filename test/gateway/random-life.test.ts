import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seed } from '../sim/seed.ts';
import { live, runRandomLife } from './random-life.ts';

/** `SEEDS` lives from `SEED` on: a few for every commit, thousands in a soak. */
const seeds = Number(process.env.SEEDS ?? 8);

for (let one = seed; one < seed + seeds; one++) {
  test(`order, once, no echo and nothing lost in a random life of two hubs (SEED=${one})`, async () => {
    await runRandomLife(one);
  });
}

test('a life is the same each time it is lived', async () => {
  const [one, other] = [await live(seed), await live(seed)];
  assert.deepEqual(other.trace, one.trace);
});
