import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { Burst, Frequency } from '../../../src/mesh/reticulum/burst.ts';
import type { Inbound, InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { Egress } from '../../../src/mesh/reticulum/egress.ts';
import { inboundFrom } from '../../../src/mesh/reticulum/inbound.ts';
import { type HeldAnnounce, Ingress } from '../../../src/mesh/reticulum/ingress.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import { contexts, encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { ManualClock } from '../../sim/clock.ts';

function handle(name: string, policy: InterfacePolicy = {}): InterfaceHandle {
  return { name, mtu: 500, linkMtu: 500, bitrate: 1000, online: true, policy, attachedAt: 0 };
}

function announce(iface: InterfaceHandle, hops: number, byte = 0): Inbound {
  const raw = encodePacket({
    hops: hops - 1,
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'single',
    packetType: 'announce',
    destinationHash: new Uint8Array(16),
    context: contexts.none,
    data: new Uint8Array([byte]),
  });
  return inboundFrom(raw, iface, undefined);
}

function gate(options: { readonly capacity?: number; readonly policy?: InterfacePolicy } = {}) {
  const clock = new ManualClock();
  const counters = new Counters();
  const released: HeldAnnounce[] = [];
  const ingress = new Ingress({
    clock,
    counters,
    release: held => released.push(held),
    ...(options.capacity !== undefined && { capacity: options.capacity }),
  });
  const iface = handle('uplink', options.policy);
  let number = 0;
  /** So many announces of unknown destinations at once; how many were let in. */
  const bring = (count: number, from = iface, hops = 1) => {
    let taken = 0;
    for (let at = 0; at < count; at++) {
      taken += ingress.holds(`d${number++}`, announce(from, hops)) ? 0 : 1;
    }
    return taken;
  };
  return { clock, counters, released, ingress, iface, bring };
}

describe('a frequency', () => {
  test('is measured over five seconds, so that what is told at once is no flood', () => {
    const frequency = new Frequency();
    for (let at = 0; at < 15; at++) {
      frequency.note(1000);
    }
    assert.equal(frequency.exceeds(3, 1000), false);
    frequency.note(1000);
    assert.equal(frequency.exceeds(3, 1000), true);
    assert.equal(frequency.exceeds(3, 6400), false);
  });

  test('of announces is measured over half of that', () => {
    const frequency = new Frequency(2500);
    for (let at = 0; at < 7; at++) {
      frequency.note(1000);
    }
    assert.equal(frequency.exceeds(3, 1000), false);
    frequency.note(1500);
    assert.equal(frequency.exceeds(3, 1500), true);
    assert.equal(frequency.exceeds(3, 3667), false);
  });

  test('can be as high as is configured, and is forgotten after ten seconds', () => {
    const frequency = new Frequency();
    for (let at = 0; at < 64; at++) {
      frequency.note(at * 10);
    }
    assert.equal(frequency.exceeds(90, 630), true);
    assert.equal(frequency.exceeds(1, 10_700), false);
  });
});

describe('a burst', () => {
  test('lasts until it was calm for its time, counted from the last moment above the rate', () => {
    const burst = new Burst();
    const limits = { rate: 3, calm: 15_000 };
    for (let at = 0; at < 20; at++) {
      burst.note(0);
    }
    assert.equal(burst.lasts(limits, 0), true);
    assert.equal(burst.lasts(limits, 6000), true);
    assert.equal(burst.lasts(limits, 21_000), true);
    assert.equal(burst.lasts(limits, 21_001), false);
  });
});

describe('announces of unknown destinations', () => {
  test('are held from when too many came, and let in one each five seconds after the penalty, the nearest first', async () => {
    const { clock, counters, released, ingress, iface, bring } = gate();
    assert.equal(bring(6), 6);
    assert.equal(ingress.holds('far', announce(iface, 9)), false);
    assert.equal(ingress.holds('farther', announce(iface, 5)), true);
    assert.equal(bring(1), 0);
    assert.equal(ingress.heldOf(iface), 2);
    await clock.advance(14_999);
    assert.equal(released.length, 0);
    await clock.advance(1);
    assert.deepEqual(
      released.map(({ hops }) => hops),
      [1],
    );
    await clock.advance(5000);
    assert.deepEqual(
      released.map(({ hops }) => hops),
      [1, 5],
    );
    assert.equal(ingress.size, 0);
    assert.equal(counters.get('announce/burst'), 1);
    await clock.advance(20_000);
    assert.equal(clock.waiting, 0);
  });

  test('are not let in while more keep coming', async () => {
    const { clock, released, bring } = gate();
    bring(20);
    for (let at = 0; at < 60; at++) {
      await clock.advance(250);
      bring(1);
    }
    assert.equal(released.length, 0);
    await clock.advance(12_000);
    assert.ok(released.length > 0);
  });

  test('may come more often when the interface is two hours old', async () => {
    const { clock, bring } = gate();
    await clock.advance(2 * 3_600_000);
    assert.equal(bring(25), 25);
    assert.equal(bring(10), 0);
  });

  test('are held up to a bound for each interface, and for all: then the fullest gives one up', () => {
    const { counters, ingress, iface, bring } = gate({ capacity: 300, policy: { ingress: { held: 250 } } });
    bring(300);
    assert.equal(ingress.heldOf(iface), 250);
    assert.equal(counters.get('announce/held-full'), 43);
    const other = handle('other');
    bring(107, other);
    assert.equal(ingress.size, 300);
    assert.equal(ingress.heldOf(other), 100);
    assert.equal(ingress.heldOf(iface), 200);
    ingress.dropOver(iface);
    assert.equal(ingress.size, 100);
    ingress.close();
    assert.equal(ingress.size, 0);
  });

  test('of all peers of a listener together are limited, and each may bring one in ten seconds all the same', async () => {
    const { clock, ingress, released, bring } = gate({ capacity: 100_000 });
    const peers = Array.from({ length: 200 }, (_, at) => handle(`server/192.0.2.1:${at}`));
    let taken = 0;
    for (let second = 0; second < 60; second++) {
      for (const peer of peers) {
        taken += bring(2, peer);
      }
      await clock.advance(1000);
    }
    // Not twice 200 a second: about 40 of all, and one in ten seconds of each.
    const all = taken + released.length;
    assert.ok(all <= 60 * (40 + 20) + 200, `${taken} came in, ${released.length} were let in`);
    const quiet = handle('server/192.0.2.2:1');
    assert.equal(bring(1, quiet), 1);
    assert.equal(bring(3, handle('uplink')), 3);
    const before = released.length;
    await clock.advance(120_000);
    const later = released.length - before;
    assert.ok(later > 0 && later <= 120 * 45, `${later} were let in`);
    for (const peer of [...peers, quiet]) {
      ingress.dropOver(peer);
    }
    assert.equal(ingress.size, 0);
    assert.equal(bring(2, handle('server/192.0.2.3:1')), 2);
    ingress.close();
  });

  test('that somebody asks for come in at once', () => {
    const { released, ingress, iface, bring } = gate();
    bring(7);
    ingress.holds('wanted', announce(iface, 3));
    ingress.asked('other');
    ingress.asked('wanted');
    assert.deepEqual(
      released.map(({ key }) => key),
      ['wanted'],
    );
    assert.equal(ingress.size, 0);
  });

  test('are not replaced by another of the same destination before either is verified', () => {
    const { released, ingress, iface, bring } = gate();
    bring(15);
    assert.equal(ingress.holds('twice', announce(iface, 3, 1)), true);
    assert.equal(ingress.holds('twice', announce(iface, 1, 2)), true);
    ingress.asked('twice');
    assert.deepEqual([released[0]?.hops, released[0]?.inbound.packet.data[0]], [3, 1]);
  });

  test('are never held where it is turned off', () => {
    const { bring } = gate({ policy: { ingress: { limited: false } } });
    assert.equal(bring(1000), 1000);
  });
});

describe('path requests', () => {
  test('are too many at three a second on a young interface, at eight on an older one', async () => {
    const { clock, ingress, iface } = gate();
    const ask = (count: number) =>
      Array.from({ length: count }, () => ingress.limitsPathRequest(iface)).filter(limited => !limited)
        .length;
    assert.equal(ask(100), 15);
    await clock.advance(2 * 3_600_000);
    assert.equal(ask(100), 40);
  });

  test('for others leave no more often than an interface is told, and as often as they like without', () => {
    const counters = new Counters();
    const egress = new Egress({ clock: new ManualClock(), counters });
    const send = (iface: InterfaceHandle, count: number) => {
      let sent = 0;
      for (let at = 0; at < count; at++) {
        if (egress.allows(iface)) {
          egress.note(iface);
          sent += 1;
        }
      }
      return sent;
    };
    assert.equal(send(handle('free'), 1000), 1000);
    assert.equal(send(handle('limited', { egress: { limited: true } }), 1000), 26);
    assert.equal(counters.get('path/egress-limited'), 974);
  });
});
