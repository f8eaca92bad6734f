import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Attachment } from '../../src/mesh/reticulum/attachment.ts';
import { Discovered } from '../../src/mesh/reticulum/discovered.ts';
import { encodeNotice, type InterfaceNotice } from '../../src/mesh/reticulum/discovery-wire.ts';
import type { InterfacePolicy } from '../../src/mesh/reticulum/interface-policy.ts';
import { type InterfaceConfig, interfaceSchema } from '../../src/radio/config.ts';
import { createAutoconnect } from '../../src/start/autoconnect.ts';
import type { LiveInterface, LiveInterfaces } from '../../src/start/live-interfaces.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { ManualClock } from '../sim/clock.ts';
import { seededRandom } from '../sim/random.ts';

/** Interfaces that are up or down as a test says. */
class Lives implements Pick<LiveInterfaces, 'list' | 'get' | 'add' | 'remove'> {
  readonly all = new Map<string, LiveInterface & { attachment: Attachment | undefined }>();
  refuse = false;

  list() {
    return [...this.all.values()];
  }

  get(name: string) {
    return this.all.get(name);
  }

  async add(config: InterfaceConfig, origin: LiveInterface['origin'], policy: InterfacePolicy = {}) {
    if (this.refuse) {
      throw new GatewayError('store/full', 'no room');
    }
    this.all.set(config.name, { config, origin, policy, attachment: { online: true } as Attachment });
  }

  async remove(name: string) {
    this.all.delete(name);
  }

  set(name: string, online: boolean | undefined) {
    const entry = this.all.get(name);
    assert.ok(entry !== undefined);
    entry.attachment = online === undefined ? undefined : ({ online } as Attachment);
  }

  hosts() {
    return this.list().flatMap(({ config }) => (config.kind === 'tcp-client' ? [config.host] : []));
  }
}

interface Options {
  readonly most?: number;
  readonly unverified?: boolean;
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

async function open(options: Options = {}) {
  const clock = new ManualClock();
  const counters = new Counters();
  const parts = { clock, log: silentLog, counters, random: seededRandom(9) };
  const discovered = new Discovered({ ...parts, storage: new MemoryStorage() });
  const live = new Lives();
  const connecting = createAutoconnect({
    ...parts,
    discovered,
    live,
    config: {
      most: options.most ?? 2,
      unverified: options.unverified ?? false,
      privateAddresses: false,
      mode: 'gateway',
    },
    isWanted: ({ notice }) => notice.name !== 'unwanted',
    lookup: options.lookup ?? (async host => [host]),
  });
  const stop = new AbortController();
  const running = connecting.run(stop.signal);
  const find = (name: string, more: Partial<InterfaceNotice> = {}) => {
    const notice: InterfaceNotice = {
      type: 'BackboneInterface',
      transport: true,
      transportId: new Uint8Array(16),
      implementation: 'RNS',
      version: '1.5.7',
      name,
      reachableOn: `${name}.example`,
      port: 4242,
      ...more,
    };
    const networkId = new Uint8Array(16).fill(5);
    return discovered.take({ notice, facts: encodeNotice(notice), networkId, value: 16, hops: 1 });
  };
  return {
    clock,
    counters,
    live,
    connecting,
    find,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

describe('connecting to discovered interfaces', () => {
  test('takes as many as wanted of those that may be, and looks at once where one is found', async () => {
    await using at = await open();
    for (const name of ['elm', 'oak', 'ash']) {
      at.find(name);
    }
    at.find('old', { version: '1.0.0' });
    at.find('unwanted');
    at.find('self', { reachableOn: '127.0.0.1' });
    at.connecting.look();
    await at.clock.advance(1);
    assert.equal(at.live.all.size, 2);
    const [one] = at.live.list();
    assert.equal(one?.origin, 'discovery');
    assert.equal(one.config.mode, 'gateway');
    assert.match(one.config.name, /^found-[0-9a-f]{8}$/);
    assert.equal(at.connecting.sourceOf(one.config.name), '05'.repeat(16));
    assert.ok(!at.live.hosts().includes('old.example'));
  });

  test('lets go of what is down for a minute, takes another, and comes back to it later', async () => {
    await using at = await open({ most: 1 });
    at.find('elm');
    await at.clock.advance(15_000);
    assert.deepEqual(at.live.hosts(), ['elm.example']);
    const [name = ''] = at.live.all.keys();
    at.live.set(name, false);
    await at.clock.advance(30_000);
    at.live.set(name, true);
    await at.clock.advance(60_000);
    assert.equal(at.live.all.size, 1, 'it came back in time');
    at.live.set(name, false);
    at.find('oak');
    await at.clock.advance(90_000);
    assert.deepEqual(at.live.hosts(), ['oak.example']);
    const [other = ''] = at.live.all.keys();
    at.live.set(other, undefined);
    await at.clock.advance(400_000);
    assert.deepEqual(at.live.hosts(), ['elm.example']);
  });

  test('leaves out what is configured, and what cannot be added for a while', async () => {
    await using at = await open();
    const configured = interfaceSchema.parse({
      name: 'u',
      kind: 'tcp-client',
      host: 'elm.example',
      port: 4242,
    });
    await at.live.add(configured, 'file');
    at.find('elm');
    at.live.refuse = true;
    const oak = at.find('oak');
    await at.clock.advance(15_000);
    at.live.refuse = false;
    await at.clock.advance(60_000);
    assert.deepEqual(at.live.hosts(), ['elm.example']);
    assert.equal(at.connecting.nameOf(oak), undefined);
    await at.clock.advance(300_000);
    assert.deepEqual(at.live.hosts(), ['elm.example', 'oak.example']);
  });

  test('goes where a name leads, looked up once, and not behind our own walls', async () => {
    const addresses: Readonly<Record<string, readonly string[]>> = {
      'elm.example': ['203.0.113.7', '203.0.113.8'],
      'self.example': ['127.0.0.1'],
      'home.example': ['203.0.113.9', '192.168.0.7'],
      'six.example': ['fd00::1'],
      'none.example': [],
    };
    await using at = await open({ most: 16, lookup: async host => addresses[host] ?? [] });
    for (const name of ['elm', 'self', 'home', 'six', 'none']) {
      at.find(name);
    }
    await at.clock.advance(15_000);
    assert.deepEqual(at.live.hosts(), ['203.0.113.7']);
  });

  test('uses the access code that was published with it', async () => {
    await using at = await open({ unverified: true });
    at.find('elm', { implementation: undefined, networkName: 'elm', passphrase: 'street' });
    await at.clock.advance(15_000);
    const [one] = at.live.list();
    assert.equal(one?.policy.accessCode?.networkName, 'elm');
    assert.equal(one.policy.accessCode.size, 16);
  });
});
