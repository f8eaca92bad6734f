import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';

test('a sleep that is aborted, before or during, rejects with the reason', async () => {
  const reason = new DOMException('enough');
  await assert.rejects(systemClock.sleep(60_000, AbortSignal.abort(reason)), reason);
  const stop = new AbortController();
  const sleep = assert.rejects(systemClock.sleep(60_000, stop.signal), reason);
  stop.abort(reason);
  await sleep;
});

test('a delay longer than a timer can take does not fire at once', async () => {
  let fired = false;
  const cancel = systemClock.after(2 ** 40, () => {
    fired = true;
  });
  await systemClock.sleep(5);
  assert.equal(fired, false);
  cancel();
  cancel();
});

test('a callback that is cancelled does not come, another one does', async () => {
  const seen: string[] = [];
  systemClock.after(1, () => seen.push('cancelled'))();
  systemClock.after(1, () => seen.push('kept'));
  await systemClock.sleep(20);
  assert.deepEqual(seen, ['kept']);
});
