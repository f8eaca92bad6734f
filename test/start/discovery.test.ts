import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { InterfaceConfig } from '../../src/radio/config.ts';
import { interfaceSchema } from '../../src/radio/config.ts';
import { openDiscovery } from '../../src/start/discovery.ts';
import { policyFor } from '../../src/start/interfaces.ts';
import { createLiveInterfaces } from '../../src/start/live-interfaces.ts';
import type { Mesh } from '../../src/start/mesh.ts';
import { meshConfigSchema } from '../../src/start/mesh-config.ts';
import { Air, settled, TestNode } from '../mesh/reticulum/air.ts';
import { ManualClock } from '../sim/clock.ts';

/** A node with live interfaces and discovery; whatever it is to connect to is another station of an air of its own. */
function open(clock: ManualClock, air: Air, discovery: unknown, entries: InterfaceConfig[] = []) {
  const node = new TestNode({ clock });
  const stop = new AbortController();
  const media = new Air();
  const parts = { ...node, clock, random: node.random, log: silentLog, counters: new Counters() };
  const { transport, blackhole } = node;
  node.use(air.join('air'));
  const live = createLiveInterfaces(
    entries.map(config => ({ config, origin: 'file' as const })),
    { ...parts, create: ({ name }) => media.join(name), policyFor, report: () => {}, forget: () => {} },
  );
  const opened = openDiscovery({
    ...parts,
    config: meshConfigSchema.parse({ discovery }).discovery,
    mesh: { transport, blackhole } as unknown as Mesh,
    live,
    forwards: true,
    networkIdentity: undefined,
    hubName: () => 'Elm Street',
    version: '0.1.0',
    lookup: async () => ['203.0.113.7'],
  });
  const running = Promise.all([live.run(stop.signal), opened.run(stop.signal)]);
  return {
    transport,
    live,
    discovery: opened,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await opened[Symbol.asyncDispose]();
    },
  };
}

test('a hub connects to the listener that another announces, shows it, and lets go of it when it is gone', async () => {
  const clock = new ManualClock();
  const air = new Air();
  const server = interfaceSchema.parse({
    ...{ name: 'server', kind: 'tcp-server', port: 4242 },
    discoverable: { reachableOn: 'hub.example', port: 4000, cost: 4, latitude: 52.5, interval: 5 },
  });
  await using announcing = open(clock, air, {}, [server]);
  await using listening = open(clock, air, { listen: true, cost: 4, autoconnect: { most: 1 } });
  for (let turn = 0; turn < 120; turn++) {
    await clock.advance(100);
  }
  const [found] = listening.discovery.discovered();
  assert.deepEqual(
    [found?.name, found?.type, found?.reachableOn, found?.port, found?.implementation, found?.latitude],
    ['Elm Street', 'BackboneInterface', 'hub.example', 4000, 'kOS', 52.5],
  );
  assert.match(
    found?.configEntry ?? '',
    /^\[\[Elm Street\]\]\n[\s\S]*remote = hub\.example\n {2}target_port = 4000\n/,
  );
  const name = found?.interface ?? '';
  const used = listening.live.get(name);
  assert.equal(used?.origin, 'discovery');
  assert.ok(used.config.kind === 'tcp-client');
  assert.deepEqual([used.config.host, used.config.port, used.policy.mode], ['203.0.113.7', 4000, 'gateway']);
  assert.equal(used.attachment?.online, true);
  assert.equal(listening.discovery.sourceOf(name), found?.networkId);
  await listening.live.detach(name);
  await clock.advance(20_000);
  await settled();
  assert.equal(listening.live.get(name), undefined);
  assert.deepEqual(announcing.discovery.discovered(), []);
});

test('a passphrase that cannot be read any more keeps its interface from being announced, and ends nothing', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-discovery-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const passphraseFile = join(folder, 'passphrase');
  await writeFile(passphraseFile, 'street');
  const clock = new ManualClock();
  const air = new Air();
  const listener = (name: string, more: object) =>
    interfaceSchema.parse({
      ...{ name, kind: 'tcp-server', port: 4242, ...more },
      discoverable: { name, reachableOn: 'hub.example', port: 4000, cost: 4, publishAccessCode: true },
    });
  const entries = [listener('secret', { ifac: { passphraseFile } }), listener('open', {})];
  await using _announcing = open(clock, air, {}, entries);
  await using listening = open(clock, air, { listen: true, cost: 4 });
  await rm(passphraseFile);
  for (let turn = 0; turn < 200; turn++) {
    await clock.advance(1000);
    await settled();
  }
  assert.deepEqual(
    listening.discovery.discovered().map(({ name }) => name),
    ['open'],
  );
});
