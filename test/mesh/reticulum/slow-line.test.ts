import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { SlowLine } from '../../../src/mesh/reticulum/slow-line.ts';
import { ManualClock } from '../../sim/clock.ts';

/** A medium that takes one packet after the other, when it is told to. */
function line(bitrate = 1200) {
  const clock = new ManualClock();
  const counters = new Counters();
  const given: number[] = [];
  const taken: (() => void)[] = [];
  const slow = new SlowLine({
    clock,
    counters,
    bitrate: () => bitrate,
    send: packet => {
      given.push(packet[0]!);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      taken.push(() => resolve(true));
      return promise;
    },
  });
  const bring = (number: number, source = 'a', length = 500) =>
    slow.pass(new Uint8Array(length).fill(number), 'relayed', source);
  const take = async () => {
    taken.shift()?.();
    await clock.advance(0);
  };
  const drain = async () => {
    while (taken.length > 0) {
      await take();
    }
  };
  return { clock, counters, given, slow, bring, take, drain };
}

describe('what is passed on over a slow medium', () => {
  test('of one that came over goes in order, as much as waits in all', async () => {
    const { given, slow, bring, drain, counters } = line();
    for (let number = 0; number < 20; number++) {
      bring(number);
    }
    assert.equal(counters.get('relay/queue-full'), 4);
    assert.equal(slow.size, 8000);
    await drain();
    assert.deepEqual(given, [...Array(16).keys()]);
    assert.equal(slow.size, 0);
  });

  test('has turns by where it came over, and room for who has little there', async () => {
    const { given, bring, drain, counters } = line();
    for (let number = 0; number < 100; number++) {
      bring(1, `server/${number % 4}`);
    }
    assert.equal(counters.get('relay/queue-full'), 84);
    for (let number = 0; number < 3; number++) {
      bring(2, 'uplink');
      bring(3, 'lora');
    }
    assert.equal(counters.get('relay/queue-full'), 84);
    await drain();
    assert.deepEqual(
      given.slice(0, 9).toSorted(),
      [1, 1, 1, 1, 1, 2, 2, 3, 3],
      'each has its turn behind what the medium was given',
    );
    assert.equal(given.length, 16 + 6);
  });

  test('is dropped where nobody waits for it any more, and never stops', async () => {
    const { clock, given, slow, bring, drain, counters } = line();
    for (let number = 0; number < 10; number++) {
      bring(number);
    }
    await clock.advance(61_000);
    await drain();
    assert.deepEqual(given, [0, 1]);
    assert.equal(counters.get('relay/queue-full'), 8);
    assert.equal(slow.size, 0);
    bring(11);
    assert.deepEqual(given, [0, 1, 11]);
  });
});
