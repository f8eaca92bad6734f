import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { equal, toHex } from '../../src/lib/bytes.ts';
import { Counters } from '../../src/lib/counters.ts';
import { codeOf, GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { LocalDestination, type Received } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import type { LinkEvents } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import type { ReceiptOutcome } from '../../src/mesh/reticulum/receipts.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/resource-incoming.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { ManualClock } from './clock.ts';
import { Field } from './field.ts';
import { seededRandom } from './random.ts';

/** `SEEDS` runs from `SEED` on: a few for every commit, hundreds for a soak. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = Number(process.env.SEEDS ?? 3);

const size = 12;
const singlePackets = 24;
const largestResource = 12_000;
const minute = 60_000;
/** Who talks with whom: three to nine hops. */
const pairs: readonly (readonly [number, number])[] = [
  [0, 3],
  [5, 1],
  [2, 7],
  [11, 6],
  [10, 4],
  [1, 10],
];

/** What may become of something on a bad medium; anything else is a mistake of ours. */
const allowed: ReadonlySet<string> = new Set(['good', 'mesh/timeout', 'mesh/link-closed']);

class Node {
  readonly counters = new Counters();
  readonly budget = new IncomingBudget();
  readonly transport: Transport;
  readonly links: Links;
  readonly destination: LocalDestination;
  readonly stop = new AbortController();
  readonly running: Promise<void>;
  /** Hex of the packets that came, and Resources by their data. */
  readonly packets: string[] = [];
  readonly resources: Uint8Array[] = [];

  constructor(iface: Interface, clock: ManualClock, seed: number) {
    const random = seededRandom(seed);
    const identity = generateIdentity(random);
    const parts = { clock, random, log: silentLog, counters: this.counters };
    this.transport = new Transport({ ...parts, storage: new MemoryStorage(), identity, forwards: true });
    this.links = new Links({ ...parts, transport: this.transport, budget: this.budget });
    this.transport.useLinks(this.links);
    const onPacket = ({ data, prove }: Pick<Received, 'data' | 'prove'>) => {
      this.packets.push(toHex(data));
      prove();
    };
    this.destination = new LocalDestination({
      identity,
      appName: 'test',
      aspects: ['mesh'],
      proofStrategy: 'app',
      onPacket,
    });
    this.transport.register(this.destination);
    const events: LinkEvents = {
      onPacket,
      onResourceOffer: () => ({
        onResource: resource => {
          this.resources.push(resource.data);
          resource.prove();
        },
      }),
    };
    this.links.accept(this.destination, { onLink: () => events });
    this.running = this.transport.attach(iface).service.run(() => {}, this.stop.signal);
  }
}

/** Nodes in a row talk over each other's heads until all of it has ended one way or the other. */
async function soak(seed: number): Promise<Map<string, number>> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const field = new Field({
    clock,
    random,
    // A neighbour is heard well, the one after next hardly ever, nobody beyond.
    loss: distance => (distance < 1.35 ? 0.02 : distance < 2.1 ? 0.97 : 1),
    mtu: 1064,
    bitrate: 200_000,
  });
  const nodes = Array.from({ length: size }, (_, at) => {
    const station = field.join(`n${at}`, at + random.fraction() * 0.3);
    return new Node(station, clock, seed * size + at);
  });
  const allKnow = () =>
    pairs.every(([a, b]) => nodes[a]!.transport.path(nodes[b]!.destination.hash) !== undefined);
  for (let round = 0; !allKnow(); round++) {
    assert.ok(round < 5, 'announces do not arrive');
    for (const { transport, destination } of nodes) {
      void transport.announce(destination);
      await clock.advance(2000);
    }
    await clock.advance(15_000);
  }

  let open = 0;
  const outcomes = new Map<string, number>();
  const watch = async (what: string, work: Promise<unknown>, check: () => void = () => {}) => {
    open += 1;
    let outcome = 'good';
    try {
      await work;
    } catch (error) {
      outcome = codeOf(error);
    } finally {
      open -= 1;
    }
    assert.ok(allowed.has(outcome), `${what}: ${outcome}`);
    if (outcome === 'good') {
      check();
    }
    const key = `${what}: ${outcome}`;
    outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
  };
  const times = (all: readonly string[], data: Uint8Array) => all.filter(one => one === toHex(data)).length;
  const watched: Promise<void>[] = [];

  const sendSingle = (from: Node, to: Node) => {
    const data = random.bytes(1 + Math.floor(random.fraction() * 383));
    const { identity, hash } = to.destination;
    let told = 0;
    const proven = new Promise<void>((resolve, reject) => {
      const onReceipt = (outcome: ReceiptOutcome) => {
        told += 1;
        if (outcome.at === 'delivered') {
          resolve();
        } else {
          reject(new GatewayError(outcome.code, 'not proven'));
        }
      };
      from.transport
        .send({ destination: { identity: identity!.public, hash }, data, onReceipt })
        .catch(reject);
    });
    watched.push(watch('packet', proven, () => assert.deepEqual([times(to.packets, data), told], [1, 1])));
  };
  const useLink = async (from: Node, to: Node) => {
    const { identity, hash } = to.destination;
    const link = await from.links.open(hash, { identity: identity!.public });
    const data = random.bytes(1 + Math.floor(random.fraction() * link.mdu));
    watched.push(watch('link packet', link.send(data), () => assert.equal(times(to.packets, data), 1)));
    const large = random.bytes(Math.ceil(random.fraction() * largestResource));
    const check = () => assert.equal(to.resources.filter(one => equal(one, large)).length, 1);
    watched.push(watch('resource', link.sendResource(large), check));
  };

  for (let round = 0; round < singlePackets / pairs.length; round++) {
    for (const [a, b] of pairs) {
      sendSingle(nodes[a]!, nodes[b]!);
      if (round < 2) {
        watched.push(watch('link', useLink(nodes[a]!, nodes[b]!)));
      }
      await clock.advance(1500);
    }
  }
  await clock.advanceUntil(() => open === 0, { step: 1000, limit: 30 * minute });
  await Promise.all(watched);

  for (const { links, counters, packets } of nodes) {
    links.close();
    assert.equal(links.size, 0);
    assert.equal(counters.get('internal'), 0);
    assert.equal(new Set(packets).size, packets.length, 'something was delivered twice');
  }
  const before = field.sent;
  await clock.advance(20 * minute);
  assert.ok(field.sent - before < 200, 'the mesh does not come to rest');
  for (const { budget, transport, stop, running } of nodes) {
    assert.equal(budget.used, 0);
    assert.equal([...transport.transitLinks()].length, 0);
    await transport.close();
    stop.abort();
    await running;
  }
  return outcomes;
}

describe('twelve nodes in a row that hear their neighbours well and those behind them badly', () => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    test(`carry links and Resources over several of them to one end each (seed ${seed})`, async t => {
      const outcomes = await soak(seed);
      t.diagnostic([...outcomes].map(([what, count]) => `${what} ${count}`).join(', '));
      const total = (what: string) =>
        [...outcomes].reduce((sum, [key, count]) => sum + (key.startsWith(`${what}: `) ? count : 0), 0);
      assert.equal(total('packet'), singlePackets);
      assert.equal(total('link'), 2 * pairs.length);
      assert.ok((outcomes.get('packet: good') ?? 0) >= singlePackets / 3);
      assert.ok((outcomes.get('resource: good') ?? 0) >= pairs.length / 2);
    });
  }
});
