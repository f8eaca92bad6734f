import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { type Service, type ServiceHealth, supervise } from '../../src/lib/service.ts';
import { ManualClock } from '../sim/clock.ts';

const lost = new GatewayError('radio/offline', 'cable out');

function watch(run: Service['run']) {
  const clock = new ManualClock(0);
  const stop = new AbortController();
  const states: ServiceHealth[] = [];
  const random = { bytes: (length: number) => new Uint8Array(length), fraction: () => 1 };
  const ended = supervise(
    { name: 's', run },
    { clock, random, log: silentLog, signal: stop.signal, onChange: health => states.push(health) },
  );
  return { clock, stop, states, ended };
}

test('a service that fails waits longer each time, up to the longest', async () => {
  const { clock, stop, states, ended } = watch(() => Promise.reject(lost));
  await clock.advance(120_000);
  const starts = states.filter(({ state }) => state === 'waiting').map(({ since }) => since);
  const waits = starts.slice(1).map((at, i) => at - starts[i]!);
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  assert.deepEqual([states[1]?.code, states[1]?.reason], ['radio/offline', 'cable out']);
  stop.abort();
  await ended;
  assert.equal(states.at(-1)?.state, 'stopped');
  assert.equal(clock.waiting, 0);
});

test('having been ready starts the waits over', async () => {
  const { clock, stop, states, ended } = watch(ready => {
    ready();
    return Promise.reject(lost);
  });
  await clock.advance(1000);
  const waits = states.filter(({ state }) => state === 'waiting').map(({ since }) => since);
  assert.deepEqual(waits, [0, 200, 400, 600, 800, 1000]);
  stop.abort();
  await ended;
});

test('what is none of our errors is counted as a bug and survived', async () => {
  const { clock, stop, states, ended } = watch(() => Promise.reject(new TypeError('oops')));
  await clock.advance(200);
  assert.equal(states.at(-1)?.bugs, 2);
  assert.equal(states.at(-1)?.code, 'internal');
  stop.abort();
  await ended;
});
