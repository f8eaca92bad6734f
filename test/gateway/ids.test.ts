import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orderedId } from '../../src/gateway/ids.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { systemRandom } from '../../src/lib/random.ts';

test('an id is the time in ms and chance, in hex, whatever the time is', () => {
  const times = [0, 1, 2 ** 24 - 1, 2 ** 24, 1_767_225_600_000, 2 ** 48 - 1];
  const ids = times.map(now => orderedId({ ...systemClock, now: () => now }, systemRandom));
  assert.deepEqual(
    ids.map(id => Number.parseInt(id.slice(0, 12), 16)),
    times,
  );
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{32}$/);
  }
  assert.deepEqual(ids.toSorted(), ids);
});
