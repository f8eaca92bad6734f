import { describe, test } from 'node:test';
import { runTwelveNodes } from './twelve-nodes.ts';

/** `SEEDS` runs from `SEED` on: a few for every commit, hundreds for a soak. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = Number(process.env.SEEDS ?? 3);

describe('twelve nodes in a row that hear their neighbours well and those behind them badly', () => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    test(`carry links and Resources over several of them to one end each (seed ${seed})`, async t => {
      t.diagnostic(`${await runTwelveNodes(seed)}`);
    });
  }
});
