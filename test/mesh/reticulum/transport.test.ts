import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHex, utf8 } from '../../../src/lib/bytes.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { readAnnounce, signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import type { Inbound } from '../../../src/mesh/reticulum/dispatch.ts';
import {
  contexts,
  decodePacket,
  encodePacket,
  type Packet,
  packetHash,
} from '../../../src/mesh/reticulum/packet.ts';
import type { ReceiptOutcome } from '../../../src/mesh/reticulum/receipts.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Ether } from '../../sim/ether.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air, neighbours, settled, TestNode } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

function decoded(air: Air): Packet[] {
  return air.packets.map(bytes => decodePacket(bytes));
}

function to(destination: LocalDestination) {
  return { identity: destination.identity!.public, hash: destination.hash };
}

/** The same packet as a transport node passes it on. */
function relayed(bytes: Uint8Array, transportId: Uint8Array, hops: number): Uint8Array {
  return encodePacket({ ...decodePacket(bytes), transportId, propagation: 'transport', hops });
}

const relay = new Uint8Array(16).fill(0xaa);

describe('announces', () => {
  test('teach a neighbour the path, the keys and the app data', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve({ appData: () => utf8('hello'), ratchets: true });
    assert.equal(await a.transport.announce(destination), true);
    await settled();
    const [heard] = b.announces;
    assert.equal(b.announces.length, 1);
    assert.deepEqual(heard?.destinationHash, destination.hash);
    assert.deepEqual(heard.appData, utf8('hello'));
    assert.equal(heard.hops, 1);
    assert.equal(heard.pathResponse, false);
    assert.equal(heard.quality?.rssi, -90);
    assert.deepEqual(
      b.transport.recall(destination.hash)?.identity.publicKey,
      a.transport.identity.publicKey,
    );
    assert.ok(b.transport.recall(destination.hash)?.ratchet);
    assert.deepEqual(b.transport.path(destination.hash)?.nextHop, destination.hash);
  });

  test('carry app data given for once instead of the destination’s own', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve({ appData: () => utf8('own') });
    await a.transport.announce(destination, { appData: utf8('other') });
    await settled();
    assert.deepEqual(b.announces[0]?.appData, utf8('other'));
  });

  test('show in the sizes of the tables of who makes them and who hears them', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await settled();
    assert.equal(a.transport.sizes()['own-destinations'], 1);
    const { interfaces, known, paths, duplicates, receipts } = b.transport.sizes();
    assert.deepEqual(
      { interfaces, known, paths, duplicates, receipts },
      { interfaces: 1, known: 1, paths: 1, duplicates: 1, receipts: 0 },
    );
  });

  test('made twice in one second both count', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination, { appData: utf8('first') });
    await a.transport.announce(destination, { appData: utf8('second') });
    await settled();
    assert.deepEqual(b.transport.recall(destination.hash)?.appData, utf8('second'));
  });

  test('made twice in one second tell what they say last, but are no new way', async () => {
    const { a, b, air } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination, { appData: utf8('first') });
    await settled();
    const first = decodePacket(air.packets[0]!);
    const randomBlob = new Uint8Array(readAnnounce(first.data, false).randomBlob);
    randomBlob[0]! ^= 1;
    const second = encodePacket(signAnnounce(destination, { randomBlob, appData: utf8('second') }));
    air.carry(second);
    await settled();
    assert.deepEqual(b.transport.recall(destination.hash)?.appData, utf8('second'));
    assert.equal(b.announces.length, 1);
    air.carry(air.packets[0]!);
    air.carry(second);
    await settled();
    assert.deepEqual(b.transport.recall(destination.hash)?.appData, utf8('second'));
    assert.equal(b.counters.get('mesh/duplicate'), 2);
  });

  test('whose ratchet flag was turned are not believed, although their hash is the same', async () => {
    const { a, b, air } = neighbours();
    const { destination } = a.serve({ appData: () => new Uint8Array(64).fill(7) });
    await a.transport.announce(destination);
    await settled();
    const turned = new Uint8Array(air.packets.at(-1)!);
    turned[0] = turned[0]! ^ 0x20;
    b.transport.dropPath(destination.hash);
    // The duplicate filter knows the hash as well, and forgets it in time.
    b.transport.forget(packetHash(turned));
    air.carry(turned);
    await settled();
    assert.equal(b.counters.get('crypto/bad-signature'), 1);
    assert.equal(b.transport.recall(destination.hash)?.ratchet, undefined);
    assert.equal(b.announces.length, 1);
  });

  test('heard again are counted and tell nobody', async () => {
    const { a, air, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await settled();
    air.carry(air.packets[0]!);
    assert.equal(b.announces.length, 1);
    assert.equal(b.counters.get('mesh/duplicate'), 1);
  });

  test('that were changed on the way are counted and teach nothing', async () => {
    const { a, air, b } = neighbours();
    const { destination } = a.serve({ appData: () => utf8('hello') });
    await b.down('b');
    await a.transport.announce(destination);
    await settled();
    b.up('b');
    const forged = air.packets[0]!;
    forged[forged.length - 1]! ^= 1;
    air.carry(forged);
    assert.equal(b.counters.get('crypto/bad-signature'), 1);
    assert.equal(b.transport.path(destination.hash), undefined);
    assert.equal(b.transport.recall(destination.hash), undefined);
  });

  test('older than the one known change nothing', async () => {
    const { clock, a, air, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination, { appData: utf8('old') });
    await settled();
    await clock.advance(5000);
    await a.transport.announce(destination, { appData: utf8('new') });
    await settled();
    air.carry(relayed(air.packets[0]!, relay, 0));
    assert.deepEqual(b.transport.recall(destination.hash)?.appData, utf8('new'));
    assert.equal(b.announces.length, 2);
  });

  test('can be listened to by name, with or without path responses', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve();
    const other = a.serve({ aspects: ['two'] }).destination;
    const heard: string[] = [];
    const stop = b.transport.onAnnounce(one => heard.push(toHex(one.destinationHash)), {
      nameHash: destination.nameHash,
      pathResponses: false,
    });
    await a.transport.announce(other);
    await a.transport.announce(destination);
    await settled();
    assert.deepEqual(heard, [destination.key]);
    b.transport.dropPath(destination.hash);
    await b.transport.requestPath(destination.hash);
    assert.equal(b.announces.at(-1)?.pathResponse, true);
    assert.deepEqual(heard, [destination.key]);
    stop();
    await a.transport.announce(destination);
    await settled();
    assert.deepEqual(heard, [destination.key]);
  });

  test('do not leave by an interface in access point mode, nor by one that only receives', async () => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    const [quiet, silent, open] = [new Air(), new Air(), new Air()];
    node.use(quiet.join('quiet'), { mode: 'access-point' });
    node.use(silent.join('silent'), { outgoing: false });
    node.use(open.join('open'));
    const { destination } = node.serve();
    assert.equal(await node.transport.announce(destination), true);
    await settled();
    assert.deepEqual(
      [quiet, silent, open].map(air => air.packets.length),
      [0, 0, 1],
    );
  });

  test('with too much app data are refused before anything is sent', async () => {
    const { a, air } = neighbours();
    const { destination } = a.serve();
    await assert.rejects(a.transport.announce(destination, { appData: new Uint8Array(318) }), {
      code: 'mesh/too-large',
    });
    assert.equal(air.packets.length, 0);
  });

  test('wait until their new ratchet is durable', async () => {
    const { a, air, clock } = neighbours();
    const { destination } = a.serve({ ratchets: true });
    const hold = Promise.withResolvers<void>();
    a.storage.hold = hold.promise;
    const announced = a.transport.announce(destination);
    await settled();
    assert.equal(air.packets.length, 0);
    hold.resolve();
    await announced;
    await settled();
    assert.equal(air.packets.length, 1);
    assert.ok(a.storage.writes.includes(`ratchet ${destination.key}`));
    await clock.advance(1000);
  });

  test('keep the ratchet they had where a new one cannot be stored, and fail only where there is none', async () => {
    const { a, air, clock } = neighbours();
    const { destination } = a.serve({ ratchets: true });
    a.storage.refuse = new GatewayError('store/unavailable', 'no disk');
    await assert.rejects(a.transport.announce(destination), { code: 'store/unavailable' });
    a.storage.refuse = undefined;
    await a.transport.announce(destination);
    await clock.advance(31 * 60_000);
    a.storage.refuse = new GatewayError('store/unavailable', 'no disk');
    await a.transport.announce(destination);
    await settled();
    const [first, second] = decoded(air);
    assert.deepEqual(first?.data.subarray(84, 116), second?.data.subarray(84, 116));
  });
});

describe('single packets', () => {
  test('reach their destination and are proven when it says so', async () => {
    const { a, b } = neighbours();
    const { destination, received } = b.serve({ proofStrategy: 'app', ratchets: true });
    await b.transport.announce(destination);
    await settled();
    const outcomes: ReceiptOutcome[] = [];
    const hash = await a.transport.send({
      destination: to(destination),
      data: utf8('hello'),
      onReceipt: outcome => outcomes.push(outcome),
    });
    await settled();
    const [packet] = received;
    assert.deepEqual(packet?.data, utf8('hello'));
    assert.deepEqual(packet.packetHash, hash);
    assert.equal(packet.interfaceName, 'b');
    assert.ok(packet.ratchetId);
    assert.equal(outcomes.length, 0);
    packet.prove();
    await settled();
    assert.equal(outcomes[0]?.at, 'delivered');
    assert.equal(outcomes.length, 1);
  });

  test('are proven at once, or never, by the strategy of their destination', async () => {
    for (const [proofStrategy, expected] of [
      ['all', 'delivered'],
      ['none', 'failed'],
    ] as const) {
      const { clock, a, b } = neighbours();
      const { destination, received } = b.serve({ proofStrategy });
      const outcomes: ReceiptOutcome[] = [];
      await a.transport.send({
        destination: to(destination),
        data: utf8('hello'),
        onReceipt: outcome => outcomes.push(outcome),
      });
      await settled();
      received[0]?.prove();
      // Without a way there the peer may be as far as a packet goes.
      await clock.advance(780_000);
      assert.deepEqual(
        outcomes.map(({ at }) => at),
        [expected],
      );
    }
  });

  test('are proven with the hash of the packet where their destination says so', async () => {
    const { a, air, b } = neighbours();
    const { destination } = b.serve({ proofStrategy: 'all', explicitProofs: true });
    const outcomes: ReceiptOutcome[] = [];
    const hash = await a.transport.send({
      destination: to(destination),
      data: utf8('hello'),
      onReceipt: outcome => outcomes.push(outcome),
    });
    await settled();
    const proof = decodePacket(air.packets.at(-1)!).data;
    assert.equal(proof.length, 96);
    assert.deepEqual(proof.subarray(0, 32), hash);
    assert.equal(outcomes[0]?.at, 'delivered');
  });

  test('in a context of links or Resources are sent and nobody waits for their proof', async () => {
    const { a, b } = neighbours();
    const { destination } = b.serve({ proofStrategy: 'all' });
    for (const context of [contexts.resource, contexts.resourceReceiverCancel, contexts.keepalive, 0xff]) {
      await a.transport.send({
        destination: to(destination),
        data: utf8('hello'),
        context,
        onReceipt: () => assert.fail('nobody proves it'),
      });
    }
    assert.equal(a.transport.sizes().receipts, 0);
  });

  test('without a proof fail after 6 s and 6 s a hop', async () => {
    const { clock, a, b } = neighbours();
    const { destination } = b.serve();
    await b.transport.announce(destination);
    await settled();
    const outcomes: ReceiptOutcome[] = [];
    const onReceipt = (outcome: ReceiptOutcome) => outcomes.push(outcome);
    await a.transport.send({ destination: to(destination), data: utf8('hello'), onReceipt });
    await clock.advance(11_990);
    assert.equal(outcomes.length, 0);
    await clock.advance(20);
    assert.deepEqual(outcomes, [{ at: 'failed', code: 'mesh/timeout' }]);
  });

  test('to one behind a transport node are addressed to that node', async () => {
    const { a, air, b } = neighbours();
    await b.down('b');
    const { destination } = b.serve();
    const other = new Air();
    b.use(other.join('elsewhere'));
    await b.transport.announce(destination);
    await settled();
    air.carry(relayed(other.packets[0]!, relay, 1));
    assert.equal(a.transport.path(destination.hash)?.hops, 2);
    const hash = await a.transport.send({ destination: to(destination), data: utf8('far') });
    await settled();
    const sent = decodePacket(air.packets.at(-1)!);
    assert.deepEqual(sent.transportId, relay);
    assert.equal(sent.propagation, 'transport');
    assert.equal(sent.hops, 0);
    assert.deepEqual(packetHash(air.packets.at(-1)!), hash);
  });

  test('in transport for another node are not taken', async () => {
    const { a, air, b } = neighbours();
    const { destination, received } = b.serve();
    await a.transport.send({ destination: to(destination), data: utf8('hello') });
    await settled();
    assert.equal(received.length, 1);
    await b.down('b');
    await a.transport.send({ destination: to(destination), data: utf8('again') });
    await settled();
    b.up('b');
    air.carry(relayed(air.packets[1]!, relay, 1));
    assert.equal(b.counters.get('mesh/not-for-us'), 1);
    air.carry(relayed(air.packets[1]!, b.transport.identity.hash, 1));
    assert.equal(received.length, 2);
  });

  test('replayed over another interface are dropped and counted, as are those addressed to a link', async () => {
    const { clock, a, air, b } = neighbours();
    const elsewhere = new Air();
    b.use(elsewhere.join('other'));
    const { destination, received } = b.serve({ proofStrategy: 'all' });
    await a.transport.send({ destination: to(destination), data: utf8('hello') });
    await settled();
    const proofs = () =>
      [...decoded(air), ...decoded(elsewhere)].filter(one => one.packetType === 'proof').length;
    assert.equal(proofs(), 1);
    elsewhere.carry(air.packets[0]!);
    await clock.advance(1000);
    assert.equal(received.length, 1);
    assert.equal(proofs(), 1);
    assert.equal(b.counters.get('mesh/duplicate'), 1);
    let taken = 0;
    const ignore = () => {};
    b.transport.useLinks({ linkRequest: ignore, linkProof: ignore, linkPacket: () => void taken++ });
    const packet = encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType: 'data',
      destinationHash: new Uint8Array(16).fill(3),
      context: contexts.none,
      data: new Uint8Array(64),
    });
    air.carry(packet);
    elsewhere.carry(packet);
    assert.equal(taken, 1);
    assert.equal(b.counters.get('mesh/duplicate'), 2);
  });

  test('heard twice are taken once', async () => {
    const { a, air, b } = neighbours();
    const { destination, received } = b.serve();
    await a.transport.send({ destination: to(destination), data: utf8('hello') });
    await settled();
    air.carry(air.packets[0]!);
    air.carry(air.packets[0]!);
    assert.equal(received.length, 1);
    assert.equal(b.counters.get('mesh/duplicate'), 2);
  });

  test('that cannot be opened are counted, and so are those for nobody here', async () => {
    const { a, air, b } = neighbours();
    const { destination, received } = b.serve();
    await a.transport.send({ destination: to(destination), data: utf8('hello') });
    await settled();
    const broken = new Uint8Array(air.packets[0]!);
    broken[60]! ^= 1;
    air.carry(broken);
    assert.equal(b.counters.get('crypto/undecryptable'), 1);
    broken[5]! ^= 1;
    air.carry(broken);
    assert.equal(b.counters.get('mesh/not-for-us'), 1);
    assert.equal(received.length, 1);
  });

  test('are refused when they are empty or longer than a packet carries', async () => {
    const { a, b } = neighbours();
    const { destination } = b.serve();
    for (const length of [0, 384]) {
      await assert.rejects(a.transport.send({ destination: to(destination), data: new Uint8Array(length) }), {
        code: 'mesh/too-large',
      });
    }
  });

  test('that no medium takes are rejected, and then no receipt is told', async () => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    const air = new Air();
    const station = air.join('radio');
    node.use(station);
    const { destination } = new TestNode({ clock }).serve();
    station.broken = new GatewayError('radio/device', 'unplugged');
    const outcomes: ReceiptOutcome[] = [];
    const onReceipt = (outcome: ReceiptOutcome) => outcomes.push(outcome);
    const outgoing = { destination: to(destination), data: utf8('x'), onReceipt };
    await assert.rejects(node.transport.send(outgoing), { code: 'radio/offline', retryable: true });
    assert.equal(node.counters.get('radio/device'), 1);
    await node.down('radio');
    await assert.rejects(node.transport.send(outgoing), { code: 'radio/offline' });
    await clock.advance(60_000);
    assert.equal(outcomes.length, 0);
  });

  test('sealed without a ratchet are refused where one is demanded', async () => {
    const { a, b } = neighbours();
    const { destination, received } = b.serve({ ratchets: true, enforceRatchets: true });
    await a.transport.send({ destination: to(destination), data: utf8('no ratchet known') });
    await settled();
    assert.equal(received.length, 0);
    assert.equal(b.counters.get('crypto/undecryptable'), 1);
    await b.transport.announce(destination);
    await settled();
    await a.transport.send({ destination: to(destination), data: utf8('now') });
    await settled();
    assert.equal(received.length, 1);
  });

  test('sealed for an old ratchet are opened after it was replaced', async () => {
    const { clock, a, b } = neighbours();
    const { destination, received } = b.serve({ ratchets: true });
    await b.transport.announce(destination);
    await settled();
    await a.down('a');
    await clock.advance(31 * 60_000);
    await b.transport.announce(destination);
    await settled();
    a.up('a');
    await a.transport.send({ destination: to(destination), data: utf8('late') });
    await settled();
    assert.ok(received[0]?.ratchetId);
  });

  test('whose receiver fails are counted and not proven', async () => {
    const { a, b } = neighbours();
    const { destination } = b.serve({
      proofStrategy: 'all',
      onPacket: () => {
        throw new GatewayError('store/full', 'no room');
      },
    });
    const outcomes: ReceiptOutcome[] = [];
    const onReceipt = (outcome: ReceiptOutcome) => outcomes.push(outcome);
    await a.transport.send({ destination: to(destination), data: utf8('x'), onReceipt });
    await settled();
    assert.equal(b.counters.get('store/full'), 1);
    assert.equal(outcomes.length, 0);
  });
});

describe('proofs', () => {
  test('by another than the receiver are counted, and the true one still counts', async () => {
    const { a, air, b } = neighbours();
    const { destination, received } = b.serve({ proofStrategy: 'app' });
    const outcomes: ReceiptOutcome[] = [];
    const onReceipt = (outcome: ReceiptOutcome) => outcomes.push(outcome);
    const hash = await a.transport.send({ destination: to(destination), data: utf8('x'), onReceipt });
    await settled();
    const forged = {
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'single',
      packetType: 'proof',
      destinationHash: hash.subarray(0, 16),
      context: contexts.none,
    } as const;
    for (const length of [64, 96, 10]) {
      air.carry(encodePacket({ ...forged, data: new Uint8Array(length).fill(1) }));
    }
    assert.equal(a.counters.get('crypto/bad-signature'), 3);
    assert.equal(outcomes.length, 0);
    const explicit = new Uint8Array([...hash, ...b.transport.identity.sign(hash)]);
    air.carry(encodePacket({ ...forged, data: explicit }));
    assert.equal(outcomes[0]?.at, 'delivered');
    received[0]?.prove();
    await settled();
    assert.equal(outcomes.length, 1);
  });
});

describe('path requests', () => {
  test('resolve with the path when the destination answers, and are one for all who ask', async () => {
    const { a, air, b } = neighbours();
    const { destination } = b.serve();
    const paths = await Promise.all([1, 2, 3].map(() => a.transport.requestPath(destination.hash)));
    assert.equal(paths[0]?.hops, 1);
    assert.equal(new Set(paths).size, 1);
    assert.deepEqual(
      decoded(air).map(packet => [packet.packetType, packet.destinationType, packet.context]),
      [
        ['data', 'plain', contexts.none],
        ['announce', 'single', contexts.pathResponse],
      ],
    );
    assert.equal(air.packets[0]?.length, 19 + 32);
  });

  test('give up after 15 s, and do not ask again within 20 s unless one insists', async () => {
    const { clock, a, air } = neighbours();
    const nowhere = new Uint8Array(16).fill(5);
    const asked = () => air.packets.length;
    const failed = assert.rejects(a.transport.requestPath(nowhere), {
      code: 'mesh/no-path',
      retryable: true,
    });
    await clock.advance(15_000);
    await failed;
    assert.equal(asked(), 1);
    const again = assert.rejects(a.transport.requestPath(nowhere), { code: 'mesh/no-path' });
    await settled();
    assert.equal(asked(), 1);
    const insisting = assert.rejects(a.transport.requestPath(nowhere, { insist: true }), {
      code: 'mesh/no-path',
    });
    await settled();
    assert.equal(asked(), 2);
    await clock.advance(15_000);
    await Promise.all([again, insisting]);
    await clock.advance(20_000);
    a.transport.requestPath(nowhere).catch(() => {});
    await settled();
    assert.equal(asked(), 3);
    assert.notDeepEqual(air.packets[2], air.packets[0]);
  });

  test('wait longer over a slow medium', async () => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    node.use(new Air().join('lora', { bitrate: 500, mtu: 500 }));
    let failed = false;
    node.transport.requestPath(new Uint8Array(16)).catch(() => {
      failed = true;
    });
    await clock.advance(21_900);
    assert.equal(failed, false);
    await clock.advance(200);
    assert.equal(failed, true);
  });

  test('with the same tag are answered once, and without a tag never', async () => {
    const { clock, a, air, b } = neighbours();
    const { destination } = b.serve();
    const answers = () => decoded(air).filter(({ packetType }) => packetType === 'announce').length;
    const ask = async (...parts: Uint8Array[]) => {
      const data = Buffer.concat([destination.hash, ...parts]);
      await a.transport.sendPlain(Uint8Array.fromHex('6b9f66014d9853faab220fba47d02761'), data);
      await clock.advance(1000);
    };
    await ask();
    assert.equal(answers(), 0);
    assert.equal(b.counters.get('wire/truncated'), 1);
    const tag = new Uint8Array(16).fill(9);
    await ask(tag);
    assert.equal(answers(), 1);
    await ask(tag);
    await ask(relay, tag);
    assert.equal(answers(), 1);
    assert.equal(b.counters.get('mesh/duplicate'), 2);
    await ask(relay, tag.subarray(0, 5));
    assert.equal(answers(), 2);
  });

  test('that follow each other at once are served by one answer', async () => {
    const { clock, a, air, b } = neighbours();
    const { destination } = b.serve();
    for (let tag = 0; tag < 20; tag++) {
      const data = Buffer.concat([destination.hash, Buffer.alloc(16, tag)]);
      await a.transport.sendPlain(Uint8Array.fromHex('6b9f66014d9853faab220fba47d02761'), data);
    }
    await clock.advance(300);
    assert.equal(decoded(air).filter(({ packetType }) => packetType === 'announce').length, 1);
  });
});

describe('paths', () => {
  test('over an interface that went down are no paths until it is up again', async () => {
    const { a, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await settled();
    const changes: boolean[] = [];
    b.transport.onInterface(({ online }) => changes.push(online));
    await b.down('b');
    assert.equal(b.transport.path(destination.hash), undefined);
    b.up('b');
    assert.equal(b.transport.path(destination.hash)?.hops, 1);
    assert.deepEqual(changes, [false, true]);
  });

  test('and what is known survive a restart, as do the ratchets of local destinations', async () => {
    const { clock, air, a, b } = neighbours();
    const { destination } = a.serve({ ratchets: true, appData: () => utf8('hello') });
    await a.transport.announce(destination);
    await settled();
    await Promise.all([a.transport.close(), b.transport.close()]);
    await a.down('a');
    await b.down('b');
    const a2 = new TestNode({ clock, storage: a.storage, identity: a.transport.identity });
    const b2 = new TestNode({ clock, storage: b.storage });
    a2.use(air.join('a'));
    b2.use(air.join('b'));
    const { received } = a2.serve({ ratchets: true, enforceRatchets: true });
    assert.equal(b2.transport.path(destination.hash)?.hops, 1);
    const known = b2.transport.recall(destination.hash);
    assert.deepEqual(known?.appData, utf8('hello'));
    await b2.transport.send({
      destination: { identity: known.identity, hash: destination.hash },
      data: utf8('x'),
    });
    await settled();
    assert.ok(received[0]?.ratchetId);
  });

  test('are written a little later and all at once, without being asked', async () => {
    const { clock, a, b } = neighbours();
    const { destination } = a.serve();
    await a.transport.announce(destination);
    await settled();
    assert.deepEqual(b.storage.writes, []);
    await clock.advance(2000);
    assert.deepEqual(b.storage.writes.toSorted(), [
      `identity-heard ${destination.key}`,
      `path ${destination.key}`,
    ]);
  });

  test('stored by something else are dropped and counted', async () => {
    const storage = new MemoryStorage();
    for (const kind of ['identity-heard', 'path', 'ratchet'] as const) {
      await storage.save(kind, 'ab'.repeat(16), Uint8Array.of(kind === 'identity-heard' ? 2 : 1, 2, 3));
    }
    const node = new TestNode({ clock: new ManualClock(), storage });
    assert.equal(node.counters.get('wire/truncated'), 3);
    await node.transport.close();
    assert.deepEqual([...storage.load('path')], []);
  });
});

describe('interfaces', () => {
  test('of the same name are a mistake', () => {
    const { a, air } = neighbours();
    assert.throws(() => a.transport.attach(air.join('a')), { code: 'config/invalid' });
  });

  test('found by another are run, used and forgotten with their paths when they end', async () => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    const far = new TestNode({ clock });
    const air = new Air();
    const peer = air.join('server/peer');
    far.use(air.join('far'));
    const ended = Promise.withResolvers<never>();
    const found = { ...boundRun(peer, ended.promise), name: peer.name, mtu: peer.mtu, bitrate: peer.bitrate };
    node.use({
      name: 'server',
      mtu: 500,
      bitrate: 1000,
      listens: true,
      send: () => Promise.reject(new GatewayError('radio/offline', 'only listens')),
      async run(port, signal) {
        port.ready();
        port.attach(found);
        await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()));
      },
    });
    const { destination } = far.serve();
    await far.transport.announce(destination);
    await settled();
    assert.equal(node.transport.path(destination.hash)?.interfaceName, 'server/peer');
    const lost: (boolean | undefined)[] = [];
    node.transport.onPath(({ path }) => lost.push(path === undefined));
    ended.reject(new GatewayError('radio/offline', 'gone'));
    await settled();
    assert.deepEqual(
      [...node.transport.interfaces()].map(({ name }) => name),
      ['server'],
    );
    assert.deepEqual(lost, [true]);
    assert.deepEqual([...node.transport.paths()], []);
  });

  test('carry packets of their size and no larger', async () => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    const air = new Air();
    node.use(air.join('lora', { mtu: 500 }));
    air.carry(new Uint8Array(501));
    assert.equal(node.counters.get('wire/malformed'), 1);
  });

  test('that flood us with work are asked to wait, and only they', async () => {
    const { clock, air, b } = neighbours();
    const station = [...b.transport.interfaces()][0]!;
    const { destination } = b.serve();
    const waits: unknown[] = [];
    for (let i = 0; i < 200; i++) {
      const data = Buffer.alloc(128, i);
      const packet = encodePacket({
        hops: 0,
        contextFlag: false,
        propagation: 'broadcast',
        destinationType: 'single',
        packetType: 'data',
        destinationHash: destination.hash,
        context: 0,
        data,
      });
      waits.push(
        (station.iface as unknown as { port: { receive(bytes: Uint8Array): unknown } }).port.receive(packet),
      );
    }
    assert.equal(waits[0], undefined);
    const last = waits.at(-1);
    assert.ok(last instanceof Promise);
    await clock.advance(1);
    await last;
    assert.equal(b.counters.get('crypto/undecryptable'), 200);
    assert.equal(air.packets.length, 0);
  });
});

describe('any bytes', () => {
  test('are counted by a code and dropped, and the node goes on', async () => {
    const { clock, a, air, b } = neighbours();
    const { destination, received } = b.serve({ acceptsLinks: true, proofStrategy: 'all' });
    await b.transport.announce(destination);
    await settled();
    await a.transport.send({ destination: to(destination), data: utf8('seed') });
    await settled();
    const seeds = [...air.packets];
    const mutated = fc
      .tuple(fc.constantFrom(...seeds), fc.nat(), fc.nat(255), fc.nat({ max: 600 }))
      .map(([seed, at, byte, length]) => {
        const bytes = new Uint8Array(seed);
        bytes[at % bytes.length] = byte;
        return bytes.subarray(0, length);
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), mutated), bytes => air.carry(bytes)),
      { numRuns: 2000 },
    );
    await clock.advance(1000);
    assert.equal(b.counters.get('internal'), 0);
    assert.ok(received.every(({ data }) => toHex(data) === toHex(utf8('seed'))));
    await a.transport.send({ destination: to(destination), data: utf8('after') });
    await settled();
    assert.deepEqual(received.at(-1)?.data, utf8('after'));
  });
});

describe('over a lossy ether', () => {
  test('every packet that was sent ends in one receipt, and what is delivered was received', async () => {
    const clock = new ManualClock();
    const ether = new Ether({
      clock,
      random: seededRandom(42),
      loss: 0.2,
      duplication: 0.2,
      reordering: 0.3,
    });
    const nodes = Array.from({ length: 8 }, () => new TestNode({ clock }));
    const ends = nodes.map((node, i) => {
      node.use(ether.join(`node${i}`));
      return node.serve({ proofStrategy: 'all', ratchets: true });
    });
    for (const [i, { destination }] of ends.entries()) {
      const announced = nodes[i]!.transport.announce(destination);
      await clock.advance(100);
      await announced;
    }
    const outcomes = new Map<string, ReceiptOutcome[]>();
    for (let round = 0; round < 20; round++) {
      for (const [i, node] of nodes.entries()) {
        const { destination } = ends[(i + 1 + (round % 7)) % nodes.length]!;
        const told: ReceiptOutcome[] = [];
        const sending = node.transport.send({
          destination: to(destination),
          data: utf8(`round ${round}`),
          onReceipt: outcome => told.push(outcome),
        });
        await clock.advance(50);
        outcomes.set(toHex(await sending), told);
      }
    }
    await clock.advance(800_000);
    const received = new Set(ends.flatMap(end => end.received.map(packet => toHex(packet.packetHash))));
    const all = ends.flatMap(end => end.received);
    assert.equal(received.size, all.length);
    let delivered = 0;
    for (const [hash, told] of outcomes) {
      assert.equal(told.length, 1);
      if (told[0]?.at === 'delivered') {
        delivered += 1;
        assert.ok(received.has(hash));
      }
    }
    assert.ok(delivered > outcomes.size / 3);
  });
});

describe('link packets', () => {
  test('go to where links are, link requests only for destinations that accept them', async () => {
    const { a, air, b } = neighbours();
    const seen: string[] = [];
    const note = (what: string) => (inbound: Inbound) =>
      void seen.push(`${what} ${inbound.packet.context} ${inbound.packet.hops}`);
    b.transport.useLinks({
      linkRequest: note('request'),
      linkProof: note('proof'),
      linkPacket: note('packet'),
    });
    const { destination } = b.serve({ acceptsLinks: true });
    const closed = b.serve({ aspects: ['two'] }).destination;
    const header = {
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType: 'data',
      destinationHash: new Uint8Array(16).fill(3),
      context: contexts.none,
      data: new Uint8Array(64),
    } as const;
    const single = { ...header, destinationType: 'single', packetType: 'link-request' } as const;
    for (const packet of [
      { ...single, destinationHash: destination.hash },
      { ...single, destinationHash: closed.hash },
      { ...header, packetType: 'proof', context: contexts.linkRequestProof },
      { ...header, packetType: 'proof', context: contexts.linkRequestProof },
      { ...header },
      { ...header },
      { ...header, context: contexts.keepalive },
      { ...header, context: contexts.keepalive },
      { ...header, packetType: 'proof', context: contexts.resourceProof },
      { ...header, packetType: 'proof' },
    ] as const) {
      await a.transport.transmit(encodePacket(packet), 'all');
    }
    await settled();
    assert.deepEqual(seen, [
      'request 0 1',
      'proof 255 1',
      'proof 255 1',
      'packet 0 1',
      'packet 250 1',
      'packet 250 1',
      'packet 5 1',
      'packet 0 1',
    ]);
    assert.equal(b.counters.get('mesh/rejected'), 1);
    assert.equal(b.counters.get('mesh/duplicate'), 1);
    b.transport.forget(packetHash(encodePacket(header)));
    air.carry(encodePacket(header));
    assert.equal(seen.at(-1), 'packet 0 1');
    assert.equal(seen.length, 9);
  });
});

/** A station whose run can be made to fail. */
function boundRun(station: ReturnType<Air['join']>, ended: Promise<never>) {
  return {
    run: (port: Parameters<typeof station.run>[0], signal: AbortSignal) =>
      Promise.race([station.run(port, signal), ended]),
    send: (packet: Uint8Array) => station.send(packet),
  };
}
