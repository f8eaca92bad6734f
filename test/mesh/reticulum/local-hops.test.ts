import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toHex, utf8 } from '../../../src/lib/bytes.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { LocalDestination as Destination } from '../../../src/mesh/reticulum/destination.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket, encodePacket } from '../../../src/mesh/reticulum/packet.ts';
import type { ReceiptOutcome } from '../../../src/mesh/reticulum/receipts.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Air, linksOf, pass, TestNode, to } from './air.ts';

/** A node of ours as an instance, with programs on sockets of their own and a neighbour on the air. */
class Machine {
  readonly clock: ManualClock;
  readonly instance: TestNode;
  readonly outside = new Air();
  readonly #sockets = new Map<TestNode, Air>();

  constructor(clock: ManualClock, how: { forwards: boolean; policy?: InterfacePolicy }) {
    this.clock = clock;
    this.instance = new TestNode({ clock, forwards: how.forwards, sharedInstance: true });
    this.instance.use(this.outside.join('outside'), how.policy);
  }

  /** A program: a node that has nothing but this instance. */
  program(how: { forwards?: boolean } = {}): TestNode {
    const { clock } = this;
    const socket = new Air();
    const name = `local/${this.#sockets.size}`;
    const node = new TestNode({ clock, forwards: how.forwards ?? false });
    this.instance.use(socket.join(name, { bitrate: 1_000_000_000 }), { local: 'programs' });
    node.use(socket.join('shared', { bitrate: 1_000_000_000 }), { local: 'instance' });
    this.#sockets.set(node, socket);
    return node;
  }

  /** What went over a program's socket. */
  socketOf(program: TestNode): Air {
    return this.#sockets.get(program)!;
  }
}

/** Serves a destination that proves packets and takes links; what came over links is kept in words. */
function serve(node: TestNode): { destination: LocalDestination; heard: string[] } {
  const links = linksOf(node);
  const { destination } = node.serve({ proofStrategy: 'all' });
  const heard: string[] = [];
  links.accept(destination, {
    onLink: () => ({
      onPacket: ({ data, prove }) => {
        heard.push(toHex(data));
        prove();
      },
    }),
  });
  return { destination, heard };
}

/** Sends a packet and opens a link with a packet in it, both to be proven; what became of them. */
async function talk(clock: ManualClock, from: TestNode, there: LocalDestination) {
  const links = linksOf(from);
  const outcomes: ReceiptOutcome[] = [];
  await from.transport.send({
    destination: to(there),
    data: utf8('packet'),
    onReceipt: outcome => outcomes.push(outcome),
  });
  await pass(clock, 500);
  let link: Link | undefined;
  const opening = links.open(there.hash, { identity: there.identity!.public }).then(opened => {
    link = opened;
  });
  await pass(clock, 500);
  assert.ok(link, 'no link');
  await opening;
  void link.send(utf8('over a link'), { onReceipt: outcome => outcomes.push(outcome) });
  await pass(clock, 500);
  const { hops } = link;
  await link.close();
  await pass(clock, 200);
  return { outcomes: outcomes.map(({ at }) => at), hops };
}

const proven = ['delivered', 'delivered'];

for (const forwards of [true, false]) {
  describe(`programs of an instance that ${forwards ? 'forwards' : 'does not forward'} for others`, () => {
    test('reach neighbours and are reached by them as if they were the instance itself', async () => {
      const clock = new ManualClock();
      const machine = new Machine(clock, { forwards });
      const neighbour = new TestNode({ clock });
      neighbour.use(machine.outside.join('neighbour'));
      const program = machine.program();
      const here = serve(program);
      const there = serve(neighbour);
      await program.transport.announce(here.destination);
      await neighbour.transport.announce(there.destination);
      await pass(clock, 200);
      assert.equal(machine.instance.transport.path(here.destination.hash)?.hops, 0);
      assert.equal(neighbour.transport.path(here.destination.hash)?.hops, 1);
      assert.equal(program.transport.path(there.destination.hash)?.hops, 1);
      assert.deepEqual(await talk(clock, program, there.destination), { outcomes: proven, hops: 1 });
      assert.deepEqual(await talk(clock, neighbour, here.destination), { outcomes: proven, hops: 1 });
      assert.deepEqual([here.heard.length, there.heard.length], [1, 1]);
    });

    test('reach each other and the instance, at no distance', async () => {
      const clock = new ManualClock();
      const machine = new Machine(clock, { forwards });
      const one = machine.program();
      const other = machine.program();
      const here = serve(one);
      const mine = serve(machine.instance);
      await one.transport.announce(here.destination);
      await machine.instance.transport.announce(mine.destination);
      await pass(clock, 200);
      assert.equal(other.transport.path(here.destination.hash)?.hops, 0);
      assert.deepEqual(await talk(clock, other, here.destination), { outcomes: proven, hops: 0 });
      assert.deepEqual(await talk(clock, other, mine.destination), { outcomes: proven, hops: 0 });
      assert.deepEqual(await talk(clock, machine.instance, here.destination), { outcomes: proven, hops: 0 });
    });

    test('ask for a path everywhere, whatever the mode, and are answered from what is known', async () => {
      const clock = new ManualClock();
      const machine = new Machine(clock, { forwards });
      const neighbour = new TestNode({ clock });
      neighbour.use(machine.outside.join('neighbour'));
      const { destination } = neighbour.serve();
      const one = machine.program();
      const asked = one.transport.requestPath(destination.hash);
      await pass(clock, 1500);
      assert.equal((await asked).hops, 1);
      const later = machine.program();
      const before = machine.outside.packets.length;
      const again = later.transport.requestPath(destination.hash);
      await pass(clock, 100);
      assert.equal((await again).hops, 1);
      assert.equal(machine.outside.packets.length, before);
    });

    test('are found by a neighbour that asks for them, announced or not', async () => {
      const clock = new ManualClock();
      const machine = new Machine(clock, { forwards });
      const neighbour = new TestNode({ clock });
      neighbour.use(machine.outside.join('neighbour'));
      const program = machine.program();
      const silent = program.serve();
      const asked = neighbour.transport.requestPath(silent.destination.hash);
      await pass(clock, 1000);
      assert.equal((await asked).hops, 1);
      neighbour.transport.dropPath(silent.destination.hash);
      const again = neighbour.transport.requestPath(silent.destination.hash, { insist: true });
      await pass(clock, 100);
      assert.equal((await again).hops, 1);
    });

    test('are forgotten when they go', async () => {
      const clock = new ManualClock();
      const machine = new Machine(clock, { forwards });
      const program = machine.program();
      const { destination } = program.serve();
      await program.transport.announce(destination);
      await pass(clock, 100);
      assert.ok(machine.instance.transport.path(destination.hash));
      for (const attachment of machine.instance.transport.interfaces()) {
        if (attachment.name.startsWith('local/')) {
          attachment.detach();
        }
      }
      assert.equal(machine.instance.transport.path(destination.hash), undefined);
    });
  });
}

describe('an instance', () => {
  test('passes an announce of a program on at once and once, however often it comes', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, {
      forwards: true,
      policy: { announce: { rateTarget: 3_600_000, rateGrace: 0, cap: 0.001 } },
    });
    const program = machine.program();
    const { destination } = program.serve();
    for (let i = 1; i <= 5; i++) {
      await program.transport.announce(destination);
      await pass(clock, 1000);
      assert.equal(machine.outside.packets.length, i);
    }
    await pass(clock, 20_000);
    assert.equal(machine.outside.packets.length, 5);
  });

  test('does not pass announces on that answer a request of its own program, but to who asked', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: true });
    const one = machine.program();
    const other = machine.program();
    const { destination } = one.serve();
    const asked = other.transport.requestPath(destination.hash);
    await pass(clock, 500);
    assert.equal((await asked).hops, 0);
    const announces = machine.outside.packets.filter(raw => decodePacket(raw).packetType === 'announce');
    assert.equal(announces.length, 0);
  });

  test('tells programs of every announce, with the hops it has itself', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: false });
    const far = new Air();
    const relay = new TestNode({ clock, forwards: true });
    relay.use(machine.outside.join('relay'));
    relay.use(far.join('far'));
    const end = new TestNode({ clock });
    end.use(far.join('end'));
    const program = machine.program();
    const { destination } = end.serve();
    await end.transport.announce(destination);
    await pass(clock, 2000);
    assert.equal(machine.instance.transport.path(destination.hash)?.hops, 2);
    assert.equal(program.transport.path(destination.hash)?.hops, 2);
    assert.deepEqual(
      program.transport.path(destination.hash)?.nextHop,
      machine.instance.transport.identity.hash,
    );
  });

  test('spreads plain packets between programs and neighbours, and answers for itself alone', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: false });
    const neighbour = new TestNode({ clock });
    neighbour.use(machine.outside.join('neighbour'));
    const one = machine.program();
    const other = machine.program();
    const nodes = [neighbour, one, other];
    const heard = nodes.map(() => [] as string[]);
    const plain = nodes.map((node, at) => {
      const destination = new Destination({
        appName: 'app',
        aspects: ['plain'],
        onPacket: ({ data }) => heard[at]!.push(Buffer.from(data).toString()),
      });
      node.transport.register(destination);
      return destination;
    });
    await one.transport.sendPlain(plain[0]!.hash, utf8('from a program'));
    await pass(clock, 50);
    await neighbour.transport.sendPlain(plain[0]!.hash, utf8('from a neighbour'));
    await pass(clock, 50);
    assert.deepEqual(heard, [
      ['from a program'],
      ['from a neighbour'],
      ['from a program', 'from a neighbour'],
    ]);
  });

  test('carries nothing of strangers where it does not forward', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: false });
    const second = new Air();
    machine.instance.use(second.join('second'));
    const [one, other] = [new TestNode({ clock }), new TestNode({ clock })];
    one.use(machine.outside.join('one'));
    other.use(second.join('other'));
    machine.program();
    const { destination, received } = other.serve();
    await other.transport.announce(destination);
    await pass(clock, 500);
    assert.equal(machine.outside.packets.length, 0);
    machine.outside.carry(
      encodePacket({
        hops: 0,
        transportId: machine.instance.transport.identity.hash,
        contextFlag: false,
        propagation: 'transport',
        destinationType: 'single',
        packetType: 'data',
        destinationHash: destination.hash,
        context: contexts.none,
        data: destination.identity!.public.encrypt(utf8('let me through'), one.random),
      }),
    );
    await pass(clock, 500);
    assert.equal(received.length, 0);
    assert.equal(machine.instance.counters.get('mesh/not-for-us'), 1);
  });

  test('remembers how well a packet was heard, for the program it is for', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: false });
    const neighbour = new TestNode({ clock });
    neighbour.use(machine.outside.join('neighbour'));
    const { destination } = neighbour.serve();
    await neighbour.transport.announce(destination);
    await pass(clock, 100);
    const { packetHash } = machine.instance.transport.recall(destination.hash)!;
    assert.deepEqual(machine.instance.transport.quality(packetHash), { rssi: -90 });
    assert.equal(machine.instance.transport.quality(new Uint8Array(32)), undefined);
  });
});

describe('a hostile program', () => {
  test('says what it likes without harm: others are served as before', async () => {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: false });
    const neighbour = new TestNode({ clock });
    neighbour.use(machine.outside.join('neighbour'));
    const there = serve(neighbour);
    const honest = machine.program();
    const here = serve(honest);
    const hostile = machine.program();
    await neighbour.transport.announce(there.destination);
    await honest.transport.announce(here.destination);
    await pass(clock, 100);
    await talk(clock, honest, there.destination);
    const seeds = [...machine.outside.packets, ...machine.socketOf(honest).packets];
    const socket = machine.socketOf(hostile);
    const random = hostile.random;
    for (let n = 0; n < 3000; n++) {
      const packet = seeds[Math.floor(random.fraction() * seeds.length)]!.slice();
      for (let flips = Math.floor(random.fraction() * 4); flips >= 0; flips--) {
        packet[Math.floor(random.fraction() * packet.length)] = random.bytes(1)[0]!;
      }
      socket.carry(packet.subarray(0, 1 + Math.floor(random.fraction() * packet.length)));
      socket.carry(packet);
      if (n % 100 === 0) {
        await pass(clock, 25);
      }
    }
    await pass(clock, 100);
    assert.equal(machine.instance.counters.get('internal'), 0);
    assert.deepEqual((await talk(clock, honest, there.destination)).outcomes, proven);
    assert.deepEqual((await talk(clock, neighbour, here.destination)).outcomes, proven);
    assert.ok(Object.values(machine.instance.transport.sizes()).every(size => size < 10_000));
  });
});

describe('a node that is a program of another and has neighbours of its own', () => {
  /** neighbour -(air)- instance -(socket)- gateway -(air)- handheld */
  function joined() {
    const clock = new ManualClock();
    const machine = new Machine(clock, { forwards: true });
    const neighbour = new TestNode({ clock });
    neighbour.use(machine.outside.join('neighbour'));
    const gateway = machine.program({ forwards: true });
    const air = new Air();
    gateway.use(air.join('air'));
    const handheld = new TestNode({ clock });
    handheld.use(air.join('handheld'));
    return { clock, machine, neighbour, gateway, handheld };
  }

  test('counts the instance on its behalf, so that both sides find each other', async () => {
    const { clock, neighbour, gateway, handheld } = joined();
    const near = serve(handheld);
    const far = serve(neighbour);
    const own = serve(gateway);
    await handheld.transport.announce(near.destination);
    await neighbour.transport.announce(far.destination);
    await gateway.transport.announce(own.destination);
    await pass(clock, 3000);
    assert.equal(gateway.transport.path(far.destination.hash)?.hops, 1);
    assert.equal(handheld.transport.path(far.destination.hash)?.hops, 2);
    assert.equal(neighbour.transport.path(near.destination.hash)?.hops, 3);
    assert.equal(neighbour.transport.path(own.destination.hash)?.hops, 1);
    assert.deepEqual((await talk(clock, handheld, far.destination)).outcomes, proven);
    assert.deepEqual((await talk(clock, neighbour, near.destination)).outcomes, proven);
    assert.deepEqual((await talk(clock, gateway, far.destination)).outcomes, proven);
    assert.deepEqual((await talk(clock, neighbour, own.destination)).outcomes, proven);
  });
});
