import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnnounceRates } from '../../../src/mesh/reticulum/announce-rate.ts';

const hour = 3_600_000;

test('a destination that announces too often is not passed on until an hour has gone by, others are', () => {
  const rates = new AnnounceRates();
  const allowed = Array.from({ length: 8 }, (_, at) => rates.allows('often', at * 60_000));
  assert.deepEqual(allowed, [true, true, true, true, true, true, false, false]);
  assert.equal(rates.allows('other', 8 * 60_000), true);
  assert.equal(rates.allows('often', hour + 6 * 60_000), true);
});

test('a destination that keeps still is forgotten, one that announced too often later', () => {
  const rates = new AnnounceRates();
  rates.allows('once', 0);
  for (let at = 0; at < 4; at++) {
    rates.allows('often', at * 60_000);
  }
  rates.allows('new', hour + 1000);
  assert.equal(rates.size, 2);
  rates.allows('newer', 5 * hour);
  assert.equal(rates.size, 1);
});

test('no more than its capacity is remembered', () => {
  const rates = new AnnounceRates(3);
  for (let at = 0; at < 9; at++) {
    rates.allows(`${at}`, 0);
  }
  assert.equal(rates.size, 3);
});
