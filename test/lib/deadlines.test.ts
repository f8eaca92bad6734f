import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadlines } from '../../src/lib/deadlines.ts';
import { ManualClock } from '../sim/clock.ts';

test('each is called once, after its delay and in its turn, with one timer for all', async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  const note = (what: string) => () => void seen.push(`${what} ${clock.monotonic()}`);
  const start = clock.monotonic();
  deadlines.after(note('first'));
  await clock.advance(40);
  deadlines.after(note('second'));
  deadlines.after(note('third'));
  await clock.advance(59);
  assert.deepEqual(seen, []);
  await clock.advance(1);
  assert.deepEqual(seen, [`first ${start + 100}`]);
  await clock.advance(39);
  assert.equal(seen.length, 1);
  await clock.advance(1);
  assert.deepEqual(seen.slice(1), [`second ${start + 140}`, `third ${start + 140}`]);
  await clock.advance(1000);
  assert.equal(seen.length, 3);
});

test('what is cancelled is not called, nor what comes after it late', async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  const cancel = deadlines.after(() => seen.push('cancelled'));
  await clock.advance(50);
  cancel();
  cancel();
  deadlines.after(() => seen.push('kept'));
  await clock.advance(99);
  assert.equal(seen.length, 0);
  await clock.advance(1);
  assert.deepEqual(seen, ['kept']);
  // The timer is set anew when there is something to wait for again.
  deadlines.after(() => seen.push('again'));
  await clock.advance(100);
  assert.deepEqual(seen, ['kept', 'again']);
});

test('one that is asked for by another is waited for, too, and one that another cancels is not called', async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  deadlines.after(() => {
    seen.push('first');
    cancel();
    deadlines.after(() => seen.push('third'));
  });
  const cancel = deadlines.after(() => seen.push('second'));
  await clock.advance(100);
  assert.deepEqual(seen, ['first']);
  await clock.advance(100);
  assert.deepEqual(seen, ['first', 'third']);
});

test('behind one that throws the others are called at their time, and later ones, too', async () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  const deadlines = new Deadlines(clock, 100);
  deadlines.after(() => {
    throw new TypeError('a bug');
  });
  deadlines.after(() => seen.push('with it'));
  await clock.advance(50);
  deadlines.after(() => seen.push('behind it'));
  await assert.rejects(clock.advance(50), TypeError);
  await clock.advance(0);
  assert.deepEqual(seen, ['with it']);
  await clock.advance(50);
  assert.deepEqual(seen, ['with it', 'behind it']);
  deadlines.after(() => seen.push('later'));
  await clock.advance(100);
  assert.deepEqual(seen, ['with it', 'behind it', 'later']);
});
