import assert from 'node:assert/strict';
import { test } from 'node:test';
import { live, runRandomLife } from './random-life.ts';

/** `SEEDS` lives from `SEED` on: a few for every commit, thousands in a soak. */
const first = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const seeds = Number(process.env.SEEDS ?? 8);

for (let seed = first; seed < first + seeds; seed++) {
  test(`order, once, no echo and nothing lost in a random life of two hubs (SEED=${seed})`, async () => {
    await runRandomLife(seed);
  });
}

test('a life is the same each time it is lived', async () => {
  const [one, other] = [await live(first), await live(first)];
  assert.deepEqual(other.trace, one.trace);
});
