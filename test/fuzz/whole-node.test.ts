import { test } from 'node:test';
import { fuzzWholeNode } from './whole-node.ts';

const seed = Number(process.env.SEED ?? 1);
const injections = Number(process.env.FUZZ_RUNS ?? 6000);

test(`a node in use sends nothing that the rules forbid, whatever is mixed into its traffic (SEED=${seed})`, async t => {
  t.diagnostic(JSON.stringify(await fuzzWholeNode(seed, injections)));
});
