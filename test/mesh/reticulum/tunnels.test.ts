import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex, utf8 } from '../../../src/lib/bytes.ts';
import type { Interface, InterfacePort } from '../../../src/mesh/interface.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import {
  decodeTunnelSynthesis,
  encodeTunnelSynthesis,
  tunnelDestination,
} from '../../../src/mesh/reticulum/tunnel-wire.ts';
import { decodeTunnel, encodeTunnel, tunnelLifetime } from '../../../src/mesh/reticulum/tunnels.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';
import { Air, pass, settled, TestNode, to } from './air.ts';
import { MemoryStorage } from './memory-storage.ts';

const random = seededRandom(11);

/** A listener on which a test lets peers appear and vanish. */
class Door implements Interface {
  readonly name = 'server';
  readonly mtu = 500;
  readonly bitrate = 10_000_000;
  readonly listens = true;
  #port: InterfacePort | undefined;
  #number = 5000;

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  send(): Promise<void> {
    return Promise.resolve();
  }

  /** Somebody connects over a wire of their own; gives how to break it. */
  connect(air: Air): () => void {
    const station = air.join(`server/192.0.2.1:${this.#number++}`);
    const broken = new AbortController();
    this.#port?.attach({
      name: station.name,
      mtu: 500,
      bitrate: 10_000_000,
      run: (port, signal) => station.run(port, AbortSignal.any([signal, broken.signal])),
      send: packet => station.send(packet),
    });
    return () => broken.abort();
  }
}

/** A client that dials a hub again and again, and a node behind the client. */
async function rig(storage = new MemoryStorage()) {
  const clock = new ManualClock();
  const door = new Door();
  const hubIdentity = generateIdentity(random);
  let hub = new TestNode({ clock, storage, identity: hubIdentity, forwards: true });
  hub.use(door);
  const client = new TestNode({ clock, forwards: true });
  const behind = new Air();
  client.use(behind.join('behind'));
  const far = new TestNode({ clock });
  far.use(behind.join('far'));
  const { destination, received } = far.serve({ proofStrategy: 'all' });
  let wire = new Air();
  let hangUp = () => {};
  /** The client's connection, which is another each time. */
  const dial = async () => {
    wire = new Air();
    hangUp = door.connect(wire);
    client.use(Object.assign(wire.join('uplink'), { dials: true }));
    await pass(clock, 100);
  };
  const lose = async () => {
    hangUp();
    await client.down('uplink');
    for (const attachment of [...client.transport.interfaces()].filter(({ name }) => name === 'uplink')) {
      attachment.detach();
    }
    await pass(clock, 100);
  };
  const restart = async () => {
    await hub.transport.close();
    hub = new TestNode({ clock, storage, identity: hubIdentity, forwards: true });
    hub.use(door);
    await settled();
  };
  await settled();
  await dial();
  await far.transport.announce(destination);
  await pass(clock, 2000);
  return {
    clock,
    door,
    client,
    far,
    destination,
    received,
    dial,
    lose,
    restart,
    node: () => hub,
    air: () => wire,
  };
}

describe('what says who comes', () => {
  test('has the layout of the reference, and its id is the same each time', () => {
    const identity = generateIdentity(random);
    const one = encodeTunnelSynthesis(identity, 'uplink', random);
    const other = encodeTunnelSynthesis(identity, 'uplink', random);
    assert.equal(one.length, 64 + 32 + 16 + 64);
    assert.deepEqual(one.subarray(0, 64), identity.publicKey);
    assert.notDeepEqual(one, other);
    assert.deepEqual(decodeTunnelSynthesis(one).id, decodeTunnelSynthesis(other).id);
    assert.notDeepEqual(
      decodeTunnelSynthesis(one).id,
      decodeTunnelSynthesis(encodeTunnelSynthesis(identity, 'other', random)).id,
    );
  });

  test('is believed only as it was signed', () => {
    const said = encodeTunnelSynthesis(generateIdentity(random), 'uplink', random);
    for (const at of [0, 40, 70, 100, 170]) {
      const changed = said.slice();
      changed[at]! ^= 1;
      assert.throws(() => decodeTunnelSynthesis(changed), { code: 'crypto/bad-signature' });
    }
    for (let length = 0; length < said.length; length++) {
      assert.throws(() => decodeTunnelSynthesis(said.subarray(0, length)), { code: 'wire/malformed' });
    }
    assert.throws(() => decodeTunnelSynthesis(concat(said, new Uint8Array(1))), { code: 'wire/malformed' });
  });

  test('is said first over each connection that this node makes, and over no other', async () => {
    const { air, client } = await rig();
    const first = decodePacket(air().packets[0]!);
    assert.deepEqual(first.destinationHash, tunnelDestination);
    assert.equal(first.destinationType, 'plain');
    assert.ok(decodeTunnelSynthesis(first.data));
    const plain = new Air();
    client.use(plain.join('plain'));
    await settled();
    assert.deepEqual(plain.packets, []);
  });
});

describe('a tunnel', () => {
  test('keeps the ways over a connection until it is made anew, and tells of them then', async () => {
    const { clock, destination, received, dial, lose, node } = await rig();
    const hub = node();
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'server/192.0.2.1:5000');
    await lose();
    assert.equal(hub.transport.path(destination.hash), undefined);
    assert.equal([...hub.transport.paths()].length, 1);
    const changes: (string | undefined)[] = [];
    hub.transport.onPath(({ path }) => changes.push(path?.interfaceName));
    await dial();
    assert.deepEqual(changes, ['server/192.0.2.1:5001']);
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'server/192.0.2.1:5001');
    await hub.transport.send({ destination: to(destination), data: utf8('through') });
    await pass(clock, 100);
    assert.equal(received.length, 1);
    assert.equal(hub.counters.get('tunnel/restored'), 1);
    assert.deepEqual(
      [...hub.transport.tunnels()].map(({ interfaceName }) => interfaceName),
      ['server/192.0.2.1:5001'],
    );
  });

  test('is moved at once where its far end connects before the old connection is known to be lost', async () => {
    const { clock, client, destination, received, dial, node, lose } = await rig();
    const hub = node();
    const old = [...hub.transport.interfaces()].find(({ name }) => name.startsWith('server/'))!;
    await client.down('uplink');
    [...client.transport.interfaces()].find(({ name }) => name === 'uplink')!.detach();
    await dial();
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'server/192.0.2.1:5001');
    assert.equal(old.online, true);
    old.detach();
    await settled();
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'server/192.0.2.1:5001');
    await hub.transport.send({ destination: to(destination), data: utf8('through') });
    await pass(clock, 100);
    assert.equal(received.length, 1);
    await lose();
  });

  test('outlives a restart of the node', async () => {
    const { destination, dial, lose, restart, node } = await rig();
    await lose();
    await restart();
    assert.equal(node().transport.path(destination.hash), undefined);
    await dial();
    assert.equal(node().transport.path(destination.hash)?.interfaceName, 'server/192.0.2.1:5001');
  });

  test('is forgotten with its ways after eight hours without its far end', async () => {
    const { clock, destination, dial, lose, node } = await rig();
    const hub = node();
    await lose();
    const lost: boolean[] = [];
    hub.transport.onPath(({ path }) => lost.push(path === undefined));
    await clock.advance(tunnelLifetime - 60_000);
    assert.equal([...hub.transport.tunnels()].length, 1);
    await clock.advance(120_000);
    assert.deepEqual([...hub.transport.tunnels()], []);
    assert.deepEqual(lost, [true]);
    assert.deepEqual([...hub.transport.paths()], []);
    await dial();
    assert.equal(hub.transport.path(destination.hash), undefined);
  });

  test('gives back a way that a longer one took the place of while it was away, and not that of a newer', async () => {
    const { clock, far, destination, dial, lose, node } = await rig();
    const hub = node();
    const detour = new Air();
    const other = new TestNode({ clock, forwards: true });
    const between = new Air();
    const long = new TestNode({ clock, forwards: true });
    other.use(between.join('other'));
    long.use(between.join('long'));
    long.use(detour.join('long out'));
    hub.use(detour.join('detour'));
    const beyond = new Air();
    far.use(beyond.join('far out'));
    other.use(beyond.join('other in'));
    await lose();
    await far.transport.announce(destination);
    await pass(clock, 3000);
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'detour');
    await dial();
    await pass(clock, 500);
    // It is newer: it stays, although it is longer.
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'detour');
  });

  test('of whoever taught no way is not kept, and one connection has one far end', async () => {
    const { clock, door, node } = await rig();
    const hub = node();
    const wire = new Air();
    const hangUp = door.connect(wire);
    const say = () => wire.carry(plain(encodeTunnelSynthesis(generateIdentity(random), 'x', random)));
    say();
    say();
    await pass(clock, 100);
    assert.equal(hub.counters.get('tunnel/refused'), 1);
    assert.equal([...hub.transport.tunnels()].length, 2);
    hangUp();
    await pass(clock, 100);
    assert.equal([...hub.transport.tunnels()].length, 1);
  });

  test('is not taken over by whoever overheard how it was made', async () => {
    const { clock, door, destination, air, lose, node } = await rig();
    const hub = node();
    const overheard = air().packets[0]!;
    await lose();
    const thief = new Air();
    door.connect(thief);
    thief.carry(overheard);
    await pass(clock, 100);
    assert.equal(hub.transport.path(destination.hash), undefined);
    assert.equal(hub.counters.get('mesh/duplicate'), 1);
  });

  test('is made by nobody on a medium that many share, whose ways would be theirs to take elsewhere', async () => {
    const { clock, door, node } = await rig();
    const hub = node();
    const radio = new Air();
    hub.use(Object.assign(radio.join('radio'), { shared: true }));
    const honest = new TestNode({ clock });
    honest.use(radio.join('honest'));
    const { destination } = honest.serve({});
    const thief = generateIdentity(random);
    const say = () => plain(encodeTunnelSynthesis(thief, 'x', random));
    radio.carry(say());
    await settled();
    await honest.transport.announce(destination);
    await pass(clock, 1000);
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'radio');
    const elsewhere = new Air();
    door.connect(elsewhere);
    elsewhere.carry(say());
    await pass(clock, 100);
    assert.equal(hub.transport.path(destination.hash)?.interfaceName, 'radio');
    assert.equal(hub.counters.get('tunnel/refused'), 1);
  });

  test('is stored with when it is over', () => {
    const key = toHex(random.bytes(32));
    const stored = encodeTunnel({ expires: 1_760_000_000_000 });
    assert.equal(decodeTunnel(key, stored), 1_760_000_000_000);
    for (let length = 0; length < stored.length; length++) {
      assert.throws(() => decodeTunnel(key, stored.subarray(0, length)), { code: 'wire/truncated' });
    }
    assert.throws(() => decodeTunnel('zz', stored), { code: 'wire/malformed' });
    assert.throws(() => decodeTunnel(key, Uint8Array.of(9, ...stored)), { code: 'wire/unsupported' });
  });
});

/** A plain packet to where tunnels are made. */
function plain(data: Uint8Array): Uint8Array {
  return concat(new Uint8Array([0x08, 0]), tunnelDestination, new Uint8Array([0]), data);
}
