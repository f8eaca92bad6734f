import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGatewayError } from '../../src/lib/errors.ts';
import { BoundedQueue, type Overflow } from '../../src/lib/queue.ts';

const queueOf = (overflow: Overflow, capacity = 2) =>
  new BoundedQueue<number>({ name: 'q', capacity, overflow });
const drain = (queue: BoundedQueue<number>) => Array.from({ length: queue.size }, () => queue.shift());

test('a full queue gives up the newest, the oldest, or refuses, and counts it', () => {
  const newest = queueOf('newest');
  assert.deepEqual(
    [1, 2, 3].map(item => newest.push(item)),
    [true, true, false],
  );
  assert.deepEqual(drain(newest), [1, 2]);
  const oldest = queueOf('oldest');
  assert.deepEqual(
    [1, 2, 3].map(item => oldest.push(item)),
    [true, true, true],
  );
  assert.deepEqual(drain(oldest), [2, 3]);
  const refusing = queueOf('refuse');
  refusing.push(1);
  refusing.push(2);
  assert.throws(
    () => refusing.push(3),
    error => isGatewayError(error, 'store/full') && error.retryable,
  );
  assert.deepEqual([newest.dropped, oldest.dropped, refusing.dropped], [1, 1, 1]);
});

test('order holds while much passes through', () => {
  const queue = queueOf('refuse', 500);
  let next = 0;
  for (let i = 0; i < 5000; i++) {
    queue.push(i);
    if (i % 3 !== 0 || queue.size > 400) {
      assert.equal(queue.shift(), next++);
    }
  }
  assert.deepEqual(
    drain(queue),
    Array.from({ length: 5000 - next }, (_, i) => next + i),
  );
  assert.equal(queue.shift(), undefined);
});

test('a reader waits for an item, and stops waiting with the reason of its signal', async () => {
  const queue = queueOf('refuse');
  const stop = new AbortController();
  const first = queue.take(stop.signal);
  queue.push(1);
  assert.equal(await first, 1);
  const second = assert.rejects(queue.take(stop.signal), /enough/);
  stop.abort(new DOMException('enough'));
  await second;
});
