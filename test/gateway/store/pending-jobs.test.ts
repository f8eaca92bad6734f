import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PendingJobs } from '../../../src/gateway/store/pending-jobs.ts';

test('each is taken once, by its own number', () => {
  const jobs = new PendingJobs<string>();
  const a = jobs.add('a');
  const b = jobs.add('b');
  assert.equal(jobs.size, 2);
  assert.equal(jobs.take(b), 'b');
  assert.equal(jobs.take(b), undefined);
  assert.equal(jobs.take(a), 'a');
  assert.equal(jobs.size, 0);
  // A number that is known here is not that of another one.
  const c = jobs.add('c');
  assert.ok(c > b);
  assert.equal(jobs.take(a), undefined);
  assert.equal(jobs.take(c + 64), undefined);
  assert.equal(jobs.take(c), 'c');
});

test('one that waits while thousands come and go is not mistaken for any of them', () => {
  const jobs = new PendingJobs<string>();
  const old = jobs.add('old');
  const seen = new Set([old]);
  for (let n = 0; n < 5000; n++) {
    const id = jobs.add(`job ${n}`);
    assert.ok(!seen.has(id));
    seen.add(id);
    assert.equal(jobs.take(id), `job ${n}`);
  }
  assert.equal(jobs.take(old), 'old');
  assert.equal(jobs.size, 0);
});

test('thousands wait at once, are taken in any order, and those that are left come in their own', () => {
  const jobs = new PendingJobs<number>();
  const ids = Array.from({ length: 20_000 }, (_, n) => jobs.add(n));
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(jobs.size, ids.length);
  for (let n = ids.length - 1; n >= 0; n -= 2) {
    assert.equal(jobs.take(ids[n] as number), n);
  }
  const left = Array.from({ length: ids.length / 2 }, (_, n) => n * 2);
  assert.deepEqual(jobs.takeAll(), left);
  assert.equal(jobs.size, 0);
  assert.deepEqual(jobs.takeAll(), []);
  const id = jobs.add(7);
  assert.equal(jobs.take(id), 7);
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that 50,000 jobs of 1 kB, of which 64 wait at any time, have left among the old objects at most. */
function grownOld(jobs: PendingJobs<unknown>): number {
  const old = () =>
    getHeapSpaceStatistics().find(one => one.space_name === 'old_space')?.space_used_size ?? 0;
  const waiting: number[] = [];
  let before = Number.POSITIVE_INFINITY;
  let most = 0;
  for (let n = 0; n < 50_000; n++) {
    waiting.push(jobs.add({ all: new Array(120).fill(n) }));
    if (waiting.length > 64) {
      jobs.take(waiting.shift() as number);
    }
    if (n === 1000) {
      // What waits now is old from here on.
      collect();
      before = old();
    }
    most = n % 1000 === 0 ? Math.max(most, old()) : most;
  }
  return most - before;
}

test('what has been taken is young when it is collected', () => {
  const jobs = new PendingJobs<unknown>();
  grownOld(jobs);
  const grown = Array.from({ length: 8 }, () => grownOld(jobs));
  assert.ok(Math.max(...grown) < 2_000_000, `${grown.join(', ')} bytes have grown old`);
});
