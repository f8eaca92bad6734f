import assert from 'node:assert/strict';
import { equal, toHex } from '../../src/lib/bytes.ts';
import { ManualClock } from './clock.ts';
import { Field } from './field.ts';
import { SimNode } from './node.ts';
import { Outcomes } from './outcomes.ts';
import { seededRandom } from './random.ts';

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

/** Nodes in a row talk over each other's heads until all of it has ended one way or the other. */
export async function runTwelveNodes(seed: number): Promise<Outcomes> {
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
    const iface = field.join(`n${at}`, at + random.fraction() * 0.3);
    return new SimNode({ clock, seed: seed * size + at, forwards: true, ports: [{ iface }] });
  });
  const allKnow = () =>
    pairs.every(([a, b]) => nodes[a]!.transport.path(nodes[b]!.destination.hash) !== undefined);
  for (let round = 0; !allKnow(); round++) {
    assert.ok(round < 5, 'announces do not arrive');
    for (const node of nodes) {
      node.announce();
      await clock.advance(2000);
    }
    await clock.advance(15_000);
  }

  const outcomes = new Outcomes();
  const times = (all: readonly string[], data: Uint8Array) => all.filter(one => one === toHex(data)).length;
  const sendSingle = (from: SimNode, to: SimNode) => {
    const data = random.bytes(1 + Math.floor(random.fraction() * 383));
    let told = 0;
    const proven = from.sendSingle(to, data, () => {
      told += 1;
    });
    const check = () => assert.deepEqual([times(to.heard.packets, data), told], [1, 1]);
    outcomes.watch('packet', proven, check);
  };
  const useLink = async (from: SimNode, to: SimNode) => {
    const link = await from.openLink(to);
    const data = random.bytes(1 + Math.floor(random.fraction() * link.mdu));
    const heardOnce = () => assert.equal(times(to.heard.packets, data), 1);
    outcomes.watch('link packet', link.send(data), heardOnce);
    const large = random.bytes(Math.ceil(random.fraction() * largestResource));
    const check = () => assert.equal(to.heard.resources.filter(one => equal(one, large)).length, 1);
    outcomes.watch('resource', link.sendResource(large), check);
  };

  for (let round = 0; round < singlePackets / pairs.length; round++) {
    for (const [a, b] of pairs) {
      sendSingle(nodes[a]!, nodes[b]!);
      if (round < 2) {
        outcomes.watch('link', useLink(nodes[a]!, nodes[b]!));
      }
      await clock.advance(1500);
    }
  }
  await clock.advanceUntil(() => outcomes.open === 0, { step: 1000, limit: 30 * minute });
  await outcomes.settled();

  for (const { links, counters, heard, bugs } of nodes) {
    links.close();
    assert.equal(links.size, 0);
    assert.deepEqual(bugs, []);
    assert.equal(counters.get('internal'), 0);
    assert.equal(new Set(heard.packets).size, heard.packets.length, 'something was delivered twice');
  }
  const before = field.sent;
  await clock.advance(20 * minute);
  assert.ok(field.sent - before < 200, 'the mesh does not come to rest');
  for (const node of nodes) {
    assert.equal(node.budget.used, 0);
    assert.equal([...node.transport.transitLinks()].length, 0);
    await node.close();
  }
  assert.equal(outcomes.total('packet'), singlePackets);
  assert.equal(outcomes.total('link'), 2 * pairs.length);
  assert.ok(outcomes.count('packet: good') >= singlePackets / 3);
  assert.ok(outcomes.count('resource: good') >= pairs.length / 2);
  return outcomes;
}
