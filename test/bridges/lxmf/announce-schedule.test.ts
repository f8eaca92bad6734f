import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LxmfBridge } from '../../../src/bridges/lxmf/bridge.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { LxmfRouter } from '../../../src/mesh/lxmf/router.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { ManualClock } from '../../sim/clock.ts';
import { Ether } from '../../sim/ether.ts';
import { seededRandom } from '../../sim/random.ts';
import { MemoryPort } from './port.ts';

/** A hub with residents on a medium of 1000 bit/s, and the names a neighbour hears, with the ms at which it heard them. */
async function slowHub(residents: number) {
  const clock = new ManualClock();
  const random = seededRandom(7);
  const ether = new Ether({ clock, random, bitrate: 1000 });
  const stop = new AbortController();
  const node = (name: string) => {
    const parts = { clock, random, log: silentLog, counters: new Counters() };
    const identity = generateIdentity(random);
    const transport = new Transport({ ...parts, storage: new MemoryStorage(), identity });
    const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
    transport.useLinks(links);
    const running = transport.attach(ether.join(name)).service.run(() => {}, stop.signal);
    const router = new LxmfRouter({ ...parts, transport, links });
    return { ...parts, identity, transport, router, links, running };
  };
  const hub = node('hub');
  const heard: { readonly at: number; readonly destination: string }[] = [];
  const neighbour = node('neighbour');
  neighbour.transport.onAnnounce(({ destinationHash }) =>
    heard.push({ at: clock.monotonic(), destination: toHex(destinationHash) }),
  );
  const bridge = new LxmfBridge({ ...hub, hubId: toHex(hub.identity.hash), displayName: 'Hub' });
  const add = (name: string) => {
    const made = bridge.residence.make();
    bridge.residence.open({ ...made, name });
    return made.address.slice('lxmf:'.length);
  };
  const added = Array.from({ length: residents }, (_, index) => add(`resident ${index}`));
  const running = bridge.run(new MemoryPort(), stop.signal);
  return {
    clock,
    ether,
    bridge,
    heard,
    added,
    add,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([running, hub.running, neighbour.running]);
      for (const one of [hub, neighbour]) {
        one.router.close();
        one.links.close();
        await one.transport.close();
      }
    },
  };
}

test('the hub is announced at once, and its residents so slowly that a slow radio stays free', async () => {
  await using hub = await slowHub(5);
  await hub.clock.advance(5000);
  assert.equal(hub.heard[0]?.destination, hub.bridge.address);
  await hub.clock.advance(120_000);
  const others = hub.heard.filter(({ destination }) => hub.added.includes(destination));
  assert.deepEqual(new Set(others.map(({ destination }) => destination)), new Set(hub.added));
  for (const [index, { at }] of others.slice(1).entries()) {
    assert.ok(at - others[index]!.at >= 15_000, `${at - others[index]!.at} ms after the one before`);
  }
  const { length } = hub.heard;
  await hub.clock.advance(6 * 3_600_000);
  assert.ok(hub.heard.length >= length + 6, 'all of them again within six hours');
});

test('a new resident and a new name are announced, a known one is not, and one that left never again', async () => {
  await using hub = await slowHub(0);
  await hub.clock.advance(60_000);
  hub.heard.length = 0;
  const made = hub.bridge.residence.make();
  const key = made.address.slice('lxmf:'.length);
  for (const name of ['Ann', 'Ann', 'Anna']) {
    hub.bridge.residence.open({ ...made, name });
    await hub.clock.advance(60_000);
  }
  assert.deepEqual(
    hub.heard.map(({ destination }) => destination),
    [key, key],
  );
  hub.bridge.residence.close(made.address);
  await hub.clock.advance(7 * 3_600_000);
  assert.equal(hub.heard.filter(({ destination }) => destination === key).length, 2);
});
