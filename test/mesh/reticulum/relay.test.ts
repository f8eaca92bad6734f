import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, toHex, utf8 } from '../../../src/lib/bytes.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Burden } from '../../../src/mesh/interface.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { encodeRandomBlob } from '../../../src/mesh/reticulum/announce.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import { withMtu } from '../../../src/mesh/reticulum/link-wire.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { contexts, decodePacket, encodePacket, truncatedHash } from '../../../src/mesh/reticulum/packet.ts';
import { encodePathRequest, pathRequestDestination } from '../../../src/mesh/reticulum/path-request.ts';
import type { ReceiptOutcome } from '../../../src/mesh/reticulum/receipts.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Air, linksOf, pass, settled, TestNode, to } from './air.ts';

interface Chain {
  readonly clock: ManualClock;
  readonly airs: readonly Air[];
  readonly nodes: readonly TestNode[];
  readonly first: TestNode;
  readonly last: TestNode;
}

/** Nodes in a row, each hearing only its neighbours; those in the middle forward. */
function chain(
  length: number,
  policies: readonly InterfacePolicy[] = [],
  how: { bitrate?: number } = {},
): Chain {
  const clock = new ManualClock();
  const airs = Array.from({ length: length - 1 }, () => new Air());
  const nodes = Array.from({ length }, (_, at) => {
    const node = new TestNode({ clock, forwards: at > 0 && at < length - 1 });
    const left = airs[at - 1];
    const right = airs[at];
    if (left) {
      node.use(left.join(`left${at}`, how), policies[at - 1]);
    }
    if (right) {
      node.use(right.join(`right${at}`, how), policies[at]);
    }
    return node;
  });
  return { clock, airs, nodes, first: nodes[0]!, last: nodes.at(-1)! };
}

/** A destination at a node that takes links, and what came over them. */
function serveLinks(node: TestNode): { readonly destination: LocalDestination; readonly got: string[] } {
  const links = linksOf(node);
  const { destination } = node.serve();
  const got: string[] = [];
  links.accept(destination, {
    onLink: () => ({
      onPacket: ({ data, prove }) => {
        got.push(toHex(data));
        prove();
      },
    }),
  });
  return { destination, got };
}

/** The link request that was on the air, as a packet that this node is to pass on, with another MTU in it. */
function replayed(air: Air, by: TestNode, mtu: number): Uint8Array {
  const request = air.packets
    .map(bytes => decodePacket(bytes))
    .find(packet => packet.packetType === 'link-request')!;
  const transportId = by.transport.identity.hash;
  return withMtu(encodePacket({ ...request, transportId, propagation: 'transport' }), mtu);
}

function announcesOn(air: Air, context?: number): number {
  return air.packets
    .map(bytes => decodePacket(bytes))
    .filter(packet => packet.packetType === 'announce' && (context ?? packet.context) === packet.context)
    .length;
}

describe('a node that forwards', () => {
  test('passes an announce on, one hop farther and in its own name, twice at the most', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const { destination } = first.serve({ appData: () => utf8('far'), ratchets: true });
    await first.transport.announce(destination);
    await pass(clock, 20_000);
    const path = last.transport.path(destination.hash);
    assert.equal(path?.hops, 2);
    assert.deepEqual(path?.nextHop, nodes[1]!.transport.identity.hash);
    assert.deepEqual(last.transport.recall(destination.hash)?.appData, utf8('far'));
    assert.ok(last.transport.recall(destination.hash)?.ratchet);
    assert.equal(announcesOn(airs[1]!), 2);
    const [relayed] = airs[1]!.packets.map(bytes => decodePacket(bytes));
    assert.equal(relayed?.hops, 1);
    assert.equal(relayed?.propagation, 'transport');
  });

  test('carries packets and their proofs over five hops', async () => {
    const { clock, first, last } = chain(6);
    const { destination, received } = last.serve({ proofStrategy: 'all' });
    await last.transport.announce(destination);
    await pass(clock, 8000);
    assert.equal(first.transport.path(destination.hash)?.hops, 5);
    const outcomes: ReceiptOutcome[] = [];
    await first.transport.send({
      destination: to(destination),
      data: utf8('hello'),
      onReceipt: outcome => outcomes.push(outcome),
    });
    await pass(clock, 500);
    assert.deepEqual(
      received.map(({ data, hops }) => [data, hops]),
      [[utf8('hello'), 5]],
    );
    assert.equal(outcomes[0]?.at, 'delivered');
  });

  test('drops what is on its way over another node, and what nobody knows a way for', async () => {
    const { clock, nodes, first, last } = chain(3);
    const { destination } = last.serve();
    await last.transport.announce(destination);
    await pass(clock, 2000);
    nodes[1]!.transport.dropPath(destination.hash);
    await first.transport.send({ destination: to(destination), data: utf8('x') });
    await pass(clock, 100);
    assert.equal(nodes[1]!.counters.get('relay/no-path'), 1);
  });

  test('lowers the MTU of a link to what both its media carry, and carries the link', async () => {
    const clock = new ManualClock();
    const [fast, slower] = [new Air(), new Air()];
    const [a, middle, b] = [false, true, false].map(forwards => new TestNode({ clock, forwards }));
    a!.use(fast.join('a', { bitrate: 1_000_000_000, mtu: 600_000 }));
    middle!.use(fast.join('m1', { bitrate: 1_000_000_000, mtu: 600_000 }));
    middle!.use(slower.join('m2', { bitrate: 2_000_000 }));
    b!.use(slower.join('b', { bitrate: 1_000_000_000, mtu: 600_000 }));
    const links = [a!, b!].map(node => {
      const made = new Links({
        clock,
        random: node.random,
        log: silentLog,
        counters: node.counters,
        transport: node.transport,
        budget: new IncomingBudget(),
      });
      node.transport.useLinks(made);
      return made;
    });
    const { destination } = b!.serve();
    const got: string[] = [];
    links[1]!.accept(destination, {
      onLink: () => ({
        onPacket: ({ data, prove }) => {
          got.push(toHex(data));
          prove();
        },
      }),
    });
    const changes: (string | undefined)[] = [];
    middle!.transport.onTransitLink(({ closed }) => changes.push(closed));
    await b!.transport.announce(destination);
    await pass(clock, 2000);
    const opening = links[0]!.open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 1000);
    const link = await opening;
    assert.equal(link.mtu, 4096);
    const proven = link.send(new Uint8Array(3000).fill(7), { timeout: 5000 });
    await pass(clock, 1000);
    await proven;
    assert.deepEqual(got, ['07'.repeat(3000)]);
    assert.equal([...middle!.transport.transitLinks()].length, 1);
    assert.deepEqual(changes, [undefined]);
    for (const attachment of [...middle!.transport.interfaces()].filter(({ name }) => name === 'm2')) {
      attachment.detach();
    }
    assert.deepEqual(changes, [undefined, 'interface-gone']);
  });

  test('signals no MTU over a medium that carries no more than any does', async () => {
    const { clock, airs, nodes, first, last } = chain(3, [], { bitrate: 9600 });
    const links = new Links({
      clock,
      random: first.random,
      log: silentLog,
      counters: first.counters,
      transport: first.transport,
      budget: new IncomingBudget(),
    });
    first.transport.useLinks(links);
    const { destination } = last.serve();
    await last.transport.announce(destination);
    await pass(clock, 4000);
    links.open(destination.hash, { identity: destination.identity!.public }).catch(() => {});
    await pass(clock, 200);
    const request = airs[1]!.packets
      .map(bytes => decodePacket(bytes))
      .find(p => p.packetType === 'link-request');
    assert.equal(request?.data.length, 64);
    assert.equal(nodes[1]!.counters.get('relay/passed'), 1);
  });

  test('tells a medium that rations for whom it sends, also behind an access code', async () => {
    const clock = new ManualClock();
    const airs = [new Air(), new Air()];
    const burdens: (Burden | undefined)[] = [];
    const scale = airs[1]!.join('scale');
    const send = scale.send.bind(scale);
    scale.send = (packet: Uint8Array, burden?: Burden) => {
      burdens.push(burden);
      return send(packet);
    };
    const policy = { mode: 'gateway', accessCode: new AccessCode({ networkName: 'n', size: 8 }) } as const;
    const [first, hub, last] = [false, true, false].map(forwards => new TestNode({ clock, forwards }));
    first!.use(airs[0]!.join('first'));
    hub!.use(airs[0]!.join('plain'), { mode: 'gateway' });
    hub!.use(scale, policy);
    last!.use(airs[1]!.join('last'), policy);
    const told = () => burdens.splice(0).join(' ');
    const { destination: near } = first!.serve();
    await first!.transport.announce(near);
    await pass(clock, 10_000);
    assert.equal(told(), 'hearsay hearsay');
    const { destination: far } = last!.serve();
    await last!.transport.announce(far);
    await pass(clock, 10_000);
    told();
    await first!.transport.send({ destination: to(far), data: utf8('x') });
    await pass(clock, 100);
    assert.equal(told(), 'relayed');
    last!.transport.dropPath(near.hash);
    await Promise.all([last!.transport.requestPath(near.hash), pass(clock, 1000)]);
    assert.equal(told(), 'hearsay');
    first!.transport.requestPath(new Uint8Array(16).fill(9)).catch(() => {});
    await pass(clock, 100);
    assert.equal(told(), 'hearsay');
    const { destination: ours } = hub!.serve();
    await hub!.transport.announce(ours);
    await hub!.transport.send({ destination: to(far), data: utf8('y') });
    assert.equal(told(), 'announce own');
    await clock.advance(30_000);
  });

  test('lets a peer that takes nothing hold up whoever sends to it for a second, and no longer', async () => {
    const clock = new ManualClock();
    const [left, right] = [new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    const up = left.join('up');
    const dead = right.join('dead');
    hub.use(up);
    hub.use(dead);
    const peer = new TestNode({ clock });
    peer.use(right.join('peer'));
    const { destination } = peer.serve();
    await peer.transport.announce(destination);
    await pass(clock, 10_000);
    const stuck: (() => void)[] = [];
    dead.send = () => new Promise<void>(resolve => stuck.push(resolve));
    const take = (number: number) =>
      up.port!.receive(
        encodePacket({
          hops: 0,
          transportId: hub.transport.identity.hash,
          contextFlag: false,
          propagation: 'transport',
          destinationType: 'single',
          packetType: 'data',
          destinationHash: destination.hash,
          context: contexts.none,
          data: new Uint8Array(100_000).fill(number),
        }),
      );
    let waits = 0;
    for (let i = 0; i < 8; i++) {
      void take(i)?.then(() => void waits++);
    }
    await pass(clock, 900);
    assert.equal(waits, 0);
    await pass(clock, 200);
    assert.ok(waits > 0);
    assert.equal(take(9), undefined);
    assert.equal(hub.counters.get('relay/queue-full'), 1);
    for (const resolve of stuck.splice(0)) {
      resolve();
    }
    await pass(clock, 100);
    take(10);
    assert.equal(stuck.length, 1);
    assert.equal(hub.counters.get('relay/queue-full'), 1);
  });

  test('brings the true proof back whatever proofs came before it, from wherever', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const { destination, received } = last.serve({ proofStrategy: 'app' });
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const outcomes: ReceiptOutcome[] = [];
    const hash = await first.transport.send({
      destination: to(destination),
      data: utf8('hello'),
      onReceipt: outcome => outcomes.push(outcome),
    });
    await pass(clock, 100);
    const forged = (fill: number) =>
      encodePacket({
        hops: 0,
        contextFlag: false,
        propagation: 'broadcast',
        destinationType: 'single',
        packetType: 'proof',
        destinationHash: truncatedHash(hash),
        context: contexts.none,
        data: new Uint8Array(64).fill(fill),
      });
    airs[0]!.carry(forged(1));
    airs[1]!.carry(forged(2));
    airs[1]!.carry(forged(3));
    await pass(clock, 100);
    received[0]!.prove();
    await pass(clock, 100);
    assert.equal(outcomes[0]?.at, 'delivered');
    assert.equal(nodes[1]!.counters.get('relay/wrong-way'), 1);
    const proofs = airs[0]!.packets.filter(bytes => decodePacket(bytes).packetType === 'proof');
    assert.equal(proofs.length, 3, 'the one on the wrong side, one that was forged, and the true one');
  });

  test('takes a proof that was overheard on the wrong side when it comes over the right one', async () => {
    const { clock, airs, first, last } = chain(3);
    const { destination } = last.serve({ proofStrategy: 'all' });
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const outcomes: ReceiptOutcome[] = [];
    const carry = airs[1]!.carry.bind(airs[1]!);
    airs[1]!.carry = (packet, from) => {
      if (decodePacket(packet).packetType === 'proof') {
        airs[0]!.carry(packet);
      }
      carry(packet, from);
    };
    await first.transport.send({
      destination: to(destination),
      data: utf8('hello'),
      onReceipt: outcome => outcomes.push(outcome),
    });
    await pass(clock, 100);
    const relayed = airs[0]!.packets.map(bytes => decodePacket(bytes)).filter(p => p.packetType === 'proof');
    assert.deepEqual(
      relayed.map(({ hops }) => hops),
      [0, 1],
    );
  });

  test('does not confuse a link with a request for it that somebody sends again', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const links = linksOf(first);
    const { destination, got } = serveLinks(last);
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const opening = links.open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 500);
    const link = await opening;
    airs[0]!.carry(replayed(airs[0]!, nodes[1]!, 700));
    airs[1]!.carry(replayed(airs[0]!, nodes[1]!, 701));
    await pass(clock, 100);
    const proven = link.send(utf8('still here'), { timeout: 5000 });
    await pass(clock, 500);
    await proven;
    assert.deepEqual(got, [toHex(utf8('still here'))]);
    assert.equal(nodes[1]!.counters.get('mesh/duplicate'), 2);
  });

  test('does not take a link of its own for one of others', async () => {
    const clock = new ManualClock();
    const air = new Air();
    const hub = new TestNode({ clock, forwards: true });
    const peer = new TestNode({ clock });
    hub.use(air.join('hub'));
    peer.use(air.join('peer'));
    const links = linksOf(hub);
    const { destination, got } = serveLinks(peer);
    await peer.transport.announce(destination);
    await pass(clock, 1000);
    const opening = links.open(destination.hash, { identity: destination.identity!.public });
    await settled();
    air.carry(replayed(air, hub, 600));
    await pass(clock, 500);
    const link = await opening;
    assert.equal(hub.transport.recall(destination.hash)?.used, true);
    air.carry(replayed(air, hub, 601));
    const proven = link.send(utf8('mine'), { timeout: 5000 });
    await pass(clock, 500);
    await proven;
    assert.deepEqual(got, [toHex(utf8('mine'))]);
    assert.equal([...hub.transport.transitLinks()].length, 0);
  });

  test('carries a packet of a link that it overheard from farther away when it comes the way of the link', async () => {
    const { clock, airs, first, last } = chain(4);
    const links = linksOf(first);
    const { destination } = serveLinks(last);
    const sent: Promise<unknown>[] = [];
    const farLinks = linksOf(last);
    farLinks.accept(destination, {
      onLink: link => {
        clock.after(1000, () => void sent.push(link.send(utf8('over three hops'), { timeout: 5000 })));
        return {};
      },
    });
    await last.transport.announce(destination);
    await pass(clock, 4000);
    const got: string[] = [];
    links
      .open(destination.hash, {
        identity: destination.identity!.public,
        events: {
          onPacket: ({ data, prove }) => {
            got.push(toHex(data));
            prove();
          },
        },
      })
      .catch(() => {});
    await pass(clock, 500);
    const carry = airs[2]!.carry.bind(airs[2]!);
    airs[2]!.carry = (packet, from) => {
      airs[1]!.carry(packet);
      carry(packet, from);
    };
    await pass(clock, 2000);
    await Promise.all(sent);
    assert.equal(sent.length, 1);
    assert.deepEqual(got, [toHex(utf8('over three hops'))]);
  });

  test('passes on the proof of a link once, and what has no receiver of its own where it is addressed to it', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const links = linksOf(first);
    const { destination } = serveLinks(last);
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const opening = links.open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 500);
    await opening;
    const proof = airs[1]!.packets.find(bytes => decodePacket(bytes).context === contexts.linkRequestProof)!;
    const before = airs[0]!.packets.length;
    airs[1]!.carry(proof);
    airs[1]!.carry(Uint8Array.from(proof, (byte, at) => (at === 1 ? 40 : byte)));
    await pass(clock, 100);
    assert.equal(airs[0]!.packets.length, before);
    const passed = nodes[1]!.counters.get('relay/passed');
    for (const destinationType of ['plain', 'group'] as const) {
      airs[0]!.carry(
        encodePacket({
          hops: 0,
          transportId: nodes[1]!.transport.identity.hash,
          contextFlag: false,
          propagation: 'transport',
          destinationType,
          packetType: 'data',
          destinationHash: destination.hash,
          context: contexts.none,
          data: utf8('to whom it may concern'),
        }),
      );
    }
    await pass(clock, 100);
    // The reference does so as well; the next node drops it, because it was passed on.
    assert.equal(nodes[1]!.counters.get('relay/passed'), passed + 2);
  });

  test('passes on no proof of what goes one hop, no request of a link, and nothing of a link from where it does not go', async () => {
    const clock = new ManualClock();
    const [shared, aside] = [new Air(), new Air()];
    const middle = new TestNode({ clock, forwards: true });
    middle.use(shared.join('shared'));
    middle.use(aside.join('aside'));
    // Two that hear the node in the middle and not each other: a link between them comes and goes over one interface.
    const [first, last] = [new TestNode({ clock }), new TestNode({ clock })];
    const [one, other] = [new Air(), new Air()];
    first.use(one.join('one'));
    last.use(other.join('other'));
    const listen = shared.join('ears');
    const stop = new AbortController();
    const port = {
      ready() {},
      attach() {},
      receive(packet: Uint8Array) {
        one.carry(packet);
        other.carry(packet);
      },
    };
    void listen.run(port, stop.signal);
    one.carry = (carry => (packet, from) => {
      carry(packet, from);
      if (from !== undefined) {
        shared.carry(packet, listen);
      }
    })(one.carry.bind(one));
    other.carry = (carry => (packet, from) => {
      carry(packet, from);
      if (from !== undefined) {
        shared.carry(packet, listen);
      }
    })(other.carry.bind(other));
    const links = linksOf(first);
    const { destination, got } = serveLinks(last);
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const opening = links.open(destination.hash, { identity: destination.identity!.public });
    await pass(clock, 1000);
    const link = await opening;
    void link.send(utf8('there'), { timeout: 2000 });
    await pass(clock, 1000);
    assert.equal(got.length, 1);
    assert.equal([...middle.transport.transitLinks()].length, 1);

    const carried = await first.transport.send({ destination: to(destination), data: utf8('alone') });
    await pass(clock, 500);
    const passed = middle.counters.get('relay/passed');
    const told = shared.packets.length;
    const head = { hops: 0, transportId: undefined, contextFlag: false, propagation: 'broadcast' } as const;
    const ofLink = {
      ...head,
      destinationHash: link.id,
      destinationType: 'link',
      context: contexts.none,
    } as const;
    aside.carry(encodePacket({ ...ofLink, packetType: 'data', data: utf8('from aside') }));
    shared.carry(encodePacket({ ...ofLink, packetType: 'link-request', data: new Uint8Array(64) }), listen);
    shared.carry(
      encodePacket({
        ...head,
        destinationHash: carried.subarray(0, 16),
        destinationType: 'plain',
        packetType: 'proof',
        context: contexts.none,
        data: new Uint8Array(64),
      }),
      listen,
    );
    await pass(clock, 100);
    assert.equal(middle.counters.get('relay/passed'), passed);
    assert.equal(shared.packets.length, told + 2);
    stop.abort();
    links.close();
  });

  test('does not take the way through itself, though the one it knew is dead', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const { destination } = last.serve();
    await last.transport.announce(destination);
    await pass(clock, 2000);
    const [, middle] = nodes;
    const echo = airs[0]!.packets.find(bytes => decodePacket(bytes).packetType === 'announce')!;
    middle!.transport.markUnresponsive(destination.hash);
    airs[0]!.carry(echo);
    await pass(clock, 100);
    assert.equal(middle!.transport.path(destination.hash)?.hops, 1);
    assert.equal(middle!.counters.get('announce/echo'), 1);
    assert.equal(first.transport.path(destination.hash)?.hops, 2);
  });

  test('sends nothing on that nobody would take: after 127 hops, or an announce too long for its header', async () => {
    const { clock, airs, nodes, first, last } = chain(3);
    const { destination } = last.serve();
    await last.transport.announce(destination);
    const { destination: wordy } = first.serve({ aspects: ['wordy'] });
    const { publicKey } = wordy.identity!;
    const [head, appData] = [
      concat(publicKey, wordy.nameHash, encodeRandomBlob(new Uint8Array(5), 1)),
      new Uint8Array(333),
    ];
    const signature = wordy.identity!.sign(concat(wordy.hash, head, appData));
    airs[0]!.carry(
      encodePacket({
        hops: 0,
        contextFlag: false,
        propagation: 'broadcast',
        destinationType: 'single',
        packetType: 'announce',
        destinationHash: wordy.hash,
        context: contexts.none,
        data: concat(head, signature, appData),
      }),
    );
    await pass(clock, 10_000);
    assert.ok(nodes[1]!.transport.path(wordy.hash));
    const announces = airs[1]!.packets.map(bytes => decodePacket(bytes));
    assert.ok(announces.every(({ destinationHash }) => toHex(destinationHash) !== wordy.key));
    await first.transport.send({ destination: to(destination), data: utf8('x') });
    await pass(clock, 100);
    const old = airs[0]!.packets.findLast(bytes => decodePacket(bytes).packetType === 'data')!;
    const data = encodePacket({ ...decodePacket(old), hops: 127, data: utf8('from the end of the world') });
    airs[0]!.carry(data);
    await pass(clock, 100);
    assert.equal(nodes[1]!.counters.get('relay/too-far'), 1);
  });

  test('tells nobody of a way that it cannot send by', async () => {
    const clock = new ManualClock();
    const airs = [new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    hub.use(airs[0]!.join('both ways'));
    hub.use(airs[1]!.join('ears'), { outgoing: false });
    const [first, last] = [new TestNode({ clock }), new TestNode({ clock })];
    first.use(airs[0]!.join('first'));
    last.use(airs[1]!.join('last'));
    const { destination } = last.serve();
    await last.transport.announce(destination);
    await pass(clock, 10_000);
    assert.equal(hub.announces.length, 1);
    assert.equal(announcesOn(airs[0]!), 0);
    const asked = first.transport.requestPath(destination.hash);
    asked.catch(() => {});
    await pass(clock, 2000);
    assert.equal(announcesOn(airs[0]!), 0);
    await clock.advance(30_000);
    await assert.rejects(asked, { code: 'mesh/no-path' });
  });

  test('looks for another way where a neighbour’s link request found nobody', async () => {
    const { clock, airs, first, last } = chain(3);
    const { destination } = last.serve();
    const links = linksOf(first);
    await last.transport.announce(destination);
    await pass(clock, 4000);
    await last.down('left2');
    const opening = links.open(destination.hash, { identity: destination.identity!.public });
    opening.catch(() => {});
    await pass(clock, 20_000);
    const asked = airs[1]!.packets
      .map(bytes => decodePacket(bytes))
      .filter(p => p.destinationType === 'plain');
    assert.equal(asked.length, 1);
  });

  test('does not answer for ever: in a ring an announce comes to rest', async () => {
    const clock = new ManualClock();
    const airs = Array.from({ length: 5 }, () => new Air());
    const nodes = airs.map((air, at) => {
      const node = new TestNode({ clock, forwards: true });
      node.use(air.join(`right${at}`));
      node.use(airs[(at + 4) % 5]!.join(`left${at}`));
      return node;
    });
    const { destination } = nodes[0]!.serve();
    await nodes[0]!.transport.announce(destination);
    await pass(clock, 30_000);
    const hops = nodes.slice(1).map(node => node.transport.path(destination.hash)?.hops);
    // Whichever way round was the quicker stays the way to the two in the middle.
    assert.ok(['1,2,2,1', '1,3,2,1', '1,2,3,1'].includes(hops.join()), hops.join());
    const before = airs.map(air => air.packets.length);
    await pass(clock, 30_000);
    assert.deepEqual(
      airs.map(air => air.packets.length),
      before,
    );
  });
});

describe('path requests', () => {
  test('are answered by a node that knows the way, as a path response on that interface alone', async () => {
    const { clock, airs, first, last, nodes } = chain(3);
    const { destination } = last.serve({ appData: () => utf8('known') });
    await last.transport.announce(destination);
    await pass(clock, 10_000);
    first.transport.dropPath(destination.hash);
    const asked = first.transport.requestPath(destination.hash);
    await pass(clock, 1000);
    assert.equal((await asked).hops, 2);
    assert.equal(announcesOn(airs[0]!, contexts.pathResponse), 1);
    assert.equal(announcesOn(airs[1]!, contexts.pathResponse), 0);
    assert.equal(nodes[1]!.counters.get('path/answered'), 1);
  });

  test('are searched for over the other interfaces for who asks from a gateway interface, for all who ask', async () => {
    const clock = new ManualClock();
    const [left, middle, right] = [new Air(), new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    hub.use(left.join('clients'), { mode: 'gateway' });
    hub.use(middle.join('others'), { mode: 'gateway' });
    hub.use(right.join('world'));
    const [one, two, far] = [left, middle, right].map(air => {
      const node = new TestNode({ clock });
      node.use(air.join('it'));
      return node;
    });
    const { destination } = far!.serve();
    const asked = [one!, two!].map(node => node.transport.requestPath(destination.hash));
    await pass(clock, 2000);
    assert.deepEqual(
      (await Promise.all(asked)).map(path => path.hops),
      [2, 2],
    );
    const searches = right.packets
      .map(bytes => decodePacket(bytes))
      .filter(packet => packet.packetType === 'data');
    assert.equal(searches.length, 1);
  });

  test('from an interface in full mode are not searched for', async () => {
    const { clock, airs, first, last } = chain(3);
    const { destination } = last.serve();
    const asked = first.transport.requestPath(destination.hash);
    asked.catch(() => {});
    await pass(clock, 3000);
    assert.equal(airs[1]!.packets.length, 0);
    await clock.advance(30_000);
    await assert.rejects(asked, { code: 'mesh/no-path' });
  });
});

describe('a stranger who asks and asks', () => {
  const asked = (destinationHash: Uint8Array, number: number) =>
    encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'plain',
      packetType: 'data',
      destinationHash: pathRequestDestination,
      context: contexts.none,
      data: encodePathRequest({
        destinationHash,
        transportId: undefined,
        tag: Uint8Array.of(number >> 8, number, 7, 7),
      }),
    });
  const most = (bitrate: number, ms: number) => 4096 + (ms / 8000) * bitrate * 0.1;
  const bytesOn = (air: Air, from: number) =>
    air.packets.slice(from).reduce((sum, { length }) => sum + length, 0);

  test('is answered no more than a part of a slow medium carries', async () => {
    const clock = new ManualClock();
    const [wide, narrow] = [new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    hub.use(wide.join('wide'));
    hub.use(narrow.join('narrow', { bitrate: 1200 }), { mode: 'access-point' });
    const source = new TestNode({ clock });
    source.use(wide.join('source'));
    const keys = Array.from({ length: 20 }, (_, i) => source.serve({ aspects: [`n${i}`] }).destination);
    for (const destination of keys) {
      await source.transport.announce(destination);
    }
    const stranger = narrow.join('stranger', { bitrate: 1200 });
    const began = clock.monotonic();
    for (let i = 0; i < 400; i++) {
      narrow.carry(asked(keys[i % 20]!.hash, i), stranger);
      await pass(clock, 100);
    }
    const answers = narrow.packets.filter(bytes => decodePacket(bytes).context === contexts.pathResponse);
    const bytes = answers.reduce((sum, { length }) => sum + length, 0);
    assert.ok(answers.length >= 16, `${answers.length} answers`);
    assert.ok(bytes <= most(1200, clock.monotonic() - began), `${bytes} bytes`);
    assert.ok(hub.counters.get('path/asked-too-much') > 0);
  });

  test('makes no other medium be searched for more than a part of what it carries', async () => {
    const clock = new ManualClock();
    const [wide, narrow] = [new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    hub.use(wide.join('wide'), { mode: 'gateway' });
    hub.use(narrow.join('narrow', { bitrate: 1200 }));
    const began = clock.monotonic();
    for (let i = 0; i < 400; i++) {
      wide.carry(asked(new Uint8Array(16).fill(i), i));
      wide.carry(
        asked(
          Uint8Array.from({ length: 16 }, (_, at) => i * (at + 3)),
          i + 1000,
        ),
      );
      await pass(clock, 50);
    }
    const bytes = bytesOn(narrow, 0);
    assert.ok(bytes > 0 && bytes <= most(1200, clock.monotonic() - began), `${bytes} bytes`);
  });
});

describe('announces of others', () => {
  test('take no more than their share of a slow interface, the nearest first, and the newest of each', async () => {
    const clock = new ManualClock();
    const [wide, narrow] = [new Air(), new Air()];
    const hub = new TestNode({ clock, forwards: true });
    hub.use(wide.join('wide'));
    hub.use(narrow.join('narrow', { bitrate: 1200 }), { mode: 'roaming' });
    const source = new TestNode({ clock });
    source.use(wide.join('source'));
    for (let i = 0; i < 50; i++) {
      const { destination } = source.serve({ aspects: [`n${i}`] });
      await source.transport.announce(destination);
    }
    const began = clock.monotonic();
    await pass(clock, 600_000);
    const bytes = narrow.packets.reduce((sum, packet) => sum + packet.length, 0);
    const allowed = (((clock.monotonic() - began) / 1000) * 1200 * 0.02) / 8;
    assert.ok(bytes > 0 && bytes <= allowed + 200, `${bytes} bytes, ${allowed} allowed`);
  });

  test('that come too often are heard and not passed on', async () => {
    const { clock, airs, first, last, nodes } = chain(3);
    const { destination } = first.serve();
    for (let i = 0; i < 12; i++) {
      await first.transport.announce(destination, { appData: utf8(`${i}`) });
      await pass(clock, 12_000);
    }
    assert.deepEqual(nodes[1]!.transport.recall(destination.hash)?.appData, utf8('11'));
    assert.deepEqual(last.transport.recall(destination.hash)?.appData, utf8('5'));
    assert.ok(nodes[1]!.counters.get('announce/rate-blocked') > 0);
    assert.ok(airs[1]!.packets.length < 24);
  });

  const from: readonly InterfacePolicy[] = [
    { mode: 'full' },
    { mode: 'access-point' },
    { mode: 'roaming' },
    { mode: 'boundary' },
    { mode: 'gateway' },
    { mode: 'internal' },
    { mode: 'boundary', announcesToInternal: true },
  ];
  const table: readonly (readonly [InterfacePolicy, string])[] = [
    [{ mode: 'full' }, 'yyyyyyy'],
    [{ mode: 'point-to-point' }, 'yyyyyyy'],
    [{ mode: 'access-point' }, 'nnnnnnn'],
    [{ mode: 'roaming' }, 'yynnyyn'],
    [{ mode: 'boundary' }, 'yynyyyy'],
    [{ mode: 'gateway' }, 'yyyyyyy'],
    [{ mode: 'internal' }, 'yyynyyy'],
    [{ mode: 'full', announcesFromInternal: false }, 'yyyyyny'],
  ];
  for (const [out, wanted] of table) {
    test(`go out of ${JSON.stringify(out)} by the mode they came in`, async () => {
      const seen: string[] = [];
      for (const policy of from) {
        const clock = new ManualClock();
        const [left, right] = [new Air(), new Air()];
        const hub = new TestNode({ clock, forwards: true });
        hub.use(left.join('in'), policy);
        hub.use(right.join('out'), out);
        const source = new TestNode({ clock });
        source.use(left.join('source'));
        const { destination } = source.serve();
        await source.transport.announce(destination);
        await pass(clock, 1000);
        seen.push(announcesOn(right) > 0 ? 'y' : 'n');
      }
      assert.equal(seen.join(''), wanted);
    });
  }
});
