import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LoraChannel } from '../../../src/demo/lora-channel.ts';
import { RNodeEmulator } from '../../../src/demo/rnode-emulator.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { planRadio, shippedRegions } from '../../../src/radio/region.ts';
import { RNode } from '../../../src/radio/rnode/rnode.ts';
import { BridgeNode } from '../../bridges/lxmf/node.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

const plan = planRadio(
  { region: 'eu868-p', bandwidth: 125_000, spreadingFactor: 8, codingRate: 5, antennaGain: 2.15 },
  shippedRegions,
);

/** An LXMF bridge behind a radio. */
function station(
  name: string,
  x: number,
  channel: LoraChannel,
  clock: ManualClock,
  seed: number,
  forwards = false,
) {
  assert.ok(!Array.isArray(plan));
  const random = seededRandom(seed);
  const counters = new Counters();
  const parts = { clock, random, log: silentLog, counters };
  const emulator = new RNodeEmulator({ name, x, channel, clock, random });
  const iface = new RNode({ name: 'lora', port: 'x', plan }, { ...parts, open: () => emulator.open() });
  const transport = new Transport({
    ...parts,
    storage: new MemoryStorage(),
    identity: generateIdentity(random),
    forwards,
  });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
  transport.useLinks(links);
  const stop = new AbortController();
  const up = Promise.withResolvers<void>();
  const life = transport.attach(iface).service.run(up.resolve, stop.signal);
  const node = new BridgeNode({
    ...parts,
    transport,
    links,
    identity: generateIdentity(random),
    displayName: name,
  });
  return {
    name,
    node,
    iface,
    up: up.promise,
    async close() {
      await node[Symbol.asyncDispose]();
      links.close();
      stop.abort();
      await life;
      await transport.close();
      emulator.close();
    },
  };
}

type Station = ReturnType<typeof station>;

/** Delivers as the outbox does: again after a while where it failed, one at a time to each peer. */
async function converse(
  clock: ManualClock,
  from: Station,
  to: Station,
  texts: readonly string[],
): Promise<number> {
  let attempts = 0;
  for (const text of texts) {
    const message = from.node.message({ to: to.node.address, text });
    for (let attempt = 1; ; attempt++) {
      attempts += 1;
      const delivery = from.node.delivery(message, { attempt });
      const remembered = from.node.port.remembered.get(delivery.id);
      try {
        await from.node.bridge.deliver(
          { ...delivery, ...(remembered ? { remembered } : {}) },
          new AbortController().signal,
        );
        break;
      } catch (error) {
        assert.ok(isGatewayError(error) && error.retryable, String(error));
        assert.ok(attempt < 20, `${from.name} to ${to.name}: ${error.message}`);
        await clock.sleep(3000 * attempt);
      }
    }
  }
  return attempts;
}

interface Scene {
  /** Metres along a road. */
  readonly places: readonly number[];
  /** Who can hear whom. */
  readonly hears: (from: Station, to: Station) => boolean;
  /** The one that passes on what others send. */
  readonly relay?: string;
}

/** Everybody writes to everybody it hears, at once; how many attempts that took, and the channel. */
async function everybodyWrites({
  places,
  hears,
  relay,
}: Scene): Promise<{ messages: number; attempts: number; channel: LoraChannel }> {
  const clock = new ManualClock();
  const channel = new LoraChannel({ clock, random: seededRandom(1) });
  const stations = ['hill', 'harbour', 'mill'].map((name, index) =>
    station(name, places[index]!, channel, clock, 100 + index, name === relay),
  );
  const pairs = stations.flatMap(from =>
    stations.filter(to => to !== from && hears(from, to)).map(to => ({ from, to })),
  );
  const acquainted = () =>
    pairs.every(({ from, to }) => from.node.port.peers.get(to.node.address) !== undefined);
  for (let round = 0; round < 30 && !acquainted(); round++) {
    void stations[round % 3]!.node.bridge.announceNow();
    await clock.advance(5000);
  }
  assert.ok(acquainted());
  const texts = (from: Station, to: Station) =>
    ['short', 'x'.repeat(250), 'y'.repeat(700), 'last'].map(
      (text, i) => `${from.name} ${to.name} ${i} ${text}`,
    );
  let attempts = 0;
  let open = pairs.length;
  for (const { from, to } of pairs) {
    void converse(clock, from, to, texts(from, to)).then(count => {
      open -= 1;
      attempts += count;
    });
  }
  await clock.advanceUntil(() => open === 0, { limit: 3_000_000, step: 1000 });
  for (const { from, to } of pairs) {
    const got = to.node.port.accepted.filter(one => one.from === from.node.address).map(({ text }) => text);
    assert.deepEqual(got, texts(from, to));
  }
  const airtime = channel.airtime();
  for (const { name, iface } of stations) {
    const { usedMs } = iface.airtime();
    assert.ok(
      usedMs >= airtime[name]! - 1 && usedMs <= 360_000,
      `${name}: ${usedMs}, on the air ${airtime[name]}`,
    );
  }
  await Promise.all(stations.map(one => one.close()));
  await clock.advance(600_000);
  assert.equal(clock.waiting, 0);
  return { messages: pairs.length * 4, attempts, channel };
}

describe('three stations at SF8/125 that all write at once get everything, once and in order', () => {
  test('where all hear each other', async t => {
    const { messages, attempts, channel } = await everybodyWrites({
      places: [0, 700, 1400],
      hears: () => true,
    });
    t.diagnostic(`${messages} messages in ${attempts} attempts, frames ${JSON.stringify(channel.counts)}`);
    assert.ok(attempts <= messages * 1.5, `${attempts} attempts for ${messages} messages`);
  });

  test('where two do not hear each other, and drown each other at the third', async t => {
    const { messages, attempts, channel } = await everybodyWrites({
      places: [0, 9000, 18_000],
      hears: (from, to) => from.name === 'harbour' || to.name === 'harbour',
    });
    t.diagnostic(`${messages} messages in ${attempts} attempts, frames ${JSON.stringify(channel.counts)}`);
    assert.ok(channel.counts.collided > 0 && channel.counts.faint > 0);
  });

  test('where two do not hear each other, and write to each other by way of the third', async t => {
    const { messages, attempts, channel } = await everybodyWrites({
      places: [0, 9000, 18_000],
      hears: (from, to) => from.name !== 'harbour' && to.name !== 'harbour',
      relay: 'harbour',
    });
    t.diagnostic(`${messages} messages in ${attempts} attempts, frames ${JSON.stringify(channel.counts)}`);
    assert.ok(channel.counts.faint > 0);
  });
});
