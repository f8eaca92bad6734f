import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InterfaceAllowances } from '../../../src/mesh/reticulum/allowance.ts';
import { ManualClock } from '../../sim/clock.ts';

test('what an interface may send for strangers follows the bitrate that it is given while it runs', async () => {
  const clock = new ManualClock();
  const allowances = new InterfaceAllowances(clock, 0.1, second => Math.max(1000, second));
  const iface = { bitrate: 10_000_000 };
  assert.ok(allowances.take(iface, 100_000));
  iface.bitrate = 1200;
  let bytes = 0;
  for (let second = 0; second < 60; second++) {
    while (allowances.take(iface, 50)) {
      bytes += 50;
    }
    await clock.advance(1000);
  }
  assert.ok(bytes <= 1000 + 60 * 15, `${bytes} bytes at 1200 bit/s in a minute`);
  iface.bitrate = 10_000_000;
  assert.ok(!allowances.take(iface, 100_000));
  await clock.advance(1000);
  assert.ok(allowances.take(iface, 100_000));
});
