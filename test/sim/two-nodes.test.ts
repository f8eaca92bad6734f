import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { equal, toHex } from '../../src/lib/bytes.ts';
import { Counters } from '../../src/lib/counters.ts';
import { codeOf, GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import type { Link, LinkEvents } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import type { ReceiptOutcome } from '../../src/mesh/reticulum/receipts.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/resource-incoming.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { ManualClock } from './clock.ts';
import { Ether } from './ether.ts';
import { seededRandom } from './random.ts';

/** `SEEDS` runs from `SEED` on: a few for every commit, hundreds for a soak. */
const firstSeed = Number(process.env.SEED ?? 1);
const seeds = Number(process.env.SEEDS ?? 2);

const singlePackets = 200;
const linksEachWay = 10;
const largestResource = 300_000;
const minute = 60_000;

type Outcome = 'good' | string;

/** What may become of something on a bad medium; anything else is a mistake of ours. */
const allowed: ReadonlySet<Outcome> = new Set(['good', 'mesh/timeout', 'mesh/link-closed']);

class Node {
  readonly counters = new Counters();
  readonly budget = new IncomingBudget();
  readonly random;
  readonly transport: Transport;
  readonly links: Links;
  readonly destination: LocalDestination;
  readonly stop = new AbortController();
  readonly running: Promise<void>;
  /** Hex of the packets that came, and Resources by their data. */
  readonly packets: string[] = [];
  readonly resources: Uint8Array[] = [];
  onAccepted: (link: Link) => void = () => {};

  constructor(iface: Interface, clock: ManualClock, seed: number) {
    this.random = seededRandom(seed);
    const identity = generateIdentity(this.random);
    const parts = { clock, random: this.random, log: silentLog, counters: this.counters };
    this.transport = new Transport({ ...parts, storage: new MemoryStorage(), identity });
    this.links = new Links({ ...parts, transport: this.transport, budget: this.budget });
    this.transport.useLinks(this.links);
    this.destination = new LocalDestination({
      identity,
      appName: 'test',
      aspects: ['soak'],
      proofStrategy: 'app',
      ratchets: true,
      onPacket: ({ data, prove }) => {
        this.packets.push(toHex(data));
        prove();
      },
    });
    this.transport.register(this.destination);
    this.links.accept(this.destination, {
      onLink: link => {
        this.onAccepted(link);
        return this.events;
      },
    });
    this.running = this.transport.attach(iface).service.run(() => {}, this.stop.signal);
  }

  get events(): LinkEvents {
    return {
      onPacket: ({ data, prove }) => {
        this.packets.push(toHex(data));
        prove();
      },
      onResourceOffer: () => ({
        onResource: resource => {
          this.resources.push(resource.data);
          resource.prove();
        },
      }),
    };
  }
}

/** Everything two nodes can have to do with each other at once, until all of it has ended one way or the other. */
async function soak(seed: number): Promise<Map<string, number>> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const ether = new Ether({
    clock,
    random,
    loss: 0.05,
    duplication: 0.05,
    reordering: 0.1,
    latency: 20,
    mtu: 2048,
  });
  const a = new Node(ether.join('a'), clock, seed * 2 + 1);
  const b = new Node(ether.join('b'), clock, seed * 2 + 2);
  const nodes = [a, b] as const;
  const knowEachOther = () =>
    a.transport.path(b.destination.hash) !== undefined && b.transport.path(a.destination.hash) !== undefined;
  while (!knowEachOther()) {
    for (const { transport, destination } of nodes) {
      void transport.announce(destination);
      await clock.advance(1000);
    }
  }

  let open = 0;
  const outcomes = new Map<string, number>();
  const count = (what: string, outcome: Outcome) => {
    assert.ok(allowed.has(outcome), `${what}: ${outcome}`);
    const key = `${what}: ${outcome}`;
    outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
  };
  const watch = async (what: string, work: Promise<unknown>, check: () => void = () => {}) => {
    open += 1;
    try {
      await work;
      check();
      count(what, 'good');
    } catch (error) {
      if (error instanceof assert.AssertionError) {
        throw error;
      }
      count(what, codeOf(error));
    } finally {
      open -= 1;
    }
  };
  const watched: Promise<void>[] = [];

  const sendSingle = (from: Node, to: Node) => {
    const data = random.bytes(1 + Math.floor(random.fraction() * 383));
    const told: ReceiptOutcome[] = [];
    const proven = new Promise<void>((resolve, reject) => {
      const onReceipt = (outcome: ReceiptOutcome) => {
        told.push(outcome);
        assert.equal(told.length, 1);
        if (outcome.at === 'delivered') {
          resolve();
        } else {
          reject(new GatewayError(outcome.code, 'not proven'));
        }
      };
      const { identity, hash } = to.destination;
      const destination = { identity: identity!.public, hash };
      from.transport.send({ destination, data, onReceipt }).catch(reject);
    });
    watched.push(watch('packet', proven, () => assert.ok(to.packets.includes(toHex(data)))));
  };

  const useLink = (link: Link, to: Node) => {
    for (let packet = 0; packet < 2; packet++) {
      const data = random.bytes(1 + Math.floor(random.fraction() * link.mdu));
      const check = () => assert.equal(to.packets.filter(one => one === toHex(data)).length, 1);
      watched.push(watch('link packet', link.send(data), check));
    }
    const data = random.bytes(Math.ceil(random.fraction() ** 2 * largestResource));
    const check = () => assert.equal(to.resources.filter(one => equal(one, data)).length, 1);
    watched.push(watch('resource', link.sendResource(data), check));
  };

  a.onAccepted = link => useLink(link, b);
  b.onAccepted = link => useLink(link, a);
  for (let round = 0; round < singlePackets / 2; round++) {
    sendSingle(a, b);
    sendSingle(b, a);
    if (round < linksEachWay) {
      for (const [from, to] of [nodes, [b, a]] as const) {
        const { identity, hash } = to.destination;
        const opening = from.links.open(hash, { identity: identity!.public, events: from.events });
        const used = opening.then(link => useLink(link, to));
        watched.push(watch('link', used));
      }
    }
    await clock.advance(50);
  }
  await clock.advanceUntil(() => open === 0, { step: 1000, limit: 30 * minute });
  await Promise.all(watched);

  for (const { links, transport, counters } of nodes) {
    links.close();
    assert.equal(links.size, 0);
    assert.equal(counters.get('internal'), 0);
    assert.equal(counters.get('link/callback-failed'), 0);
    await transport.close();
  }
  await clock.advance(minute);
  for (const { budget, stop, running } of nodes) {
    assert.equal(budget.used, 0);
    stop.abort();
    await running;
  }
  assert.equal(clock.waiting, 0);
  return outcomes;
}

describe('two nodes on a medium that loses, repeats and reorders', () => {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    test(`bring everything to an end and leave nothing behind (seed ${seed})`, async t => {
      const outcomes = await soak(seed);
      t.diagnostic([...outcomes].map(([what, times]) => `${what} ${times}`).join(', '));
      const total = (what: string) =>
        [...outcomes].reduce((sum, [key, times]) => sum + (key.startsWith(`${what}: `) ? times : 0), 0);
      assert.equal(total('packet'), singlePackets);
      assert.equal(total('link'), 2 * linksEachWay);
      assert.ok(outcomes.get('packet: good')! > singlePackets * 0.8);
      assert.ok(outcomes.get('resource: good')! > linksEachWay);
    });
  }
});
