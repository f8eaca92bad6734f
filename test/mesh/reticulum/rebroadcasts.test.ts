import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { Rebroadcasts } from '../../../src/mesh/reticulum/rebroadcasts.ts';
import { ManualClock } from '../../sim/clock.ts';

function under(t: { after(body: () => void): void }) {
  const clock = new ManualClock();
  const sent: string[] = [];
  const rebroadcasts = new Rebroadcasts({
    clock,
    counters: new Counters(),
    random: { ...systemRandom, fraction: () => 0.5 },
    send: ({ key }) => sent.push(key),
  });
  t.after(() => rebroadcasts.close());
  const add = (key: string, hops: number) =>
    rebroadcasts.add({ key, hops, emitted: 1, packet: new Uint8Array(0) });
  return { clock, sent, rebroadcasts, add };
}

test('announces that are due together leave in the order of their distance', async t => {
  const { clock, sent, add } = under(t);
  add('far', 6);
  add('near', 2);
  add('between', 4);
  await clock.advance(500);
  assert.deepEqual(sent, ['near', 'between', 'far']);
});

test('two copies leave, and the announce is known as passed on for as long again', async t => {
  const { clock, sent, rebroadcasts, add } = under(t);
  add('a', 1);
  await clock.advance(500);
  assert.equal(rebroadcasts.get('a')?.sent, 1);
  await clock.advance(5500);
  assert.deepEqual([sent.length, rebroadcasts.get('a')?.sent], [2, 2]);
  await clock.advance(6000);
  assert.deepEqual([sent.length, rebroadcasts.size], [2, 0]);
});
