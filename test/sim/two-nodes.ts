import assert from 'node:assert/strict';
import { equal, toHex } from '../../src/lib/bytes.ts';
import type { Link } from '../../src/mesh/reticulum/link-session.ts';
import { ManualClock } from './clock.ts';
import { Ether } from './ether.ts';
import { SimNode } from './node.ts';
import { Outcomes } from './outcomes.ts';
import { seededRandom } from './random.ts';

const singlePackets = 200;
const linksEachWay = 10;
const largestResource = 300_000;
const minute = 60_000;

/** Everything two nodes can have to do with each other at once, until all of it has ended one way or the other. */
export async function runTwoNodes(seed: number): Promise<Outcomes> {
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
  const node = (name: string, at: number) =>
    new SimNode({ clock, seed: seed * 2 + at, ratchets: true, ports: [{ iface: ether.join(name) }] });
  const a = node('a', 1);
  const b = node('b', 2);
  const nodes = [a, b] as const;
  const knowEachOther = () =>
    a.transport.path(b.destination.hash) !== undefined && b.transport.path(a.destination.hash) !== undefined;
  while (!knowEachOther()) {
    for (const one of nodes) {
      one.announce();
      await clock.advance(1000);
    }
  }

  const outcomes = new Outcomes();
  const sendSingle = (from: SimNode, to: SimNode) => {
    const data = random.bytes(1 + Math.floor(random.fraction() * 383));
    let told = 0;
    const proven = from.sendSingle(to, data, () => {
      told += 1;
    });
    outcomes.watch('packet', proven, () => {
      assert.ok(to.heard.packets.includes(toHex(data)));
      assert.equal(told, 1);
    });
  };
  const useLink = (link: Link, to: SimNode) => {
    for (let packet = 0; packet < 2; packet++) {
      const data = random.bytes(1 + Math.floor(random.fraction() * link.mdu));
      const check = () => assert.equal(to.heard.packets.filter(one => one === toHex(data)).length, 1);
      outcomes.watch('link packet', link.send(data), check);
    }
    const data = random.bytes(Math.ceil(random.fraction() ** 2 * largestResource));
    const check = () => assert.equal(to.heard.resources.filter(one => equal(one, data)).length, 1);
    outcomes.watch('resource', link.sendResource(data), check);
  };

  a.onAccepted = link => useLink(link, b);
  b.onAccepted = link => useLink(link, a);
  for (let round = 0; round < singlePackets / 2; round++) {
    sendSingle(a, b);
    sendSingle(b, a);
    if (round < linksEachWay) {
      for (const [from, to] of [nodes, [b, a]] as const) {
        const used = from.openLink(to).then(link => useLink(link, to));
        outcomes.watch('link', used);
      }
    }
    await clock.advance(50);
  }
  await clock.advanceUntil(() => outcomes.open === 0, { step: 1000, limit: 30 * minute });
  await outcomes.settled();

  for (const { links, counters, bugs } of nodes) {
    links.close();
    assert.equal(links.size, 0);
    assert.deepEqual(bugs, []);
    assert.equal(counters.get('internal'), 0);
    assert.equal(counters.get('link/callback-failed'), 0);
  }
  await clock.advance(minute);
  for (const one of nodes) {
    await one.close();
    assert.equal(one.budget.used, 0);
  }
  assert.equal(clock.waiting, 0);
  assert.equal(outcomes.total('packet'), singlePackets);
  assert.equal(outcomes.total('link'), 2 * linksEachWay);
  assert.ok(outcomes.count('packet: good') > singlePackets * 0.8);
  assert.ok(outcomes.count('resource: good') > linksEachWay);
  return outcomes;
}
