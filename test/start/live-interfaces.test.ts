import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../src/lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { ServiceHealth } from '../../src/lib/service.ts';
import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import { type InterfaceConfig, interfaceSchema, policyOf } from '../../src/radio/config.ts';
import { createLiveInterfaces, type LiveInterfaces } from '../../src/start/live-interfaces.ts';
import { Air, type Station, settled, TestNode } from '../mesh/reticulum/air.ts';
import { ManualClock } from '../sim/clock.ts';

const client = (name: string, more: object = {}): InterfaceConfig =>
  interfaceSchema.parse({
    name,
    kind: 'tcp-client',
    host: 'far.example',
    port: 4242,
    ...more,
  }) as InterfaceConfig;

interface Bench {
  readonly air: Air;
  readonly node: TestNode;
  readonly far: TestNode;
  readonly live: LiveInterfaces;
  /** Every station that was ever made, in order. */
  readonly made: Station[];
  readonly health: Map<string, ServiceHealth>;
  stop(): Promise<void>;
}

/** A hub's interfaces as stations on one air, with another node on it. */
async function bench(
  t: TestContext,
  configs: readonly InterfaceConfig[],
  latest?: (name: string) => InterfaceConfig | undefined,
): Promise<Bench> {
  const clock = new ManualClock();
  const air = new Air();
  const node = new TestNode({ clock });
  const far = new TestNode({ clock });
  far.use(air.join('far'));
  const made: Station[] = [];
  const health = new Map<string, ServiceHealth>();
  const live = createLiveInterfaces(
    configs.map(config => ({ config, origin: 'file' })),
    {
      clock,
      random: node.random,
      log: silentLog,
      transport: node.transport,
      create(config) {
        if (config.kind === 'tcp-client' && config.host === 'nowhere') {
          throw new GatewayError('config/invalid', 'there is nothing');
        }
        const station = air.join(config.name);
        made.push(station);
        return station;
      },
      policyFor(config) {
        const { networkName } = config.ifac ?? {};
        if (networkName === 'unreadable') {
          throw new GatewayError('config/invalid', 'no passphrase');
        }
        return {
          ...policyOf(config),
          ...(networkName !== undefined && { accessCode: new AccessCode({ networkName, size: 8 }) }),
        };
      },
      ...(latest !== undefined && { latest }),
      report: one => void health.set(one.name, one),
      forget: name => void health.delete(name),
    },
  );
  const end = new AbortController();
  const running = live.run(end.signal);
  await settled();
  const stop = async () => {
    end.abort();
    await running;
  };
  t.after(stop);
  return { air, node, far, live, made, health, stop };
}

const state = ({ health }: Bench, name: string) => health.get(name)?.state;
const names = (live: LiveInterfaces) => live.list().map(({ config: { name } }) => name);

async function heard({ node, far }: Bench): Promise<Uint8Array> {
  const { destination } = far.serve();
  await far.transport.announce(destination);
  await settled();
  assert.ok(node.transport.path(destination.hash));
  return destination.hash;
}

test('an interface is added, detached, attached and removed while others go on', async t => {
  const hub = await bench(t, [client('one')]);
  const { live, made } = hub;
  const one = live.get('one')?.attachment;
  await live.add(client('two'), 'api');
  await settled();
  assert.deepEqual([names(live), state(hub, 'two')], [['one', 'two'], 'up']);
  assert.equal(await live.detach('two'), true);
  assert.equal(await live.detach('two'), false);
  assert.deepEqual([state(hub, 'two'), names(live)], [undefined, ['one', 'two']]);
  assert.equal(await live.attach('two'), true);
  assert.equal(await live.attach('two'), false);
  await settled();
  assert.equal(state(hub, 'two'), 'up');
  await live.remove('two');
  assert.deepEqual(names(live), ['one']);
  assert.equal(live.get('one')?.attachment, one);
  assert.equal(made.filter(({ name }) => name === 'one').length, 1);
});

test('what only the mesh goes by is changed without a reconnect, and the paths stay', async t => {
  const hub = await bench(t, [client('one')]);
  const destination = await heard(hub);
  assert.equal(await hub.live.change(client('one', { mode: 'gateway', announce: { cap: 5 } })), 'governed');
  assert.equal(hub.made.length, 1);
  assert.deepEqual(hub.live.get('one')?.attachment?.policy, {
    mode: 'gateway',
    outgoing: true,
    announce: { cap: 0.05 },
  });
  assert.ok(hub.node.transport.path(destination));
  assert.equal(await hub.live.change(client('one', { mode: 'gateway', announce: { cap: 5 } })), 'same');
});

test('another medium is opened anew, its counts go on, and what was known of the one before is forgotten', async t => {
  const hub = await bench(t, [client('one')]);
  const destination = await heard(hub);
  const before = hub.live.get('one')?.attachment;
  assert.equal(await hub.live.change(client('one', { host: 'other.example' })), 'restarted');
  await settled();
  assert.deepEqual([hub.made.length, state(hub, 'one')], [2, 'up']);
  assert.equal(hub.live.get('one')?.attachment, before);
  assert.equal(before?.traffic.rxPackets, 1);
  assert.equal(hub.node.transport.path(destination), undefined);
});

test('a reload opens the medium again, as it is configured now, and keeps the paths', async t => {
  let latest = client('one');
  const hub = await bench(t, [client('one')], () => latest);
  const destination = await heard(hub);
  await hub.live.reload('one');
  await settled();
  assert.deepEqual([hub.made.length, state(hub, 'one')], [2, 'up']);
  assert.ok(hub.node.transport.path(destination), toHex(destination));
  latest = client('one', { mode: 'boundary' });
  await hub.live.reload('one');
  await settled();
  assert.equal(hub.live.get('one')?.config.mode, 'boundary');
  assert.equal(hub.made.length, 3);
});

test('a change that cannot be made changes nothing', async t => {
  const hub = await bench(t, [client('one')]);
  const invalid = (error: unknown) => isGatewayError(error, 'config/invalid');
  await assert.rejects(hub.live.change(client('one', { ifac: { networkName: 'unreadable' } })), invalid);
  await assert.rejects(hub.live.change(client('one', { host: 'nowhere' })), invalid);
  await assert.rejects(hub.live.add(client('two', { host: 'nowhere' }), 'api'), invalid);
  await assert.rejects(
    hub.live.replace(() => [
      { config: client('three'), origin: 'file' },
      { config: client('four', { ifac: { networkName: 'unreadable' } }), origin: 'file' },
    ]),
    invalid,
  );
  await settled();
  assert.deepEqual(names(hub.live), ['one']);
  assert.deepEqual([state(hub, 'one'), hub.made.length], ['up', 1]);
  assert.equal(hub.live.get('one')?.config.ifac, undefined);
});

test('names are taken once, and a name that nobody has is not found', async t => {
  const hub = await bench(t, [client('one')]);
  await assert.rejects(hub.live.add(client('one'), 'api'), error =>
    isGatewayError(error, 'request/conflict'),
  );
  for (const wrong of [
    hub.live.attach('two'),
    hub.live.detach('two'),
    hub.live.reload('two'),
    hub.live.remove('two'),
    hub.live.change(client('two')),
  ]) {
    await assert.rejects(wrong, error => isGatewayError(error, 'request/not-found'));
  }
});

test('a list takes the place of another: only what differs is touched, and what was discovered is left alone', async t => {
  const hub = await bench(t, [client('same'), client('gone'), client('moved'), client('tuned')]);
  await hub.live.add(client('found'), 'discovery');
  const same = hub.live.get('same')?.attachment;
  const changes = await hub.live.replace(() => [
    { config: client('same'), origin: 'file' },
    { config: client('moved', { port: 4343 }), origin: 'file' },
    { config: client('tuned', { mode: 'roaming' }), origin: 'file' },
    { config: client('fresh'), origin: 'api' },
  ]);
  await settled();
  assert.deepEqual(changes, {
    added: ['fresh'],
    removed: ['gone'],
    restarted: ['moved'],
    governed: ['tuned'],
  });
  assert.deepEqual(names(hub.live).sort(), ['found', 'fresh', 'moved', 'same', 'tuned']);
  assert.equal(hub.live.get('same')?.attachment, same);
  assert.deepEqual(
    ['same', 'moved', 'tuned', 'fresh', 'found'].map(name => state(hub, name)),
    ['up', 'up', 'up', 'up', 'up'],
  );
});

test('one that is not enabled is listed and not used until it is', async t => {
  const hub = await bench(t, [client('one', { enabled: false })]);
  assert.deepEqual([hub.made.length, hub.live.get('one')?.attachment], [0, undefined]);
  assert.equal(await hub.live.change(client('one')), 'restarted');
  await settled();
  assert.equal(state(hub, 'one'), 'up');
  await hub.live.change(client('one', { enabled: false }));
  assert.equal(hub.live.get('one')?.attachment, undefined);
});

test('another access code is another medium', async t => {
  const hub = await bench(t, [client('one', { ifac: { networkName: 'elm' } })]);
  assert.equal(
    await hub.live.change(client('one', { ifac: { networkName: 'elm' }, mode: 'gateway' })),
    'governed',
  );
  assert.equal(
    await hub.live.change(client('one', { ifac: { networkName: 'oak' }, mode: 'gateway' })),
    'restarted',
  );
  assert.equal(await hub.live.change(client('one', { mode: 'gateway' })), 'restarted');
  assert.equal(hub.live.get('one')?.attachment?.policy.accessCode, undefined);
});

test('all end with the hub, also one that is being added just then', async t => {
  const hub = await bench(t, [client('one')]);
  const adding = hub.live.add(client('two'), 'api');
  await hub.stop();
  await adding;
  assert.ok(hub.made.every(({ port }) => port === undefined));
});

test('whatever is asked for in whatever order, what is listed is what runs, and nothing is left when the hub stops', async t => {
  const names = ['a', 'b', 'c'];
  const step = fc.record({
    verb: fc.constantFrom(
      'add',
      'remove',
      'attach',
      'detach',
      'reload',
      'govern',
      'move',
      'disable',
      'break',
      'replace',
    ),
    name: fc.constantFrom(...names),
    at: fc.integer({ min: 0, max: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
      const hub = await bench(t, []);
      const { live, node } = hub;
      const asked = steps.map(({ verb, name, at }): Promise<unknown> => {
        switch (verb) {
          case 'add':
            return live.add(client(name), 'api');
          case 'govern':
            return live.change(client(name, { mode: at % 2 ? 'gateway' : 'roaming' }));
          case 'move':
            return live.change(client(name, { port: 1 + at }));
          case 'disable':
            return live.change(client(name, { enabled: at % 2 === 0 }));
          case 'break':
            return live.change(client(name, { host: 'nowhere' }));
          case 'replace':
            return live.replace(() =>
              names.slice(0, at % 4).map(one => ({ config: client(one), origin: 'file' })),
            );
          default:
            return live[verb](name);
        }
      });
      for (const result of await Promise.allSettled(asked)) {
        if (result.status === 'rejected') {
          assert.ok(
            isGatewayError(result.reason, 'request/not-found', 'request/conflict', 'config/invalid'),
            String(result.reason),
          );
        }
      }
      await settled();
      const used = live.list().filter(({ attachment }) => attachment !== undefined);
      assert.deepEqual(
        [...node.transport.interfaces()].map(({ name }) => name).sort(),
        used.map(({ config: { name } }) => name).sort(),
      );
      for (const { config, attachment } of used) {
        assert.equal(attachment?.online, true, config.name);
        assert.equal(attachment?.policy.mode, config.mode);
        assert.equal(hub.health.get(config.name)?.state, 'up');
      }
      assert.deepEqual([...hub.health.keys()].sort(), used.map(({ config: { name } }) => name).sort());
      await hub.stop();
      assert.ok(hub.made.every(({ port }) => port === undefined));
    }),
    { numRuns: 60 },
  );
});

test('a list that takes the place of another is asked for in its turn, and changes nothing where a name is taken', async t => {
  const hub = await bench(t, [client('one'), client('two')]);
  hub.node.use(hub.air.join('other'));
  const entries = (...names: string[]) =>
    names.map(name => ({ config: client(name), origin: 'file' as const }));
  await assert.rejects(
    hub.live.replace(() => entries('two', 'other')),
    { code: 'request/conflict' },
  );
  assert.deepEqual(
    hub.live.list().map(({ config }) => config.name),
    ['one', 'two'],
  );
  const added = hub.live.add(client('three'), 'api');
  const replaced = hub.live.replace(() => entries(...hub.live.list().map(({ config }) => config.name)));
  await Promise.all([added, replaced]);
  assert.equal(hub.live.list().length, 3);
});

test('a device that fails ends the run of all where that is asked for; a connection that is lost does not', async () => {
  const endsWith = async (config: InterfaceConfig, exitOnError: boolean) => {
    const clock = new ManualClock();
    const node = new TestNode({ clock });
    const live = createLiveInterfaces([{ config, origin: 'file' }], {
      clock,
      random: node.random,
      log: silentLog,
      transport: node.transport,
      exitOnError,
      create: ({ name }) => ({
        name,
        mtu: 500,
        bitrate: 1000,
        async run(port) {
          port.ready();
          throw new GatewayError('radio/offline', 'unplugged', { retryable: true });
        },
        send: async () => {},
      }),
      policyFor: () => ({}),
      report: () => {},
      forget: () => {},
    });
    const end = new AbortController();
    const ended = live.run(end.signal).then(
      () => 'stopped',
      (error: Error) => error.message,
    );
    await settled();
    end.abort();
    return ended;
  };
  const line = interfaceSchema.parse({ name: 'line', kind: 'serial', port: '/dev/null' }) as InterfaceConfig;
  assert.equal(await endsWith(line, true), 'line failed: unplugged');
  assert.equal(await endsWith(line, false), 'stopped');
  assert.equal(await endsWith(client('uplink'), true), 'stopped');
});
