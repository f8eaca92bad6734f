import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seed } from '../sim/seed.ts';
import { runThreeUsers } from './three-users.ts';

/* A share of what `npm run soak -- --only three-users` does with 10,000 operations for each seed. */
const operations = Number(process.env.OPERATIONS ?? 1500);

test(`no read or write of three users crosses in ${operations} random operations on the whole API, and the log holds no secret`, {
  timeout: 400_000,
}, async t => {
  t.diagnostic(`SEED=${seed}`);
  const report = await runThreeUsers({ seed, operations });
  t.diagnostic(JSON.stringify(report));
  assert.ok(report.operations >= operations);
});
