import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runFiftyNodes } from './fifty-nodes.ts';

/** `SEEDS` runs from `SEED` on: one for every commit, hundreds for a soak. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = Number(process.env.SEEDS ?? 1);

describe('fifty nodes on media of every kind, for an hour', () => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    test(`bring every message to its end once, whatever breaks, and come to rest (seed ${seed})`, async t => {
      const report = await runFiftyNodes(seed);
      t.diagnostic(JSON.stringify(report));
      assert.ok(report.letters > 100 && report.cargoes > 10 && report.kills + report.cuts > 5);
    });
  }
});
