import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from '../../src/lib/counters.ts';

test('counts begin at 0, go up and are listed by name', () => {
  const counters = new Counters();
  assert.equal(counters.get('b'), 0);
  counters.add('b');
  counters.add('a', 5);
  counters.add('b', 2);
  assert.deepEqual(Object.entries(counters.snapshot()), [
    ['a', 5],
    ['b', 3],
  ]);
});
