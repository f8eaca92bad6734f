import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { probe, probeDestinationOf, probeResponder } from '../../../src/mesh/reticulum/probe.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Air, neighbours, settled, TestNode } from './air.ts';

const asked = (node: TestNode, destination: Uint8Array, more = {}) =>
  probe({ destination, count: 1, size: 16, ...more }, node);

test('a probe finds the way, and says how long the answer took and how well it was heard', async () => {
  const { a, b, clock } = neighbours();
  const responder = probeResponder(b.transport.identity);
  b.transport.register(responder);
  assert.deepEqual(probeDestinationOf(b.transport.identity.hash), responder.hash);
  const asking = asked(a, responder.hash, { count: 3, pause: 1000 });
  await clock.advance(5000);
  const report = await asking;
  assert.deepEqual(
    { hops: report.hops, over: report.interfaceName, nextHop: report.nextHop },
    { hops: 1, over: 'a', nextHop: responder.hash },
  );
  assert.equal(report.results.length, 3);
  for (const { rtt, rssi } of report.results) {
    assert.ok(rtt !== undefined);
    assert.equal(rssi, -90);
  }
});

test('a probe without an answer is a result, and the next one is sent all the same', async () => {
  const { a, b, air, clock } = neighbours();
  const { destination } = b.serve({ proofStrategy: 'none' });
  await b.transport.announce(destination);
  await settled();
  const before = air.packets.length;
  const asking = asked(a, destination.hash, { count: 2, timeout: 5000 });
  await clock.advance(10_001);
  const { results } = await asking;
  assert.deepEqual(results, [
    { rtt: undefined, code: 'mesh/timeout' },
    { rtt: undefined, code: 'mesh/timeout' },
  ]);
  assert.deepEqual(
    air.packets.slice(before).map(bytes => decodePacket(bytes).packetType),
    ['data', 'data'],
  );
});

test('nobody to probe is no path, and a probe that is not waited for any more ends', async () => {
  const { a, clock } = neighbours();
  const nobody = asked(a, new Uint8Array(16));
  const refused = assert.rejects(nobody, { code: 'mesh/no-path' });
  await clock.advance(20_000);
  await refused;
  const stop = new AbortController();
  const asking = asked(a, new Uint8Array(16).fill(1), { signal: stop.signal });
  stop.abort(new RangeError('enough'));
  await assert.rejects(asking, /enough/);
  await assert.rejects(asked(a, new Uint8Array(16), { size: 400 }), { code: 'request/invalid' });
  await clock.advance(20_000);
});

test('probes of strangers are answered as far as they take little of the medium', async () => {
  const clock = new ManualClock();
  const air = new Air();
  const [a, b] = [new TestNode({ clock }), new TestNode({ clock })];
  a.use(air.join('a'));
  b.use(air.join('b', { bitrate: 3000 }));
  const responder = probeResponder(b.transport.identity, b);
  b.transport.register(responder);
  await b.transport.announce(responder);
  await settled();
  const answered = async () =>
    (await asked(a, responder.hash, { count: 20, timeout: 1 })).results.filter(({ rtt }) => rtt !== undefined)
      .length;
  const first = answered();
  await clock.advance(100);
  assert.equal(await first, 12);
  assert.equal(b.counters.get('probe/too-many'), 8);
  await clock.advance(60_000);
  const second = answered();
  await clock.advance(100);
  assert.ok((await second) >= 10);
});
