import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, fromHex, toHex, utf8 } from '../../../src/lib/bytes.ts';
import { encodeRandomBlob, signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import type { InterfaceHandle } from '../../../src/mesh/reticulum/dispatch.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import { encodeLinkRequest } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket, encodePacket, type Packet } from '../../../src/mesh/reticulum/packet.ts';
import { encodePathRequest, pathRequestDestination } from '../../../src/mesh/reticulum/path-request.ts';
import { type TransitLink, TransitLinks } from '../../../src/mesh/reticulum/transit-links.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air, linksOf, pass, settled, TestNode } from './air.ts';

const random = seededRandom(7);

function stranger(clock: ManualClock): {
  readonly destination: LocalDestination;
  readonly packet: Uint8Array;
} {
  const destination = new LocalDestination({
    identity: generateIdentity(random),
    appName: 'flood',
    aspects: ['one'],
  });
  const randomBlob = encodeRandomBlob(random.bytes(5), Math.floor(clock.now() / 1000));
  return { destination, packet: encodePacket(signAnnounce(destination, { randomBlob })) };
}

/** A hub with a flood on one side, an honest peer on another, and a slow radio with a listener on a third. */
function hub(policies: { readonly flood?: InterfacePolicy; readonly others?: InterfacePolicy } = {}) {
  const clock = new ManualClock();
  const [flood, honestAir, radio] = [new Air(), new Air(), new Air()];
  const node = new TestNode({ clock, forwards: true });
  node.use(flood.join('server/192.0.2.66:1'), policies.flood);
  node.use(honestAir.join('uplink'), policies.others);
  node.use(radio.join('lora', { bitrate: 1200, mtu: 500 }), policies.others);
  const honest = new TestNode({ clock });
  honest.use(honestAir.join('honest'));
  const listener = new TestNode({ clock });
  listener.use(radio.join('listener', { bitrate: 1200, mtu: 500 }));
  return { clock, flood, radio, node, honest, listener };
}

describe('a flood of announces', () => {
  test('costs a few signatures, and keeps neither an honest peer nor its announce from the slow radio', async () => {
    const { clock, flood, node, honest, listener, radio } = hub();
    for (let second = 0; second < 60; second++) {
      for (let count = 0; count < 8; count++) {
        flood.carry(stranger(clock).packet);
      }
      await pass(clock, 1000, 250);
    }
    assert.ok(node.announces.length <= 15, `${node.announces.length} were verified and taken`);
    assert.equal(node.transport.sizes()['announces-held'], 256);
    const { destination } = honest.serve({ appData: () => utf8('honest') });
    await honest.transport.announce(destination);
    await settled();
    assert.ok(node.transport.path(destination.hash));
    // A share of 3 bytes a second, and turns between the two that were heard from.
    await clock.advanceUntil(() => listener.transport.path(destination.hash) !== undefined, {
      step: 1000,
      limit: 400_000,
    });
    const bytes = radio.packets.reduce((sum, packet) => sum + packet.length, 0);
    assert.ok((bytes * 8) / 1200 <= (clock.monotonic() / 1000) * 0.02 + 10, `${bytes} bytes on the air`);
  });

  test('below the limit fills no queue of a slow radio for hours', async () => {
    const { clock, flood, node, honest, listener } = hub();
    for (let at = 0; at < 400; at++) {
      flood.carry(stranger(clock).packet);
      await clock.advance(400);
    }
    const waiting = node.transport.sizes()['announces-waiting'] ?? 0;
    assert.ok(waiting > 100 && waiting < 400, `${waiting} wait`);
    const { destination } = honest.serve();
    await honest.transport.announce(destination);
    await clock.advanceUntil(() => listener.transport.path(destination.hash) !== undefined, {
      step: 1000,
      limit: 400_000,
    });
  });

  test('hides nobody who is asked for: what is held comes in at once', async () => {
    const { clock, flood, node } = hub();
    const wanted = stranger(clock);
    for (let count = 0; count < 40; count++) {
      flood.carry(stranger(clock).packet);
    }
    flood.carry(wanted.packet);
    await settled();
    assert.equal(node.transport.path(wanted.destination.hash), undefined);
    const path = await node.transport.requestPath(wanted.destination.hash);
    assert.equal(path.hops, 1);
  });

  test('is let in by and by when it is over', async () => {
    const { clock, flood, node } = hub();
    for (let count = 0; count < 40; count++) {
      flood.carry(stranger(clock).packet);
    }
    await settled();
    const before = [...node.transport.paths()].length;
    await pass(clock, 15_000 + 33 * 5000, 500);
    assert.equal([...node.transport.paths()].length, 40);
    assert.ok(before < 9);
    assert.equal(node.transport.sizes()['announces-held'], 0);
  });

  test('with signatures that do not hold is counted, and what is held of it leads nowhere', async () => {
    const { clock, flood, node } = hub();
    for (let count = 0; count < 40; count++) {
      const { packet } = stranger(clock);
      packet[packet.length - 1]! ^= 1;
      flood.carry(packet);
    }
    await pass(clock, 15_000 + 33 * 5000, 500);
    assert.equal(node.counters.get('crypto/bad-signature'), 40);
    assert.equal([...node.transport.paths()].length, 0);
  });
});

describe('a flood that costs a signature each', () => {
  test('waits, bounded, while the packets of others are served', async () => {
    const { clock, flood, node, honest } = hub({ flood: { ingress: { limited: false } } });
    const { destination, received } = node.serve({ proofStrategy: 'all' });
    await node.transport.announce(destination);
    await settled();
    for (let count = 0; count < 600; count++) {
      flood.carry(stranger(clock).packet);
    }
    assert.equal(node.announces.length, 100);
    assert.equal(node.transport.sizes()['inbound-waiting'], 256);
    assert.equal(node.counters.get('mesh/inbound-full'), 600 - 100 - 256);
    const proven: string[] = [];
    void honest.transport.send({
      destination: { identity: destination.identity!.public, hash: destination.hash },
      data: utf8('first'),
      onReceipt: outcome => proven.push(outcome.at),
    });
    await settled();
    assert.equal(received.length, 1);
    assert.deepEqual(proven, ['delivered']);
    assert.equal(node.announces.length, 100);
    await pass(clock, 100, 50);
    assert.equal(node.announces.length, 356);
    assert.equal(node.transport.sizes()['inbound-waiting'], 0);
  });
});

function question(destinationHash: Uint8Array): Uint8Array {
  return encodePacket({
    hops: 0,
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'plain',
    packetType: 'data',
    destinationHash: pathRequestDestination,
    context: contexts.none,
    data: encodePathRequest({ destinationHash, transportId: undefined, tag: random.bytes(16) }),
  });
}

describe('a flood of path requests', () => {
  const everywhere = { flood: { mode: 'gateway' }, others: { mode: 'gateway' } } as const;

  test('makes other media be searched a few times, and who asks calmly is still searched for', async () => {
    const { clock, flood, radio, node, honest } = hub(everywhere);
    const ask = () => flood.carry(question(random.bytes(16)));
    for (let second = 0; second < 30; second++) {
      for (let count = 0; count < 100; count++) {
        ask();
      }
      await pass(clock, 1000, 250);
    }
    const searched = radio.packets.length;
    assert.ok(searched <= 16, `${searched} searches on the radio`);
    assert.ok((node.transport.sizes()['path-searches'] ?? 0) <= 16);
    assert.ok(node.counters.get('path/search-limited') > 2900);

    const wanted = fromHex('0123456789abcdef0123456789abcdef');
    void honest.transport.requestPath(wanted).catch(() => {});
    await pass(clock, 1000, 250);
    const asked = radio.packets.slice(searched).map(raw => toHex(decodePacket(raw).data.subarray(0, 16)));
    assert.deepEqual(asked, [toHex(wanted)]);
  });

  test('below the limit keeps nobody else from being searched for, nor those on the radio from an answer', async () => {
    const { clock, flood, radio, node, honest } = hub(everywhere);
    const { destination } = honest.serve();
    await honest.transport.announce(destination);
    await pass(clock, 1000, 250);
    const strangers = async (ms: number) => {
      for (let at = 0; at < ms; at += 500) {
        flood.carry(question(random.bytes(16)));
        await pass(clock, 500, 250);
      }
    };
    await strangers(600_000);
    assert.ok(node.counters.get('path/asked-too-much') > 800);
    for (let minute = 0; minute < 10; minute++) {
      const from = radio.packets.length;
      const wanted = random.bytes(16);
      honest.transport.requestPath(wanted).catch(() => {});
      radio.carry(question(destination.hash));
      await strangers(60_000);
      const left = radio.packets.slice(from).map(raw => decodePacket(raw));
      const isSearch = ({ data }: Packet) => toHex(data.subarray(0, 16)) === toHex(wanted);
      assert.ok(left.some(isSearch), 'nobody searched for it');
      assert.ok(
        left.some(({ context }) => context === contexts.pathResponse),
        'nobody answered',
      );
    }
  });

  test('is not made of ours by peers that come and go: who comes is asked, and nobody else again', async () => {
    const { clock, node, radio } = hub();
    const asked = node.transport.requestPath(random.bytes(16));
    asked.catch(() => {});
    await pass(clock, 250, 250);
    const crowd = new Air();
    const before = radio.packets.length;
    assert.equal(before, 1);
    for (let count = 0; count < 50; count++) {
      node.use(crowd.join(`server/192.0.2.66:${count + 100}`));
      await pass(clock, 20, 20);
    }
    assert.equal(radio.packets.length, before);
    assert.equal(crowd.packets.length, 50);
    await clock.advance(30_000);
  });

  test('that strangers make us make takes no more than they may ask for, and keeps us from asking for nobody', async () => {
    const { clock, node, radio } = hub();
    const named = Array.from({ length: 300 }, () => random.bytes(16));
    for (const author of named) {
      const path = node.transport.requestPath(author, { askedOver: 'server/192.0.2.66:1' });
      path.catch(() => {});
      await pass(clock, 10, 10);
    }
    const bytes = radio.packets.reduce((sum, { length }) => sum + length, 0);
    assert.ok(bytes > 0 && bytes <= 4096 + 3 * 15, `${bytes} bytes of searches`);
    const before = radio.packets.length;
    for (const wanted of [named[299]!, named[299]!, named[250]!]) {
      node.transport.requestPath(wanted).catch(() => {});
    }
    await settled();
    assert.equal(radio.packets.length, before + 2);
    await clock.advance(30_000);
  });

  test('of great length waits for nothing: what has to wait is short', async () => {
    const { clock, flood, node } = hub(everywhere);
    for (let count = 0; count < 300; count++) {
      flood.carry(concat(question(random.bytes(16)), new Uint8Array(200_000)));
    }
    assert.equal(node.counters.get('wire/malformed'), 300);
    assert.equal(node.transport.sizes()['inbound-waiting'], 0);
    await pass(clock, 1000, 250);
  });

  test('for one destination keeps nobody else from having it searched for', async () => {
    const { clock, flood, radio, node, honest } = hub(everywhere);
    for (let count = 0; count < 120; count++) {
      flood.carry(question(random.bytes(16)));
      await pass(clock, 500, 250);
    }
    const wanted = random.bytes(16);
    const searches = () =>
      radio.packets.filter(raw => toHex(decodePacket(raw).data.subarray(0, 16)) === toHex(wanted)).length;
    for (let tries = 0; searches() === 0 && node.counters.get('path/asked-too-much') === 0; tries++) {
      assert.ok(tries < 1000);
      flood.carry(question(random.bytes(16)));
      await pass(clock, 500, 250);
    }
    flood.carry(question(wanted));
    await settled();
    assert.equal(searches(), 0);
    honest.transport.requestPath(wanted).catch(() => {});
    await pass(clock, 500, 250);
    assert.equal(searches(), 1);
  });
});

/** A request for a link with a destination, by keys that nobody has; through `via` (16 B) where it is farther away. */
function linkRequest(destinationHash: Uint8Array, via?: Uint8Array): Uint8Array {
  return encodePacket({
    hops: 0,
    transportId: via,
    contextFlag: false,
    propagation: via === undefined ? 'broadcast' : 'transport',
    destinationType: 'single',
    packetType: 'link-request',
    destinationHash,
    context: contexts.none,
    data: encodeLinkRequest({
      encryptionKey: random.bytes(32),
      signingKey: random.bytes(32),
      mtu: 500,
      signalled: true,
    }),
  });
}

describe('a flood of link requests', () => {
  test('that are never gone on with holds a few handshakes of its interface, and keeps nobody else from linking', async () => {
    const { clock, flood, node, honest } = hub();
    const links = linksOf(node);
    const { destination } = node.serve();
    links.accept(destination, { onLink: () => ({}) });
    await node.transport.announce(destination);
    await settled();
    for (let count = 0; count < 1000; count++) {
      flood.carry(linkRequest(destination.hash));
    }
    assert.equal(links.size, 128);
    assert.equal(node.counters.get('link/handshake-gave-way'), 1000 - 128);
    const opening = linksOf(honest).open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 500, 50);
    const link = await opening;
    assert.equal(link.state.at, 'active');
    flood.carry(linkRequest(destination.hash));
    await pass(clock, 100, 50);
    assert.equal(link.state.at, 'active');
    // A responder waits six minutes and six seconds a hop for a handshake to go on.
    await clock.advance(400_000);
    assert.ok(links.size <= 1, `${links.size} links are left`);
  });

  test('gets as many answered in a turn as others are waited for with, if its medium waits when it is asked to', () => {
    const { node } = hub();
    const links = linksOf(node);
    const { destination } = node.serve();
    links.accept(destination, { onLink: () => ({}) });
    const air = new Air();
    const station = air.join('server/192.0.2.67:1');
    node.use(station);
    let count = 0;
    while (count < 1000) {
      count += 1;
      if (station.port?.receive(linkRequest(destination.hash)) !== undefined) {
        break;
      }
    }
    // Three units of work each, and a hundred in a turn.
    assert.equal(count, 34);
    assert.equal(node.counters.get('link/accepted'), 34);
  });
});

describe('a flood of links that stay half open between others', () => {
  test('fills a bounded table, and pushes out no link that is proven', () => {
    const over = { name: 'a', mtu: 500, linkMtu: 500, bitrate: 1000, online: true };
    const clock = new ManualClock();
    const links = new TransitLinks({ clock, unproven: () => {}, capacity: 100 });
    const open = (key: string) => {
      const link: TransitLink = {
        key,
        receivedOn: over,
        takenHops: 1,
        sentOn: over,
        remainingHops: 1,
        destinationHash: new Uint8Array(16),
        proven: false,
        until: 10_000,
      };
      links.add(link);
      return link;
    };
    const honest = Array.from({ length: 50 }, (_, number) => open(`honest ${number}`));
    for (const link of honest) {
      links.prove(link);
    }
    for (let number = 0; number < 1000; number++) {
      open(`flood ${number}`);
    }
    assert.equal(links.size, 100);
    assert.ok(honest.every(({ key }) => links.get(key)?.proven));
    links.close();
  });

  test('leaves room for who comes over another interface, proven or not', () => {
    const clock = new ManualClock();
    const links = new TransitLinks({ clock, unproven: () => {}, capacity: 100 });
    const handle = (name: string) => ({ name, mtu: 500, linkMtu: 500, bitrate: 1000, online: true });
    const [radio, calm] = [handle('radio'), handle('server/calm')];
    const loud = [handle('server/one'), handle('server/two')];
    let number = 0;
    const open = (receivedOn: InterfaceHandle) => {
      number += 1;
      const link: TransitLink = {
        key: String(number),
        receivedOn,
        takenHops: 1,
        sentOn: radio,
        remainingHops: 1,
        destinationHash: new Uint8Array(16),
        proven: false,
        until: 10_000,
      };
      links.add(link);
      return link;
    };
    const honest = [...Array(5)].flatMap(() => [open(radio), open(calm)]);
    for (let count = 0; count < 200; count++) {
      links.prove(open(loud[count % 2]!));
    }
    honest.push(open(radio), open(calm), open(loud[0]!));
    for (let count = 0; count < 8; count++) {
      open(loud[count % 2]!);
    }
    assert.equal(links.size, 100);
    assert.ok(honest.every(({ key }) => links.get(key) !== undefined));
    for (const link of [...links.values()]) {
      links.dropOver(link.receivedOn);
    }
    assert.equal(links.size, 0);
    links.close();
  });

  test('makes no slow radio be searched, for those whom nobody answers, for more than others may ask for', async () => {
    const calm = { ingress: { limited: false } };
    const { clock, flood, radio } = hub({ flood: calm });
    const node = new TestNode({ clock, forwards: true });
    const lora = radio.join('lora too', { bitrate: 1200, mtu: 500 });
    node.use(flood.join('server/192.0.2.68:1'), calm);
    node.use(lora);
    const nobody = Array.from({ length: 400 }, () => stranger(clock));
    for (const { packet } of nobody) {
      flood.carry(packet);
      await pass(clock, 10, 10);
    }
    await pass(clock, 10_000, 250);
    const searches = () =>
      radio.packets.filter(
        raw => decodePacket(raw).destinationHash.toHex() === pathRequestDestination.toHex(),
      );
    assert.equal(searches().length, 0);
    for (const { destination } of nobody) {
      flood.carry(linkRequest(destination.hash, node.transport.identity.hash));
      await pass(clock, 10, 10);
    }
    await pass(clock, 30_000, 250);
    assert.equal(node.counters.get('relay/link-unanswered'), 400);
    const bytes = searches().reduce((sum, { length }) => sum + length, 0);
    assert.ok(bytes > 0 && bytes <= 4096 + 60 * 15, `${bytes} bytes of searches in half a minute`);
  });

  test('over a slow radio takes nobody else the way to it', async () => {
    const clock = new ManualClock();
    const [flood, honestAir, radio] = [new Air(), new Air(), new Air()];
    const node = new TestNode({ clock, forwards: true });
    const lora = radio.join('lora', { bitrate: 1200, mtu: 500 });
    node.use(flood.join('server/192.0.2.66:1'));
    node.use(honestAir.join('uplink'));
    node.use(lora);
    const honest = new TestNode({ clock });
    honest.use(honestAir.join('honest'));
    const listener = new TestNode({ clock });
    listener.use(radio.join('listener', { bitrate: 1200, mtu: 500 }));
    const { destination, received } = listener.serve({ proofStrategy: 'all' });
    await listener.transport.announce(destination);
    await pass(clock, 3000, 250);
    const send = lora.send.bind(lora);
    let before = Promise.resolve();
    lora.send = packet => {
      before = before.then(() => clock.sleep((packet.length * 8000) / 1200)).then(() => send(packet));
      return before;
    };
    const { hash } = node.transport.identity;
    const outcomes: string[] = [];
    for (let second = 0; second < 300; second++) {
      for (let count = 0; count < 10; count++) {
        flood.carry(linkRequest(destination.hash, hash));
      }
      if (second >= 100 && second % 20 === 0) {
        void honest.transport.send({
          destination: { identity: destination.identity!.public, hash: destination.hash },
          data: random.bytes(100),
          timeout: 120_000,
          onReceipt: outcome => outcomes.push(outcome.at),
        });
      }
      await pass(clock, 1000, 250);
    }
    await pass(clock, 120_000, 250);
    assert.ok(node.counters.get('relay/queue-full') > 1000);
    assert.deepEqual(
      outcomes,
      Array.from({ length: 10 }, () => 'delivered'),
    );
    assert.equal(received.length, 10);
  });

  test('keeps a link of others going, and is gone when its time is over', async () => {
    const { clock, flood, node, honest, listener } = hub();
    const served = linksOf(honest);
    const { destination } = honest.serve();
    const got: string[] = [];
    served.accept(destination, { onLink: () => ({ onPacket: ({ data }) => got.push(toHex(data)) }) });
    await honest.transport.announce(destination);
    await pass(clock, 3000, 50);
    const opening = linksOf(listener).open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 5000, 50);
    const link = await opening;
    const { hash } = node.transport.identity;
    served.refuse(destination);
    for (let count = 0; count < 2000; count++) {
      flood.carry(linkRequest(destination.hash, hash));
    }
    assert.equal([...node.transport.transitLinks()].length, 2001);
    link.send(new Uint8Array([7])).catch(() => {});
    await pass(clock, 500, 50);
    assert.deepEqual(got, ['07']);
    await clock.advance(60_000);
    assert.equal([...node.transport.transitLinks()].length, 1);
  });
});
