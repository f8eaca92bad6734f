import assert from 'node:assert/strict';
import { getHeapStatistics } from 'node:v8';
import { toHex, utf8 } from '../../src/lib/bytes.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';
import { encodeMessage } from '../../src/mesh/lxmf/message.ts';
import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import type { InterfacePolicy } from '../../src/mesh/reticulum/interface-policy.ts';
import { ManualClock } from '../sim/clock.ts';
import { SimNode } from '../sim/node.ts';
import { seededRandom } from '../sim/random.ts';
import { nextInput, one, pick } from './mutate.ts';
import { Rules, type Watched } from './rules.ts';

/** What goes over a wire between the node and somebody genuine, for whoever listens and speaks there too. */
class Wire {
  readonly watched: Watched;
  readonly policy: InterfacePolicy;
  readonly near: WireEnd;
  readonly far: WireEnd;

  constructor(watched: Watched, clock: ManualClock, seen: WireEars) {
    this.watched = watched;
    const { accessCode } = watched;
    this.policy = { mode: watched.mode, ...(accessCode && { accessCode }) };
    this.near = new WireEnd(watched.name, packet => {
      seen.left(packet, this);
      clock.after(1, () => void this.far.port?.receive(packet));
    });
    this.far = new WireEnd('wire', packet => {
      seen.came(packet, this);
      clock.after(1, () => void this.near.port?.receive(packet));
    });
  }
}

interface WireEars {
  left(packet: Uint8Array, wire: Wire): void;
  came(packet: Uint8Array, wire: Wire): void;
}

class WireEnd implements Interface {
  readonly name: string;
  readonly mtu = 1064;
  readonly bitrate = 1_000_000;
  port: InterfacePort | undefined;
  readonly #sent: (packet: Uint8Array) => void;

  constructor(name: string, sent: (packet: Uint8Array) => void) {
    this.name = name;
    this.#sent = sent;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    this.#sent(new Uint8Array(packet));
  }
}

export interface FuzzReport {
  readonly injected: number;
  /** What left the node, by why it might. */
  readonly left: Rules['counts'];
  /** The most there was in each table that was used at all. */
  readonly most: Readonly<Record<string, number>>;
  /** Genuine messages that arrived in the midst of it, of those that were sent. */
  readonly arrived: string;
}

/** Packets of genuine traffic kept to be mutated, the newest last. */
const corpusMost = 3000;
/** Packets injected between two moves of the clock: it is its turn that pushes honest traffic on. */
const perMove = 40;
const heapGrowth = 256 * 1024 * 1024;

/** More than any of these in a node with four interfaces and six peers is a table without a bound. */
const bounds: Readonly<Record<string, number>> = {
  known: 100_000,
  paths: 100_000,
  receipts: 16_384,
  rebroadcasts: 20_000,
  'announce-rates': 20_000,
  'announces-waiting': 65_536,
  'path-searches': 4096,
  'path-answers': 4096,
  'path-request-tags': 32_000,
  duplicates: 1_000_000,
  reverse: 100_000,
  'transit-links': 20_000,
  links: 2048,
  'links-requested': 512,
  'links-inbound': 1024,
  'lxmf-held': 256,
};

/**
 * A transport node among four genuine neighbours that use it: paths, packets with proofs, links, Resources, requests,
 * messages to it and through it. Meanwhile mutated copies of all that they say come in over every interface, as often
 * as asked. Throws where anything is a bug, where a packet leaves that the rules forbid, where a table outgrows its
 * bound, and where the neighbours are not served afterwards.
 */
export async function fuzzWholeNode(seed: number, injections: number): Promise<FuzzReport> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const corpus: { readonly packet: Uint8Array; readonly wire: Wire }[] = [];
  const violations: string[] = [];
  const remember = (packet: Uint8Array, wire: Wire) => {
    corpus.push({ packet: opened(packet, wire), wire });
    if (corpus.length > corpusMost) {
      corpus.splice(0, corpusMost / 3);
    }
  };
  const ears: WireEars = {
    left(packet, wire) {
      const why = rules.violation(packet, wire.watched);
      if (why !== undefined) {
        violations.push(`${why}, on ${wire.watched.name}: ${toHex(opened(packet, wire))}`);
      }
      remember(packet, wire);
    },
    came(packet, wire) {
      rules.cameIn(packet, wire.watched);
      remember(packet, wire);
    },
  };
  const accessCode = new AccessCode({ networkName: 'elm', passphrase: 'correct horse', size: 8 });
  const wires = (
    [
      { name: 'full', mode: 'full' },
      { name: 'gateway', mode: 'gateway' },
      { name: 'roaming', mode: 'roaming', accessCode },
      { name: 'boundary', mode: 'boundary' },
    ] as const
  ).map(watched => new Wire(watched, clock, ears));
  const node = new SimNode({
    clock,
    seed: seed * 10,
    forwards: true,
    lxmf: true,
    ratchets: true,
    ports: wires.map(({ near, policy }) => ({ iface: near, policy })),
  });
  const own = new Set([toHex(node.address.hash), toHex(node.destination.hash)]);
  const rules = new Rules({
    transportId: node.transport.identity.hash,
    own: () => own,
    ownLinks: () => new Set([...node.links.all()].map(({ key }) => key)),
    known: destination => {
      const known = node.transport.recall(Uint8Array.fromHex(destination));
      return known && { publicKey: known.identity.publicKey, announce: known.announce };
    },
  });
  const peers = wires.map(
    ({ far, policy: { accessCode: code } }, at) =>
      new SimNode({
        clock,
        seed: seed * 10 + 1 + at,
        forwards: at === 0,
        lxmf: true,
        ratchets: true,
        ports: [{ iface: far, policy: code === undefined ? {} : { accessCode: code } }],
      }),
  );
  const everybody = [node, ...peers];
  const before = heap();
  let sent = 0;
  let arrived = 0;
  let text = 0;

  const write = (from: SimNode, to: SimNode, length: number): Promise<unknown> => {
    sent += 1;
    const { packed } = encodeMessage(
      {
        destination: to.address.hash,
        source: from.address.hash,
        timestamp: clock.now() / 1000,
        title: new Uint8Array(),
        content: utf8(`${text++} `.padEnd(length, 'x')),
        fields: new Map(),
      },
      from.disk.identity,
    );
    return from.router.send(packed, { signal: AbortSignal.timeout(2 ** 31 - 1) }).then(() => {
      arrived += 1;
    }, expected);
  };
  const say = () => {
    const [from, to] = [one(random, everybody), one(random, everybody)];
    switch (pick(random, 8)) {
      case 0:
        from.announce();
        break;
      case 1:
        void from.transport.announce(from.destination);
        break;
      case 2:
        from.transport
          .requestPath(random.fraction() < 0.5 ? random.bytes(16) : to.address.hash, { insist: true })
          .catch(expected);
        break;
      case 3:
        if (from.transport.path(to.destination.hash) !== undefined && from !== to) {
          from
            .openLink(to)
            .then(async link => {
              try {
                await link.send(random.bytes(100));
                await link.sendResource(random.bytes(pick(random, 8000)));
                await link.request('/echo', random.bytes(1 + pick(random, 600)));
              } finally {
                link.close();
              }
            })
            .catch(expected);
        }
        break;
      case 4:
        if (from !== to) {
          from.sendSingle(to, random.bytes(1 + pick(random, 300))).catch(expected);
        }
        break;
      default:
        if (from !== to) {
          void write(from, to, one(random, [20, 200, 600, 4000]));
        }
    }
  };

  for (const peer of everybody) {
    peer.announce();
    void peer.transport.announce(peer.destination);
  }
  await clock.advance(8000);
  const most: Record<string, number> = {};
  const look = () => {
    for (const [name, size] of Object.entries(node.sizes())) {
      most[name] = Math.max(most[name] ?? 0, size);
      assert.ok(size <= (bounds[name] ?? 5000), `${size} in ${name}`);
    }
    assert.deepEqual(violations, []);
    assert.deepEqual(node.bugs, []);
    assert.equal(node.counters.get('internal'), 0);
    assert.equal(node.counters.get('link/callback-failed'), 0);
  };
  const shape = shaper(
    random,
    node,
    corpus.map(({ packet }) => packet),
  );
  let hold: Promise<void> | undefined;
  for (let done = 0; done < injections; done++) {
    const from = one(random, corpus);
    const wire = random.fraction() < 0.7 ? from.wire : one(random, wires);
    const clear = shape(from.packet);
    if (clear.length > 1064) {
      continue;
    }
    const isOpen = wire.watched.accessCode === undefined;
    const knowsCode = isOpen || random.fraction() < 0.5;
    if (knowsCode) {
      rules.cameInClear(clear, wire.watched);
    }
    hold =
      wire.near.port?.receive(isOpen || !knowsCode ? new Uint8Array(clear) : sealed(clear, wire)) ?? hold;
    if (done % perMove === 0 || hold !== undefined) {
      hold = undefined;
      await clock.advance(1 + pick(random, 20));
    }
    if (done % (perMove * 5) === 0) {
      say();
    }
    if (done % 2000 === 0) {
      look();
    }
  }
  await clock.advance(60_000);
  look();
  assert.ok(heap() - before < heapGrowth, `${heap() - before} bytes of heap more than before`);
  const [, a, b] = everybody as [SimNode, SimNode, SimNode];
  for (const [from, to] of [
    [a, node],
    [a, b],
    [b, a],
  ] as const) {
    to.announce();
    from.announce();
    await clock.advance(30_000);
    const count = arrived;
    for (let tries = 0; arrived === count; tries++) {
      assert.ok(tries < 4, 'nobody is served any more');
      const writing = write(from, to, 300);
      let over = false;
      void writing.then(() => {
        over = true;
      });
      await clock.advanceUntil(() => over, { step: 1000, limit: 10 * 60_000 });
    }
  }
  look();
  // What strangers began is over when its time is: handshakes of links after six minutes, what was carried after fifteen.
  await clock.advance(45 * 60_000);
  const rest = node.sizes();
  for (const name of [
    'links-requested',
    'transit-links',
    'reverse',
    'path-searches',
    'path-answers',
    'rebroadcasts',
  ]) {
    assert.equal(rest[name] ?? 0, 0, `${name} at rest`);
  }
  for (const every of everybody) {
    assert.deepEqual(every.bugs, []);
    every.kill();
  }
  const used = Object.fromEntries(Object.entries(most).filter(([, size]) => size > 0));
  return { injected: injections, left: rules.counts, most: used, arrived: `${arrived} of ${sent}` };
}

/** Things a hostile neighbour would do to a packet it heard, that knows the format and who is there. */
function shaper(
  random: ReturnType<typeof seededRandom>,
  node: SimNode,
  seeds: readonly Uint8Array[],
): (packet: Uint8Array) => Uint8Array {
  const id = node.transport.identity.hash;
  const places = [...seeds];
  return packet => {
    const kind = random.fraction();
    if (kind < 0.35) {
      return nextInput(random, [packet]).subarray(0, 1064);
    }
    let bytes = new Uint8Array(packet);
    if (kind < 0.4) {
      return bytes;
    }
    for (let left = 1 + pick(random, 2); left > 0; left--) {
      const at = (bytes[0]! & 0x40) === 0 ? 2 : 18;
      switch (pick(random, 9)) {
        case 0:
          bytes[1] = one(random, [0, 1, 2, 5, 126, 127, 128, 255]);
          break;
        case 1:
          bytes[0] = bytes[0]! ^ (1 << pick(random, 7));
          break;
        case 2:
          bytes = carriedBy(bytes, random.fraction() < 0.8 ? id : random.bytes(16));
          break;
        case 3: {
          // To whom something else was.
          const other = one(random, places);
          const from = (other[0]! & 0x40) === 0 ? 2 : 18;
          if (bytes.length > at + 16) {
            bytes.set(other.subarray(from, from + 16), at);
          }
          break;
        }
        case 4:
          if (bytes.length > at + 16) {
            bytes[at + 16] = pick(random, 256);
          }
          break;
        case 5:
          bytes = bytes.slice(0, Math.max(1, bytes.length - pick(random, 20)));
          break;
        case 6:
          if (bytes.length > at + 18) {
            bytes[at + 17 + pick(random, bytes.length - at - 17)]! ^= 1 << pick(random, 8);
          }
          break;
        case 7:
          places[pick(random, places.length)] = new Uint8Array(packet);
          break;
        default:
          bytes[1] = bytes[1]! + 1;
      }
    }
    return bytes;
  };
}

/** The packet with a header that asks `by` to carry it. */
function carriedBy(packet: Uint8Array, by: Uint8Array): Uint8Array<ArrayBuffer> {
  const rest = (packet[0]! & 0x40) === 0 ? packet.subarray(2) : packet.subarray(18);
  const bytes = new Uint8Array(18 + rest.length);
  bytes[0] = packet[0]! | 0x50;
  bytes[1] = packet[1]!;
  bytes.set(by.subarray(0, 16), 2);
  bytes.set(rest, 18);
  return bytes;
}

function opened(packet: Uint8Array, { watched: { accessCode } }: Wire): Uint8Array {
  try {
    return accessCode?.open(new Uint8Array(packet)) ?? packet;
  } catch {
    return packet;
  }
}

function sealed(packet: Uint8Array, { watched: { accessCode } }: Wire): Uint8Array {
  return packet.length < 3 ? packet : (accessCode?.seal(packet) ?? packet);
}

function expected(error: unknown): void {
  if (!isGatewayError(error)) {
    throw error;
  }
}

function heap(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
