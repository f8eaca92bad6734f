import { describe, test } from 'node:test';
import { runTwoNodes } from './two-nodes.ts';

/** `SEEDS` runs from `SEED` on: a few for every commit, hundreds for a soak. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = Number(process.env.SEEDS ?? 2);

describe('two nodes on a medium that loses, repeats and reorders', () => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    test(`bring everything to an end and leave nothing behind (seed ${seed})`, async t => {
      t.diagnostic(`${await runTwoNodes(seed)}`);
    });
  }
});
