import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isGatewayError } from '../../src/lib/errors.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { ManualClock } from './clock.ts';
import { Ether, type EtherOptions } from './ether.ts';
import { seededRandom } from './random.ts';

function listen(member: Interface, stop: AbortSignal) {
  const heard: number[] = [];
  const port = { ready() {}, attach() {}, receive: (packet: Uint8Array) => void heard.push(packet[0]!) };
  return { heard, ended: member.run(port, stop) };
}

async function sendAll(options: Omit<EtherOptions, 'clock' | 'random'>, seed = 1) {
  const clock = new ManualClock();
  const ether = new Ether({ clock, random: seededRandom(seed), ...options });
  const stop = new AbortController();
  const a = ether.join('a');
  const b = ether.join('b');
  listen(a, stop.signal);
  const { heard, ended } = listen(b, stop.signal);
  for (let i = 0; i < 200; i++) {
    void a.send(new Uint8Array(100).fill(i));
  }
  await clock.advance(60_000);
  stop.abort();
  await ended;
  return heard;
}

test('timers fire in order of time, and what one sets off runs before the next', async () => {
  const clock = new ManualClock(0);
  const seen: string[] = [];
  clock.after(20, () => seen.push(`c ${clock.now()}`));
  clock.after(5, () => seen.push('never'))();
  const chain = (async () => {
    await clock.sleep(10);
    seen.push(`a ${clock.now()}`);
    await clock.sleep(5);
    seen.push(`b ${clock.now()}`);
  })();
  await clock.advance(100);
  await chain;
  assert.deepEqual(seen, ['a 10', 'b 15', 'c 20']);
  assert.equal(clock.monotonic(), 100);
  assert.equal(clock.waiting, 0);
});

test('a sleep ends with the reason of its signal and leaves no timer', async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const sleep = assert.rejects(clock.sleep(10, stop.signal), /enough/);
  stop.abort(new DOMException('enough'));
  await sleep;
  assert.equal(clock.waiting, 0);
});

test('advancing until something holds gives up at its limit', async () => {
  const clock = new ManualClock(0);
  let done = false;
  clock.after(120, () => {
    done = true;
  });
  await clock.advanceUntil(() => done);
  assert.ok(clock.now() >= 120 && clock.now() <= 150);
  await assert.rejects(
    clock.advanceUntil(() => false, { limit: 1000 }),
    error => isGatewayError(error, 'mesh/timeout'),
  );
});

test('the same seed gives the same chance, another one does not', () => {
  assert.deepEqual(seededRandom(7).bytes(64), seededRandom(7).bytes(64));
  assert.notDeepEqual(seededRandom(7).bytes(64), seededRandom(8).bytes(64));
  const random = seededRandom(9);
  const mean = Array.from({ length: 10_000 }, () => random.fraction()).reduce((a, b) => a + b) / 10_000;
  assert.ok(mean > 0.48 && mean < 0.52);
});

test('a good ether carries everything in order', async () => {
  assert.deepEqual(await sendAll({}), [...Array(200).keys()]);
});

test('loss, duplication and reordering follow from the seed', async () => {
  const bad = { loss: 0.3, duplication: 0.1, reordering: 0.2, latency: 50 };
  const heard = await sendAll(bad, 5);
  assert.ok(new Set(heard).size > 110 && new Set(heard).size < 170);
  assert.ok(heard.length > new Set(heard).size);
  assert.notDeepEqual(
    heard,
    heard.toSorted((a, b) => a - b),
  );
  assert.deepEqual(await sendAll(bad, 5), heard);
  assert.notDeepEqual(await sendAll(bad, 6), heard);
});

test('sides of a partition do not hear each other until it heals', async () => {
  const clock = new ManualClock();
  const ether = new Ether({ clock, random: seededRandom(1) });
  const stop = new AbortController();
  const [a, b, c] = ['a', 'b', 'c'].map(name => ether.join(name)) as [Interface, Interface, Interface];
  const sides = [a, b, c].map(member => listen(member, stop.signal));
  ether.partition(['a', 'b'], ['c']);
  void a.send(Uint8Array.of(1));
  await clock.advance(100);
  ether.heal();
  void a.send(Uint8Array.of(2));
  await clock.advance(100);
  assert.deepEqual(
    sides.map(side => side.heard),
    [[], [1, 2], [2]],
  );
  stop.abort();
});

test('sending takes its time on air and refuses what is too large or not running', async () => {
  const clock = new ManualClock(0);
  const ether = new Ether({ clock, random: seededRandom(1), bitrate: 8000, mtu: 100 });
  const a = ether.join('a');
  await assert.rejects(a.send(new Uint8Array(10)), error => isGatewayError(error, 'radio/offline'));
  const stop = new AbortController();
  listen(a, stop.signal);
  await assert.rejects(a.send(new Uint8Array(101)), error => isGatewayError(error, 'mesh/too-large'));
  let sentAt = 0;
  void Promise.all([a.send(new Uint8Array(100)), a.send(new Uint8Array(50))]).then(() => {
    sentAt = clock.now();
  });
  await clock.advance(1000);
  assert.equal(sentAt, 150);
  stop.abort();
});

test('a cut member is offline', async () => {
  const ether = new Ether({ clock: new ManualClock(), random: seededRandom(1) });
  const { ended } = listen(ether.join('a'), new AbortController().signal);
  ether.cut('a');
  await assert.rejects(ended, error => isGatewayError(error, 'radio/offline'));
});
