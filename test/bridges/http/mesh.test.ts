import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dropCodes } from '../../../src/bridges/http/drops.ts';
import type { InterfaceView, MeshView, PathView } from '../../../src/bridges/http/mesh.ts';
import type { ReplicaDesk } from '../../../src/gateway/replicas/contract.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { openGateway } from '../gateway.ts';

const root = join(import.meta.dirname, '../../..');

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
  total: { rx: { packets: 4, bytes: 1300, announces: 2 }, tx: { packets: 2, bytes: 200 } },
  peers: 1,
  queue: { bytes: 508, announces: 3, held: 1 },
  radio: { frequency: 869_525_000, bandwidth: 125_000, spreadingFactor: 8, codingRate: 5, txPower: 14 },
};
const { total: _total, ...single } = radio;
const peer: InterfaceView = {
  ...single,
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
  const mesh = {
    interfaces: () => [radio, peer],
    pathCounts: () =>
      new Map([
        ['lora', 7],
        ['gone', 1],
      ]),
    linkCounts: () => new Map([['active', 2]]),
    sizes: () => ({ paths: 8 }),
  };
  await using gateway = await openGateway({ mesh });
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
  for (const line of [
    'kos_interface_received_packets_total{interface="lora"} 4',
    'kos_interface_received_announces_total{interface="lora"} 2',
    'kos_interface_peers{interface="lora"} 1',
    'kos_interface_queue_bytes{interface="lora"} 508',
    'kos_interface_announces_waiting{interface="lora"} 3',
    'kos_interface_announces_held{interface="lora"} 1',
    'kos_drops_total{code="wire/malformed"} 7',
    'kos_drops_total{code="relay/queue-full"} 0',
    'kos_paths{interface="lora"} 7',
    'kos_links{state="active"} 2',
    'kos_table_entries{table="paths"} 8',
  ]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(!String(body).includes('"gone"'), 'what is not configured is no label');
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

test('the codes of what is dropped are those of the code', () => {
  const text = globSync('src/**/*.ts', { cwd: root })
    .filter(path => !path.endsWith('http/drops.ts'))
    .map(path => readFileSync(join(root, path), 'utf8'))
    .join('');
  assert.deepEqual(
    dropCodes.filter(code => !text.includes(`'${code}'`)),
    [],
  );
});

test('the tables of the mesh are read in order, page by page, by interface, distance and name', async () => {
  const paths = Array.from({ length: 2000 }, (_, n): PathView => {
    const destination = ((n * 7919) % 2000).toString(16).padStart(32, '0');
    const over = n % 2 === 0 ? 'lan' : 'server/192.0.2.1:5000';
    return { destination, hops: 1 + (n % 3), interface: over, nextHop: destination, heard: 1, expires: 2 };
  });
  const announces = paths.map(({ destination, hops, interface: over }) => ({
    destination,
    identity: destination,
    heard: 1,
    hops,
    interface: over,
    ...(hops === 1 && { aspect: 'lxmf.delivery' }),
  }));
  const mesh = { paths: () => paths, announces: () => announces };
  await using gateway = await openGateway({ mesh });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const all = async (path: string) => {
    const seen: string[] = [];
    let after = '';
    do {
      const { body } = await gateway.call(
        watcher,
        'GET',
        `${path}${path.includes('?') ? '&' : '?'}limit=200${after}`,
      );
      seen.push(...body.items.map((one: PathView) => one.destination));
      after = body.cursor === null ? '' : `&after=${body.cursor}`;
    } while (after !== '');
    return seen;
  };
  assert.deepEqual(await all('/v1/mesh/paths'), paths.map(({ destination }) => destination).sort());
  const server = await all('/v1/mesh/paths?interface=server');
  assert.equal(server.length, 1000);
  assert.deepEqual(await all('/v1/mesh/paths?interface=serv'), []);
  assert.equal((await all('/v1/mesh/paths?maxHops=1')).length, 667);
  assert.deepEqual(await all(`/v1/mesh/paths?destination=${server[3]}`), [server[3]]);
  assert.equal((await all('/v1/mesh/announces?aspect=lxmf.delivery')).length, 667);
  assert.deepEqual(await all(`/v1/mesh/announces?identity=${server[5]}`), [server[5]]);
  assert.equal((await gateway.call(watcher, 'GET', '/v1/mesh/links?maxHops=1')).status, 400);
});

test('a page of a long table is made without making the rest of it', async () => {
  let made = 0;
  function* paths(may: (destination: string) => boolean = () => true): Iterable<PathView> {
    for (let n = 0; n < 20_000; n++) {
      const destination = ((n * 7919) % 20_000).toString(16).padStart(32, '0');
      if (may(destination)) {
        made += 1;
        yield { destination, hops: 1, interface: 'lan', nextHop: destination, heard: 1, expires: 2 };
      }
    }
  }
  await using gateway = await openGateway({ mesh: { paths } });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const { body } = await gateway.call(watcher, 'GET', '/v1/mesh/paths?limit=10');
  assert.equal(body.items.length, 10);
  assert.ok(made < 1000, `${made} of 20 000`);
  made = 0;
  const one = body.items[3].destination;
  assert.equal(
    (await gateway.call(watcher, 'GET', `/v1/mesh/paths?destination=${one}`)).body.items.length,
    1,
  );
  assert.equal(made, 1);
});

test('a crowd of peers is read page by page, each behind the interface that found it', async () => {
  const { total: _total, ...single } = radio;
  const peers = Array.from({ length: 300 }, (_, n): InterfaceView => {
    const parent = n % 2 === 0 ? 'server' : 'backup';
    return { ...single, name: `${parent}/192.0.2.${n}:5000`, kind: 'peer', parent };
  });
  const root = (name: string): InterfaceView => ({ ...radio, name, kind: 'tcp-server' });
  const interfaces = [root('server'), root('backup'), ...peers];
  await using gateway = await openGateway({ mesh: { interfaces: () => interfaces } });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const seen: string[] = [];
  let after = '';
  do {
    const { body } = await gateway.call(watcher, 'GET', `/v1/mesh/interfaces?limit=7${after}`);
    seen.push(...body.items.map(({ name }: InterfaceView) => name));
    after = body.cursor === null ? '' : `&after=${encodeURIComponent(body.cursor)}`;
  } while (after !== '');
  const of = (name: string) => [
    name,
    ...peers
      .filter(({ parent }) => parent === name)
      .map(peer => peer.name)
      .sort(),
  ];
  assert.deepEqual(seen, [...of('server'), ...of('backup')]);
});

test('rates and links of others are read, and ways are forgotten by who may', async () => {
  const hash = (digit: string) => digit.repeat(32);
  const dropped: object[] = [];
  const mesh: Partial<MeshView> = {
    rates: () => [{ destination: hash('b'), heard: 5, tooSoon: 2, blockedUntil: 9 }],
    transit: () => [
      {
        id: hash('c'),
        destination: hash('d'),
        from: 'lan',
        to: 'lora',
        taken: 1,
        remaining: 2,
        proven: true,
      },
    ],
    paths: () => [pathTo('a'), { ...pathTo('b'), nextHop: hash('f') }],
    dropPaths(which) {
      dropped.push(which);
      return which.destination === hash('0') ? 0 : 1;
    },
  };
  await using gateway = await openGateway({ mesh });
  const watcher = await gateway.client('watcher', { scopes: ['mesh:read'] });
  const owner = gateway.hub.ownerToken;
  assert.equal((await gateway.call(watcher, 'GET', '/v1/mesh/rates')).body.items[0].tooSoon, 2);
  assert.equal((await gateway.call(watcher, 'GET', '/v1/mesh/transit')).body.items[0].to, 'lora');
  const over = await gateway.call(watcher, 'GET', `/v1/mesh/paths?nextHop=${hash('f')}`);
  assert.deepEqual(
    over.body.items.map(({ destination }: PathView) => destination),
    [hash('b')],
  );
  assert.equal((await gateway.call(watcher, 'DELETE', `/v1/mesh/paths/${hash('a')}`)).status, 403);
  assert.equal((await gateway.call(owner, 'DELETE', `/v1/mesh/paths/${hash('a')}`)).status, 204);
  assert.equal((await gateway.call(owner, 'DELETE', `/v1/mesh/paths/${hash('0')}`)).status, 404);
  assert.equal(
    (await gateway.call(owner, 'DELETE', '/v1/mesh/paths')).status,
    400,
    'all ways at once are not meant',
  );
  const many = await gateway.call(owner, 'DELETE', `/v1/mesh/paths?nextHop=${hash('f')}`);
  assert.deepEqual([many.status, many.body], [200, { dropped: 1 }]);
  assert.deepEqual(dropped, [{ destination: hash('a') }, { destination: hash('0') }, { nextHop: hash('f') }]);
});
