import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDayOfLife } from './day-of-life.ts';

const seed = Number(process.env.SEED ?? 1);

test(`a gateway holds no more after a day of comings and goings than after a morning (seed ${seed})`, async t => {
  const { messages, delivered, visitors, most } = await runDayOfLife(seed);
  t.diagnostic(JSON.stringify({ messages, delivered, visitors, most }));
  assert.ok(visitors > 50 && delivered > messages * 0.8);
});
