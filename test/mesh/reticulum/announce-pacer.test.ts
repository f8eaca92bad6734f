import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { AnnouncePacer } from '../../../src/mesh/reticulum/announce-pacer.ts';
import { ManualClock } from '../../sim/clock.ts';

function pacers(limit: number) {
  const clock = new ManualClock();
  const counters = new Counters();
  const room = { used: 0, limit };
  const sent: number[] = [];
  const make = () =>
    new AnnouncePacer({
      clock,
      counters,
      room,
      iface: { name: 'lora', mtu: 500, linkMtu: 500, bitrate: 1000, online: true },
      send: packet => sent.push(packet[0]!),
    });
  const announce = (number: number, hops: number, source = 'uplink') => ({
    source,
    key: `${number}`,
    hops,
    emitted: 1,
    packet: new Uint8Array(100).fill(number),
  });
  return { clock, counters, room, sent, make, announce };
}

describe('announces that wait for an interface', () => {
  test('are bounded for all together: the farthest gives way to a nearer one', async () => {
    const { clock, counters, room, sent, make, announce } = pacers(3);
    const pacer = make();
    const other = make();
    pacer.offer(announce(1, 1));
    pacer.offer(announce(2, 9));
    pacer.offer(announce(3, 5));
    other.offer(announce(11, 1));
    other.offer(announce(12, 1));
    assert.equal(room.used, 3);
    pacer.offer(announce(4, 9));
    pacer.offer(announce(5, 2));
    other.offer(announce(13, 1));
    assert.deepEqual([pacer.waiting, other.waiting, room.used], [2, 1, 3]);
    assert.equal(counters.get('announce/queue-full'), 3);
    other.close();
    assert.equal(room.used, 2);
    await clock.advance(200_000);
    assert.deepEqual(sent, [1, 11, 5, 3]);
    assert.equal(room.used, 0);
  });

  test('keep to their share with the access code they leave with', async () => {
    const { clock, counters, room, announce } = pacers(10);
    const left: number[] = [];
    const policy = { accessCode: new AccessCode({ networkName: 'elm', size: 16 }) };
    const pacer = new AnnouncePacer({
      clock,
      counters,
      room,
      iface: { name: 'lora', mtu: 500, linkMtu: 500, bitrate: 1000, online: true, policy },
      send: () => left.push(clock.monotonic()),
    });
    pacer.offer(announce(1, 1));
    pacer.offer(announce(2, 1));
    await clock.advance(100_000);
    // 116 B at 1,000 bit/s, fifty times over.
    assert.deepEqual(left, [0, 46_400]);
  });

  test('do not wait where an interface that has none finds no room', () => {
    const { room, make, announce } = pacers(1);
    const [one, two] = [make(), make()];
    one.offer(announce(1, 1));
    one.offer(announce(2, 1));
    two.offer(announce(3, 1));
    two.offer(announce(4, 1));
    assert.deepEqual([one.waiting, two.waiting, room.used], [1, 0, 1]);
  });

  test('leave in turn by where they were heard: a flood of neighbours delays nobody who came another way', async () => {
    const { clock, sent, make, announce } = pacers(10_000);
    const pacer = make();
    for (let number = 0; number < 200; number++) {
      pacer.offer({ ...announce(1, 1), key: `flood ${number}`, source: `server/192.0.2.${number % 50}:1` });
    }
    pacer.offer(announce(7, 6, 'uplink'));
    pacer.offer(announce(8, 9, 'uplink'));
    // 40 s of air share each.
    await clock.advance(4 * 40_000);
    assert.deepEqual(sent, [1, 1, 7, 1, 8]);
  });

  test('share what one listener found among its peers', async () => {
    const { clock, sent, make, announce } = pacers(10_000);
    const pacer = make();
    for (let number = 0; number < 200; number++) {
      pacer.offer({ ...announce(1, 1), key: `flood ${number}`, source: 'server/192.0.2.1:1' });
    }
    pacer.offer(announce(7, 2, 'server/192.0.2.9:1'));
    await clock.advance(3 * 40_000);
    assert.deepEqual(sent, [1, 1, 7, 1]);
  });

  test('are no more than can leave before they are stale; then the fullest of those they came from gives way', async () => {
    const { clock, counters, make, announce } = pacers(10_000);
    const pacer = make();
    for (let number = 0; number < 5000; number++) {
      pacer.offer({ ...announce(1, 1), key: `flood ${number}` });
    }
    // 20 bit/s for three hours, at 167 B each.
    assert.equal(pacer.waiting, 162);
    pacer.offer({ ...announce(7, 30, 'other') });
    assert.equal(pacer.waiting, 162);
    assert.equal(counters.get('announce/queue-full'), 4838);
    await clock.advance(3 * 3_600_000);
    pacer.close();
  });
});
