import { test } from 'node:test';
import { runBusyDay } from './busy-day.ts';

const seed = Number(process.env.SEED ?? 1);

test(`a thousand destinations announce for a day, and radios of 1,200 bit/s keep to their share in every mode (seed ${seed})`, async t => {
  t.diagnostic(JSON.stringify(await runBusyDay({ seed, destinations: 1000, every: 12 * 3_600_000 })));
});
