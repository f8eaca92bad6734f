import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AskedShare } from '../../../src/mesh/reticulum/asked-share.ts';
import { ManualClock } from '../../sim/clock.ts';

test('who asks alone has nearly all that is given at once, then a tenth of the bitrate', async () => {
  const clock = new ManualClock();
  const share = new AskedShare(clock);
  let bytes = 0;
  while (share.take(100, 1200, 'lora')) {
    bytes += 100;
  }
  assert.ok(bytes >= 3000 && bytes <= 4096, `${bytes} at once`);
  for (let second = 0; second < 600; second++) {
    await clock.advance(1000);
    bytes += share.take(100, 1200, 'lora') ? 100 : 0;
  }
  assert.ok(bytes > 3000 + 8800 && bytes <= 4096 + 9000, `${bytes} in ten minutes`);
});

test('what is taken follows the bitrate that there is now', async () => {
  const clock = new ManualClock();
  const share = new AskedShare(clock);
  while (share.take(100, 10_000_000, 'lora')) {}
  await clock.advance(1000);
  assert.ok(!share.take(100, 1200, 'lora'));
});

test('those who ask without end leave the last of it to others of their listener, and more to others', async () => {
  const clock = new ManualClock();
  const share = new AskedShare(clock);
  const loud = ['server/a', 'server/b', 'server/c'];
  for (let at = 0; at < 3000; at++) {
    share.take(80, 1200, loud[at % 3]!);
    if (at % 10 === 0) {
      await clock.advance(200);
    }
  }
  assert.ok(!share.take(80, 1200, 'server/a'));
  assert.ok(share.take(300, 1200, 'server/calm'));
  assert.ok(share.take(300, 1200, 'uplink'));
  assert.ok(share.take(300, 1200, 'lora'));
});

test('of two who ask without end each has its part', async () => {
  const clock = new ManualClock();
  const share = new AskedShare(clock);
  const took = { one: 0, other: 0 };
  for (let second = 0; second < 3600; second++) {
    await clock.advance(1000);
    for (let times = 0; times < 20; times++) {
      took.one += share.take(80, 1200, 'one') ? 80 : 0;
    }
    took.other += share.take(80, 1200, 'other') ? 80 : 0;
  }
  assert.ok(took.other > 0.2 * took.one, `${took.other} beside ${took.one}`);
});
