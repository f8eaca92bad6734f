import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { LoraChannel } from '../../src/demo/lora-channel.ts';
import { RNodeEmulator } from '../../src/demo/rnode-emulator.ts';
import { createCompressor } from '../../src/lib/bzip2/pool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { type ServiceHealth, supervise } from '../../src/lib/service.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import type { ReceivedResource } from '../../src/mesh/reticulum/resource-offer.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { planRadio, shippedRegions } from '../../src/radio/region.ts';
import { RNode } from '../../src/radio/rnode/rnode.ts';
import { openSerial } from '../../src/radio/serial.ts';
import { BridgeNode } from '../bridges/lxmf/node.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { seededRandom } from '../sim/random.ts';
import { missingSocat, RNodePty } from '../sim/rnode-pty.ts';
import { missingReference, type Peer, startPeer } from './peer.ts';

/*
 * The reference's RNodeInterface and ours, each on a pseudo-terminal with an emulated radio behind it, on one simulated
 * channel in real time. What a green run does not claim: that a device of copper does the same.
 */

const skip = missingSocat() || (await missingReference('1.5.7'));

/** Like SF8/125, or quick where only volume matters. */
const slow = { bandwidth: 125_000, spreadingFactor: 8 };
const quick = { bandwidth: 250_000, spreadingFactor: 6 };

interface Scene extends AsyncDisposable {
  readonly channel: LoraChannel;
  readonly node: BridgeNode;
  readonly transport: Transport;
  readonly links: Links;
  readonly iface: RNode;
  readonly health: ServiceHealth[];
  readonly near: RNodePty;
  readonly peer: Peer;
}

/** A gateway's LXMF bridge on one radio and a reference node on another, 400 m apart. */
async function scene(modulation: typeof slow): Promise<Scene> {
  await using opened = new AsyncDisposableStack();
  const counters = new Counters();
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters };
  const channel = new LoraChannel({ clock: systemClock, random: seededRandom(3) });
  const emulators = [0, 400].map((x, index) => {
    const emulator = new RNodeEmulator({
      name: index === 0 ? 'ours' : 'reference',
      channel,
      clock: systemClock,
      random: seededRandom(10 + index),
      x,
    });
    opened.defer(() => emulator.close());
    return emulator;
  });
  const near = opened.use(await RNodePty.plugIn(emulators[0]!));
  const far = opened.use(await RNodePty.plugIn(emulators[1]!));
  const plan = planRadio(
    { region: 'eu868-p', codingRate: 5, antennaGain: 2.15, ...modulation },
    shippedRegions,
  );
  assert.ok(!Array.isArray(plan));
  const iface = new RNode({ name: 'lora', port: near.path, plan }, { ...parts, open: openSerial });
  const transport = new Transport({
    ...parts,
    storage: new MemoryStorage(),
    identity: generateIdentity(systemRandom),
  });
  const compressor = createCompressor();
  opened.defer(() => compressor.close());
  const links = new Links({ ...parts, transport, budget: new IncomingBudget(), compressor });
  transport.useLinks(links);
  const stop = new AbortController();
  const health: ServiceHealth[] = [];
  const life = supervise(transport.attach(iface).service, {
    ...parts,
    signal: stop.signal,
    onChange: change => void health.push(change),
  });
  opened.defer(async () => {
    links.close();
    stop.abort();
    await life;
    await transport.close();
  });
  const identity = generateIdentity(systemRandom);
  const node = opened.use(new BridgeNode({ ...parts, transport, links, identity, displayName: 'Hill' }));
  const { frequency, bandwidth, spreadingFactor, codingRate } = plan.settings;
  const peer = opened.use(
    await startPeer({
      displayName: 'Pat',
      ratchets: true,
      interfaces: [
        {
          type: 'rnode',
          options: {
            port: far.path,
            frequency,
            bandwidth,
            txpower: 14,
            spreadingfactor: spreadingFactor,
            codingrate: codingRate,
            airtime_limit_long: 10,
          },
        },
      ],
    }),
  );
  await eventually(() => health.at(-1)?.state === 'up');
  const owned = opened.move();
  return {
    channel,
    node,
    transport,
    links,
    iface,
    health,
    near,
    peer,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function eventually<T>(found: () => T | undefined | false): Promise<T> {
  for (let waited = 0; waited < 30_000; waited += 20) {
    const value = found();
    if (value !== undefined && value !== false) {
      return value;
    }
    await systemClock.sleep(20);
  }
  throw new Error(`did not come about within 30 s: ${found}`);
}

/** Each hears the other's announce. */
async function acquaint({ node, peer }: Scene): Promise<void> {
  await untilHeard(
    () => peer.announce(),
    () => node.port.peers.get(`lxmf:${peer.destination}`)?.name !== undefined,
  );
  await untilHeard(
    () => node.bridge.announceNow(),
    () => peer.events.some(one => one.event === 'announce' && one.destination === node.bridge.address),
  );
}

/** Who announces at once with another may be heard by nobody, and has to do it again. */
async function untilHeard(announce: () => Promise<unknown>, heard: () => boolean): Promise<void> {
  for (let tries = 0; tries < 8; tries++) {
    await announce();
    for (let waited = 0; waited < 5000; waited += 20) {
      if (heard()) {
        return;
      }
      await systemClock.sleep(20);
    }
  }
  throw new Error('announced eight times and not heard');
}

describe('the reference’s RNodeInterface and ours on one channel', { skip }, () => {
  test('at SF8/125, in real time: announces, LXMF both ways in a packet and as a resource, within the budget', async () => {
    await using made = await scene(slow);
    const { node, peer, channel, iface } = made;
    await acquaint(made);
    const to = `lxmf:${peer.destination}` as const;
    assert.equal((await node.send({ to, text: 'how is the hill?' })).state, 'delivered');
    const first = await peer.next('message', ({ content }) => content === 'how is the hill?');
    assert.equal(first.verified, true);
    await peer.send({ to: node.bridge.address, content: 'windy', method: 'opportunistic' });
    await node.port.until(() => node.port.accepted.some(({ text }) => text === 'windy'));
    // Random letters: what bzip2 makes of them is still several packets.
    const long = randomBytes(900).toString('hex');
    await node.send({ to, text: long });
    const whole = await peer.next('message', ({ content }) => content === long);
    assert.equal(whole.method, 'direct');
    await peer.send({ to: node.bridge.address, content: long.slice(0, 600), method: 'direct' });
    await node.port.until(() => node.port.accepted.some(({ text }) => text === long.slice(0, 600)));
    const view = iface.airtime();
    const onAir = channel.airtime();
    assert.ok(view.usedMs >= onAir.ours! - 1, `${view.usedMs} counted, ${onAir.ours} on the air`);
    assert.ok(onAir.ours! < view.budgetMs && onAir.reference! < view.budgetMs);
    assert.equal(iface.facts().device, 'ESP32, firmware 1.86');
  });

  test('at SF6/250: links and resources of 5 kB both ways', async () => {
    await using made = await scene(quick);
    const { peer, transport, links } = made;
    await acquaint(made);
    const name = 'app.volume';
    const there = await peer.addDestination(name);
    const recall = () => transport.recall(Uint8Array.fromHex(there));
    await untilHeard(
      () => peer.announce({ destination: there }),
      () => recall() !== undefined,
    );
    const { identity } = recall()!;
    const received = Promise.withResolvers<ReceivedResource>();
    const link = await links.open(Uint8Array.fromHex(there), {
      identity,
      events: {
        onResourceOffer: () => ({ onResource: resource => received.resolve(resource) }),
      },
    });
    await link.sendResource(new Uint8Array(randomBytes(5000)), { compress: false });
    const end = await peer.next('resource', ({ state }) => state === 'complete');
    assert.equal(end.size, 5000);
    const theirs = peer.sendResource(link.key, { size: 5000 }, { compress: false });
    const back = await received.promise;
    assert.equal(back.data.length, 5000);
    back.prove();
    assert.equal((await theirs).status, 'complete');
    link.close();
  });

  test('unplugged and plugged 30 times at random moments, ours says why and comes back by itself', async () => {
    await using made = await scene(quick);
    const { health, near, node, peer } = made;
    await acquaint(made);
    const chance = seededRandom(30);
    const before = process.getActiveResourcesInfo().length;
    const files = () => readdirSync('/proc/self/fd').length;
    const filesBefore = files();
    for (let i = 0; i < 30; i++) {
      void node.bridge.announceNow();
      await systemClock.sleep(chance.fraction() * 900);
      await near.unplug();
      await systemClock.sleep(chance.fraction() * 200);
      await near.plug();
    }
    await eventually(() => health.at(-1)?.state === 'up');
    assert.ok(health.every(({ bugs }) => bugs === 0));
    const reasons = new Set(health.flatMap(({ reason }) => reason ?? []));
    for (const reason of reasons) {
      assert.match(
        reason,
        /: (?:unplugged|no such device: is the radio plugged in\?|the RNode restarted|no answer of an RNode.*)$/,
      );
    }
    assert.ok(
      process.getActiveResourcesInfo().length <= before + 2,
      String(process.getActiveResourcesInfo()),
    );
    assert.ok(files() <= filesBefore + 2, `${files()} files open, ${filesBefore} before`);
    assert.equal((await node.send({ to: `lxmf:${peer.destination}`, text: 'back' })).state, 'delivered');
  });
});
