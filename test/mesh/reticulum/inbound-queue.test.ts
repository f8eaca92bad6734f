import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../../src/lib/counters.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import type { Inbound, InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { inboundFrom } from '../../../src/mesh/reticulum/inbound.ts';
import { type InboundClass, InboundQueue } from '../../../src/mesh/reticulum/inbound-queue.ts';
import { contexts, encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { ManualClock } from '../../sim/clock.ts';

function handle(name: string): InterfaceHandle {
  return { name, mtu: 500, linkMtu: 500, bitrate: 1000, online: true };
}

function queues() {
  const clock = new ManualClock();
  const counters = new Counters();
  const done: string[] = [];
  const failures: string[] = [];
  const work = (of: InboundClass) => (inbound: Inbound) => {
    const byte = inbound.packet.data[0]!;
    if (byte === 13) {
      throw new GatewayError('wire/malformed', 'unlucky');
    }
    done.push(`${of} ${inbound.iface.name} ${byte}`);
    return 1;
  };
  const queue = new InboundQueue({
    clock,
    counters,
    work: { announce: work('announce'), 'path-request': work('path-request'), limited: work('limited') },
    failed: (from, error) => failures.push(`${from.name}: ${(error as Error).message}`),
  });
  const packet = (iface: InterfaceHandle, byte: number) => {
    const raw = encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'single',
      packetType: 'announce',
      destinationHash: new Uint8Array(16),
      context: contexts.none,
      data: new Uint8Array([byte]),
    });
    return inboundFrom(raw, iface, undefined);
  };
  const bring = (iface: InterfaceHandle, count: number, of: InboundClass = 'announce', byte = 0) =>
    Array.from({ length: count }, () => ({ wait: queue.take(of, packet(iface, byte)) }));
  return { clock, counters, done, failures, queue, bring };
}

describe('what is heavy of what comes in', () => {
  test('is worked off at once while there is room in this turn', async () => {
    const { clock, done, queue, bring } = queues();
    const waits = bring(handle('a'), 100);
    assert.equal(done.length, 100);
    assert.ok(waits.every(({ wait }) => wait === undefined));
    bring(handle('a'), 1);
    assert.equal(done.length, 100);
    await clock.advance(0);
    assert.equal(done.length, 101);
    await clock.advance(0);
    assert.equal(bring(handle('a'), 50).length + done.length, 201);
    await clock.advance(0);
    assert.equal(queue.size, 0);
    assert.equal(clock.waiting, 0);
  });

  test('has turns: interfaces first, then the peers of one, so that a flood delays the others by a few', async () => {
    const { clock, done, bring } = queues();
    bring(handle('server/192.0.2.1:1'), 300);
    bring(handle('server/192.0.2.2:1'), 300);
    bring(handle('server/192.0.2.3:1'), 2, 'announce', 3);
    bring(handle('uplink'), 2, 'announce', 4);
    done.length = 0;
    await clock.advance(0);
    assert.ok(done.indexOf('announce uplink 4') < 2);
    assert.ok(done.lastIndexOf('announce uplink 4') < 4);
    assert.ok(done.lastIndexOf('announce server/192.0.2.3:1 3') < 8);
  });

  test('is served by class, and none is starved', async () => {
    const { clock, done, bring } = queues();
    const iface = handle('a');
    bring(iface, 100);
    done.length = 0;
    for (const name of ['limited', 'path-request', 'announce'] as const) {
      bring(iface, 20, name);
    }
    await clock.advance(0);
    const classes = done.map(line => line.split(' ', 1)[0]);
    assert.deepEqual(classes.slice(0, 8), [...Array(7).fill('announce'), 'limited']);
    assert.ok(classes.lastIndexOf('announce') < classes.lastIndexOf('path-request'));
    assert.equal(classes.length, 60);
  });

  test('makes whoever brings more than may wait wait, and what comes all the same is dropped and counted', async () => {
    const { clock, counters, done, queue, bring } = queues();
    const iface = handle('a');
    const waits = bring(iface, 100 + 255);
    assert.equal(waits.at(-1)?.wait, undefined);
    const wait = bring(iface, 1)[0]?.wait;
    assert.ok(wait instanceof Promise);
    assert.ok(bring(iface, 3).every(one => one.wait === wait));
    assert.equal(counters.get('mesh/inbound-full'), 3);
    assert.equal(queue.waitingOf(iface), 256);
    assert.equal(bring(handle('b'), 1)[0]?.wait, undefined);
    let relieved = false;
    void wait.then(() => {
      relieved = true;
    });
    assert.equal(relieved, false);
    await clock.advance(0);
    assert.equal(relieved, true);
    assert.equal(done.length, 100 + 256 + 1);
  });

  test('keeps a little room for everybody when all together have filled it', async () => {
    const { queue, bring } = queues();
    for (let number = 0; number < 40; number++) {
      bring(handle(`server/peer:${number}`), 300);
    }
    assert.ok(queue.size < 8192 + 40 * 16, `${queue.size} wait`);
    const late = handle('late');
    const waits = bring(late, 16);
    assert.equal(waits.filter(({ wait }) => wait !== undefined).length, 1);
    assert.equal(queue.waitingOf(late), 16);
    queue.close();
    assert.equal(queue.size, 0);
  });

  test('leads nowhere once its interface is gone, and lets its medium go', async () => {
    const { clock, done, queue, bring } = queues();
    const iface = handle('a');
    const waits = bring(iface, 100 + 256);
    bring(handle('b'), 1);
    done.length = 0;
    queue.dropOver(iface);
    await waits.at(-1)?.wait;
    await clock.advance(0);
    assert.deepEqual(done, ['announce b 0']);
    assert.equal(queue.size, 0);
  });

  test('that cannot be read is told, and the rest goes on', async () => {
    const { clock, done, failures, bring } = queues();
    const iface = handle('a');
    bring(iface, 1, 'announce', 13);
    bring(iface, 150);
    bring(iface, 1, 'announce', 13);
    await clock.advance(0);
    assert.deepEqual(failures, ['a: unlucky', 'a: unlucky']);
    assert.equal(done.length, 150);
  });

  test('of an interface that is gone takes what is heard on another of its name along, and ends nothing else', async () => {
    const { clock, done, queue, bring } = queues();
    const [before, now] = [handle('a'), handle('a')];
    bring(handle('b'), 100);
    bring(before, 3);
    bring(now, 3);
    queue.dropOver(before);
    assert.equal(queue.size, 0);
    bring(now, 1);
    await clock.advance(10);
    assert.deepEqual(done.slice(100), ['announce a 0']);
    assert.equal(queue.size, 0);
  });
});
