import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InterfaceView, PathView } from '../../../src/bridges/http/mesh.ts';
import type { ReplicaDesk } from '../../../src/gateway/replicas/contract.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { openGateway } from '../gateway.ts';

const radio: InterfaceView = {
  name: 'lora',
  kind: 'rnode',
  state: 'up',
  since: 1000,
  bitrate: 3125,
  mtu: 508,
  rx: { packets: 3, bytes: 300 },
  tx: { packets: 2, bytes: 200, failed: 1 },
  airtime: { shortPercent: 4, longPercent: 2, limitPercent: 10, usedMs: 72_000, budgetMs: 360_000 },
  radio: { frequency: 869_525_000, bandwidth: 125_000, spreadingFactor: 8, codingRate: 5, txPower: 14 },
};
const peer: InterfaceView = {
  ...radio,
  name: 'lora/a',
  kind: 'peer',
  parent: 'lora',
  rx: { packets: 1, bytes: 1000 },
};
const pathTo = (digit: string): PathView => ({
  destination: digit.repeat(32),
  hops: 1,
  interface: 'lora',
  nextHop: digit.repeat(32),
  heard: 1,
  expires: 2,
});

test('interfaces, paths, links and announces are for who may read the mesh', async () => {
  const mesh = { interfaces: () => [radio, peer], paths: () => ['c', 'a', 'b'].map(pathTo) };
  await using gateway = await openGateway({ mesh });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  const { body } = await gateway.call(watcher, 'GET', '/v1/mesh/interfaces');
  assert.deepEqual(body.items, [radio, peer]);
  const page = await gateway.call(watcher, 'GET', '/v1/mesh/paths?limit=2');
  assert.deepEqual(
    page.body.items.map(({ destination }: PathView) => destination[0]),
    ['a', 'b'],
  );
  const rest = await gateway.call(watcher, 'GET', `/v1/mesh/paths?after=${page.body.cursor}`);
  assert.deepEqual([rest.body.items[0].destination[0], rest.body.cursor], ['c', null]);
  for (const path of ['interfaces', 'paths', 'links', 'announces']) {
    assert.equal((await gateway.call(watcher, 'GET', `/v1/mesh/${path}`)).status, 200, path);
    assert.equal((await gateway.call(reader, 'GET', `/v1/mesh/${path}`)).status, 403, path);
  }
});

test('metrics are text with as many labels as there are parts, for who has the scope', async () => {
  await using gateway = await openGateway({ mesh: { interfaces: () => [radio, peer] } });
  const scraper = await gateway.client('scraper', { scopes: ['metrics'] });
  gateway.hub.counters.add('wire/malformed', 7);
  const { status, headers, body } = await gateway.call(scraper, 'GET', '/metrics');
  assert.equal(status, 200);
  assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const lines = String(body).trimEnd().split('\n');
  for (const line of lines) {
    assert.match(line, /^(?:# (?:HELP|TYPE) \w+ .+|\w+(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})? -?[\d.e+]+)$/);
  }
  assert.ok(lines.includes('kos_events_total{event="wire/malformed"} 7'));
  assert.ok(lines.includes('kos_interface_up{interface="lora"} 1'));
  assert.ok(lines.includes('kos_interface_received_bytes_total{interface="lora"} 1300'), 'with its peers');
  assert.ok(lines.includes('kos_airtime_used_seconds{interface="lora"} 72'));
  assert.ok(!String(body).includes('lora/a'), 'peers come and go: they are no label');
  const reader = await gateway.client('reader', { scopes: ['mesh:read'] });
  assert.equal((await gateway.call(reader, 'GET', '/metrics')).status, 403);
});

test('a hub without replicas says so, and shows an empty list', async () => {
  await using gateway = await openGateway();
  const owner = gateway.hub.ownerToken;
  assert.deepEqual((await gateway.call(owner, 'GET', '/v1/replicas')).body, { items: [], cursor: null });
  assert.equal((await gateway.call(owner, 'GET', '/v1/replicas/notes/queue')).status, 404);
});

test('the queue of a replica is read, tried again and decided by the owner alone', async () => {
  await using gateway = await openGateway();
  const row = (id: string) => ({
    id,
    service: 'notes',
    method: 'POST',
    path: '/notes',
    state: 'conflict' as const,
    attempts: 1,
    createdAt: 1,
  });
  const asked: string[] = [];
  const replicas: ReplicaDesk = {
    list: () => [
      {
        id: 'notes',
        title: 'Notes',
        link: 'offline',
        since: 1,
        cached: { entries: 1, bytes: 2 },
        queue: { waiting: 2, blocked: 0, conflicts: 1 },
      },
    ],
    queue(service) {
      if (service !== 'notes') {
        throw new GatewayError('request/not-found', 'no such replica');
      }
      return ['one', 'two', 'three'].map(row);
    },
    retry: async (_, id) => {
      asked.push(`retry ${id}`);
      return row(id);
    },
    resolve: async (_, id, how) => {
      asked.push(`${how} ${id}`);
      return row(id);
    },
    force: (id, offline) => void asked.push(`${id} ${offline}`),
  };
  Object.assign(gateway.desk, { replicas });
  const owner = gateway.hub.ownerToken;
  const ask = (method: string, path: string, body?: unknown) =>
    gateway.call(owner, method, `/v1/replicas/${path}`, body);
  const page = await ask('GET', 'notes/queue?limit=2');
  assert.deepEqual(
    page.body.items.map(({ id }: { id: string }) => id),
    ['one', 'two'],
  );
  assert.equal((await ask('GET', `notes/queue?after=${page.body.cursor}`)).body.items[0].id, 'three');
  assert.equal((await ask('GET', 'other/queue')).status, 404);
  await ask('POST', 'notes/queue/one/retry');
  await ask('POST', 'notes/queue/one/resolve', { how: 'mine' });
  await ask('DELETE', 'notes/queue/two');
  assert.equal((await ask('POST', 'notes/link', { offline: true })).body.id, 'notes');
  assert.deepEqual(asked, ['retry one', 'mine one', 'discard two', 'notes true']);
  assert.equal((await ask('POST', 'notes/queue/one/resolve', { how: 'somehow' })).status, 400);
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  assert.equal((await gateway.call(watcher, 'GET', '/v1/replicas')).body.items[0].link, 'offline');
  assert.equal((await gateway.call(watcher, 'GET', '/v1/replicas/notes/queue')).status, 403);
  assert.equal((await gateway.call(watcher, 'DELETE', '/v1/replicas/notes/queue/one')).status, 403);
});
