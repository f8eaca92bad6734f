import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlackholeView, ProbeAsked } from '../../../src/bridges/http/mesh-management.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { openGateway } from '../gateway.ts';

const hash = (digit: string) => digit.repeat(32);

test('a probe says how long each answer took, and needs somebody to ask', async () => {
  const asked: ProbeAsked[] = [];
  const report = {
    destination: hash('a'),
    hops: 2,
    interface: 'uplink',
    nextHop: hash('b'),
    sent: 2,
    received: 1,
    lossPercent: 50,
    rtt: { min: 12, avg: 12, max: 12 },
    probes: [{ rtt: 12, rssi: -90, snr: 7.5 }, { code: 'mesh/timeout' }],
  };
  await using gateway = await openGateway({
    management: {
      probe: async one => {
        asked.push(one);
        return report;
      },
    },
  });
  const owner = gateway.hub.ownerToken;
  const { status, body } = await gateway.call(owner, 'POST', '/v1/mesh/probe', { destination: hash('a') });
  assert.equal(status, 200);
  assert.deepEqual(body, report);
  assert.deepEqual(asked, [{ destination: hash('a'), count: 1, size: 16, pause: 1000 }]);
  for (const wrong of [{}, { destination: hash('a'), node: hash('b') }, { node: hash('b'), count: 17 }]) {
    assert.equal((await gateway.call(owner, 'POST', '/v1/mesh/probe', wrong)).status, 400);
  }
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const refused = await gateway.call(watcher, 'POST', '/v1/mesh/probe', { node: hash('b') });
  assert.equal(refused.status, 403);
});

test('a path that nobody tells is no path yet', async () => {
  await using gateway = await openGateway();
  const owner = gateway.hub.ownerToken;
  const { status, body } = await gateway.call(owner, 'POST', '/v1/mesh/path-request', {
    destination: hash('a'),
  });
  assert.deepEqual([status, body.code], [503, 'mesh/no-path']);
});

test('identities are left out and heard again by who looks after the hub', async () => {
  const list = new Map<string, BlackholeView>([
    [hash('a'), { identity: hash('a'), from: 'source', source: hash('b'), reason: 'floods' }],
  ]);
  await using gateway = await openGateway({
    management: {
      blackhole: {
        list: () => [...list.values()],
        add: async (identity, how) => {
          if (identity === hash('f')) {
            throw new GatewayError('store/full', 'no room');
          }
          const isNew = !list.has(identity);
          list.set(identity, { identity, from: 'hub', ...(how.until !== undefined && { until: how.until }) });
          return isNew;
        },
        remove: async identity => list.delete(identity),
      },
    },
  });
  const owner = gateway.hub.ownerToken;
  const first = await gateway.call(owner, 'GET', '/v1/mesh/blackhole');
  assert.deepEqual(first.body.items, [...list.values()]);
  const entry = { identity: hash('c'), until: 2_000_000_000_000 };
  const added = await gateway.call(owner, 'POST', '/v1/mesh/blackhole', entry);
  assert.deepEqual([added.status, added.body], [201, { ...entry, from: 'hub' }]);
  assert.equal((await gateway.call(owner, 'POST', '/v1/mesh/blackhole', entry)).status, 200);
  const full = await gateway.call(owner, 'POST', '/v1/mesh/blackhole', { identity: hash('f') });
  assert.equal(full.status, 507);
  const path = `/v1/mesh/blackhole/${hash('c')}`;
  assert.equal((await gateway.call(owner, 'DELETE', path)).status, 204);
  assert.equal((await gateway.call(owner, 'DELETE', path)).status, 404);
  assert.equal((await gateway.call(owner, 'DELETE', '/v1/mesh/blackhole/nobody')).status, 400);
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  assert.equal((await gateway.call(watcher, 'GET', '/v1/mesh/blackhole')).status, 403);
});

test('discovered interfaces are for who may read the mesh', async () => {
  const found = {
    name: 'Elm Street',
    type: 'BackboneInterface',
    status: 'available' as const,
    reachableOn: 'elm.example',
    port: 4242,
    transport: true,
    transportId: hash('a'),
    networkId: hash('b'),
    hops: 2,
    value: 17,
    discovered: 1,
    heard: 2,
    heardCount: 3,
    refusal: 'not verified',
  };
  const open = { ...found, name: 'Oak Street', configEntry: '[[Oak Street]]' };
  const published = {
    ...found,
    ...{ networkName: 'elm', passphrase: 'street', configEntry: '[[Elm Street]]\n  passphrase = street' },
  };
  await using gateway = await openGateway({ management: { discovered: () => [published, open] } });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const { status, body } = await gateway.call(watcher, 'GET', '/v1/mesh/discovered');
  assert.deepEqual([status, body.items], [200, [{ ...found, networkName: 'elm' }, open]]);
  const owner = await gateway.client('boss', { scopes: ['admin'] });
  assert.deepEqual((await gateway.call(owner, 'GET', '/v1/mesh/discovered')).body.items, [published, open]);
});
