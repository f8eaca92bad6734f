import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config.ts';
import type { Client } from '../../src/gateway/desk.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { type Hub, startHub } from '../../src/start/hub.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at, not used.
type Json = any;

interface Bench {
  readonly folder: string;
  readonly hub: Hub;
  readonly log: { level: string };
  write(config: Record<string, unknown>): Promise<void>;
  call(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: Json; headers: Headers }>;
  /** Stops the hub and starts it again on the same folder and file. */
  restart(): Promise<Bench>;
}

const server = (name: string, more: object = {}) => ({
  name,
  kind: 'tcp-server',
  host: '127.0.0.1',
  port: 0,
  ...more,
});

async function open(t: TestContext, config: Record<string, unknown>, at?: string): Promise<Bench> {
  const folder = at ?? (await mkdtemp(join(tmpdir(), 'kos-reload-')));
  const file = join(folder, 'kos.yaml');
  const ports = { listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' } };
  const write = (wanted: Record<string, unknown>) => writeFile(file, stringify({ ...ports, ...wanted }));
  if (at === undefined) {
    await write(config);
    t.after(() => rm(folder, { recursive: true, force: true }));
  }
  const reread = () => loadConfig({ file });
  const log = { ...silentLog, level: 'info' };
  const hub = await startHub({
    config: reread(),
    reread,
    file,
    clock: systemClock,
    random: systemRandom,
    log,
    ownerTokenFile: await ownerToken(folder),
  });
  let closed = false;
  const close = async () => {
    if (!closed) {
      closed = true;
      await hub.close();
    }
  };
  t.after(close);
  return {
    folder,
    hub,
    log,
    write,
    async call(method, path, body, more = {}) {
      const answer = await fetch(`${hub.httpUrl}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...more,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      return {
        status: answer.status,
        body: text === '' ? undefined : JSON.parse(text),
        headers: answer.headers,
      };
    },
    async restart() {
      await close();
      return open(t, config, folder);
    },
  };
}

const token = 'kos_0123456789abcdef0123456789abcdef';

async function ownerToken(folder: string): Promise<string> {
  const file = join(folder, 'token');
  await writeFile(file, token, { mode: 0o600 });
  return file;
}

/** A connection to a listening interface. */
async function connected(t: TestContext, hub: Hub, name: string): Promise<Socket> {
  const [host, port] = (hub.interfaceAddresses()[name] as string).split(':');
  const socket = createConnection({ host: host as string, port: Number(port) });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await new Promise(resolve => socket.once('connect', resolve));
  return socket;
}

test('a reload takes over what a running hub can, says what needs a restart, and disturbs nobody else', async t => {
  const bench = await open(t, { hub: { name: 'Elm' }, interfaces: [server('one'), server('two')] });
  const socket = await connected(t, bench.hub, 'one');
  let closed = false;
  socket.once('close', () => {
    closed = true;
  });
  await bench.write({
    hub: { name: 'Oak' },
    interfaces: [server('one', { mode: 'gateway' }), server('three')],
    rooms: { garden: { members: [] } },
    routes: [{ from: 'mqtt:dev/#', to: ['app:owner'] }],
    log: 'warn',
    bridges: { mqtt: { anonymous: true } },
  });
  const { status, body } = await bench.call('POST', '/v1/config/reload');
  assert.equal(status, 200);
  const { applied, restart, interfaces } = body;
  assert.deepEqual(applied.sort(), [
    'hub.name',
    'interfaces.one',
    'interfaces.three',
    'interfaces.two',
    'log',
    'rooms.garden',
    'routes',
  ]);
  assert.deepEqual(restart, ['bridges.mqtt.anonymous']);
  assert.deepEqual(interfaces, { added: ['three'], removed: ['two'], restarted: [], governed: ['one'] });
  const list = await bench.call('GET', '/v1/mesh/interfaces');
  assert.deepEqual(
    list.body.items.filter((one: Json) => one.parent === undefined).map((one: Json) => [one.name, one.state]),
    [
      ['one', 'up'],
      ['three', 'up'],
    ],
  );
  assert.equal(bench.log.level, 'warn');
  assert.equal((await bench.call('GET', '/v1/status')).body.hub.name, 'Oak');
  const rooms = (await bench.call('GET', '/v1/rooms')).body.items.map((room: Json) => room.name);
  assert.ok(rooms.includes('garden'));
  assert.equal(closed, false, 'who is connected to an interface that is only used in another way stays so');
  const again = await bench.call('POST', '/v1/config/reload');
  assert.deepEqual([again.body.applied, again.body.restart], [[], ['bridges.mqtt.anonymous']]);
  const shown = await bench.call('GET', '/v1/config');
  assert.deepEqual(shown.body.restart, ['bridges.mqtt.anonymous']);
  assert.equal(shown.body.config.bridges.mqtt.anonymous, false, 'what is in force');
});

test('a file with mistakes changes nothing, and every mistake is told', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  await bench.write({
    hub: { name: 'Oak' },
    interfaces: [server('one', { port: 70_000 }), server('two', { mode: 'loud' })],
    log: 'shout',
  });
  const { status, body } = await bench.call('POST', '/v1/config/reload');
  assert.deepEqual([status, body.code], [422, 'config/invalid']);
  assert.deepEqual(
    body.errors.map((error: Json) => error.pointer),
    ['interfaces.0.port', 'interfaces.1.mode', 'log'],
  );
  assert.match(body.errors[0].detail, /70000.*65535/);
  const list = await bench.call('GET', '/v1/mesh/interfaces');
  assert.deepEqual(
    list.body.items.map((one: Json) => one.name),
    ['one'],
  );
  assert.equal((await bench.call('GET', '/v1/status')).body.hub.name, 'kOS hub');
  await assert.rejects(bench.hub.reload(), error => isGatewayError(error, 'config/invalid'));
});

test('what the API changes of the interfaces is in force at once and after a restart, and the file stays as it was', async t => {
  let bench = await open(t, { interfaces: [server('one'), server('two')] });
  const text = await readFile(join(bench.folder, 'kos.yaml'), 'utf8');
  const added = await bench.call('POST', '/v1/mesh/interfaces', server('three'));
  assert.deepEqual([added.status, added.body.origin, added.body.interface.state], [201, 'api', 'up']);
  const changed = await bench.call('PATCH', '/v1/mesh/interfaces/one', {
    mode: 'boundary',
    announce: { cap: 4 },
  });
  assert.deepEqual(
    [changed.status, changed.body.origin, changed.body.changed, changed.body.config.mode],
    [200, 'file', true, 'boundary'],
  );
  assert.equal((await bench.call('DELETE', '/v1/mesh/interfaces/two')).status, 204);
  assert.equal((await stat(join(bench.folder, 'data', 'interfaces.json'))).mode & 0o777, 0o600);
  bench = await bench.restart();
  const list = await bench.call('GET', '/v1/mesh/interfaces');
  assert.deepEqual(
    list.body.items.map((one: Json) => [one.name, one.state]),
    [
      ['one', 'up'],
      ['three', 'up'],
    ],
  );
  const one = await bench.call('GET', '/v1/mesh/interfaces/one');
  assert.deepEqual([one.body.config.mode, one.body.config.announce], ['boundary', { cap: 4 }]);
  const shown = await bench.call('GET', '/v1/config');
  assert.deepEqual(shown.body.overlaid, { three: 'added', one: 'changed', two: 'removed' });
  assert.equal(await readFile(join(bench.folder, 'kos.yaml'), 'utf8'), text);
  // What is forgotten is as the file has it.
  for (const name of ['one', 'two', 'three']) {
    assert.equal((await bench.call('POST', `/v1/mesh/interfaces/${name}/reset`)).status, 204, name);
  }
  assert.deepEqual(
    bench.hub.interfaces
      .list()
      .map(({ config: { name, mode } }) => [name, mode])
      .sort(),
    [
      ['one', 'full'],
      ['two', 'full'],
    ],
  );
  assert.equal((await bench.call('POST', '/v1/mesh/interfaces/one/reset')).status, 404);
});

test('an interface that cannot be is refused with every mistake, and one that cannot be kept is taken back', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  const wrong = await bench.call('POST', '/v1/mesh/interfaces', {
    name: 'two',
    kind: 'tcp-client',
    port: 0,
    colour: 'red',
  });
  assert.deepEqual([wrong.status, wrong.body.code], [400, 'request/invalid']);
  assert.deepEqual(wrong.body.errors.map((error: Json) => error.pointer).sort(), [
    '/colour',
    '/host',
    '/port',
  ]);
  assert.equal((await bench.call('POST', '/v1/mesh/interfaces', server('one'))).status, 409);
  assert.equal((await bench.call('POST', '/v1/mesh/interfaces', { name: 'x', kind: 'pigeon' })).status, 400);
  assert.equal((await bench.call('PATCH', '/v1/mesh/interfaces/one', { kind: 'lan' })).status, 422);
  assert.equal((await bench.call('PATCH', '/v1/mesh/interfaces/one', { port: -1 })).status, 422);
  assert.equal((await bench.call('PATCH', '/v1/mesh/interfaces/none', { mode: 'full' })).status, 404);
  assert.equal((await bench.call('DELETE', '/v1/mesh/interfaces/none')).status, 404);
  const unreadable = { ifac: { passphraseFile: 'nowhere' } };
  assert.equal((await bench.call('PATCH', '/v1/mesh/interfaces/one', unreadable)).status, 422);
  // Where the overlay cannot be written: a folder lies in its place.
  await mkdir(join(bench.folder, 'data', 'interfaces.json.new'));
  const unkept = await bench.call('POST', '/v1/mesh/interfaces', server('two'));
  assert.deepEqual([unkept.status, unkept.body.code], [503, 'store/unavailable']);
  assert.equal((await bench.call('PATCH', '/v1/mesh/interfaces/one', { mode: 'roaming' })).status, 503);
  assert.equal((await bench.call('DELETE', '/v1/mesh/interfaces/one')).status, 503);
  assert.deepEqual(
    bench.hub.interfaces.list().map(({ config: { name, mode } }) => [name, mode]),
    [['one', 'full']],
  );
});

test('more changes than the next start could read are not kept', async t => {
  let bench = await open(t, { interfaces: [server('one')] });
  const patch = Object.fromEntries([...Array(5000)].map((_, at) => [`key-${at}-${'x'.repeat(50)}`, null]));
  const { status, body } = await bench.call('PATCH', '/v1/mesh/interfaces/one', {
    ...patch,
    mode: 'boundary',
  });
  assert.deepEqual([status, body.code], [507, 'store/full']);
  assert.equal((await bench.call('GET', '/v1/mesh/interfaces/one')).body.config.mode, 'full');
  bench = await bench.restart();
  assert.equal((await bench.call('GET', '/v1/mesh/interfaces/one')).body.config.mode, 'full');
});

test('the overlay is part of what is checked: its mistakes are told by name, and a broken one is not passed over', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  const overlay = join(bench.folder, 'data', 'interfaces.json');
  await writeFile(overlay, JSON.stringify({ two: { added: server('two', { port: -1 }) } }));
  const mistaken = await bench.call('POST', '/v1/config/reload');
  assert.deepEqual(
    mistaken.body.errors.map((error: Json) => error.pointer),
    ['interfaces.json: two.port'],
  );
  await writeFile(overlay, '{');
  const broken = await bench.call('POST', '/v1/config/reload');
  assert.deepEqual([broken.status, broken.body.errors[0].detail], [422, 'not JSON']);
});

test('an interface is detached, attached and reloaded by name, and its listener is really closed and opened', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  const socket = await connected(t, bench.hub, 'one');
  const closed = new Promise(resolve => socket.once('close', resolve));
  const detached = await bench.call('POST', '/v1/mesh/interfaces/one/detach');
  assert.deepEqual(
    [detached.status, detached.body.interface.state, detached.body.interface.reason],
    [200, 'stopped', 'detached'],
  );
  await closed;
  assert.equal(bench.hub.interfaceAddresses().one, undefined);
  const ready = await fetch(`${bench.hub.httpUrl}/readyz`);
  assert.deepEqual(await ready.json(), { ready: true, failures: [] });
  const attached = await bench.call('POST', '/v1/mesh/interfaces/one/attach');
  assert.deepEqual([attached.status, attached.body.interface.state], [200, 'up']);
  const reloaded = await bench.call('POST', '/v1/mesh/interfaces/one/reload');
  assert.deepEqual([reloaded.status, reloaded.body.interface.state], [200, 'up']);
  await connected(t, bench.hub, 'one');
});

test('the level of the log is set at run time and held to what there is', async t => {
  const bench = await open(t, {});
  assert.deepEqual((await bench.call('GET', '/v1/log')).body, { level: 'info' });
  assert.deepEqual((await bench.call('PUT', '/v1/log', { level: 'debug' })).body, { level: 'debug' });
  assert.equal(bench.log.level, 'debug');
  const wrong = await bench.call('PUT', '/v1/log', { level: 'loud' });
  assert.deepEqual([wrong.status, wrong.body.errors[0].pointer], [400, '/level']);
  assert.equal((await bench.call('GET', '/v1/log')).body.level, 'debug');
});

test('which program a pipe runs is not for the API to say, how the mesh uses it is', async t => {
  const pipe = { name: 'child', kind: 'pipe', command: ['cat'], enabled: false };
  const bench = await open(t, { interfaces: [pipe] });
  const added = await bench.call('POST', '/v1/mesh/interfaces', { ...pipe, name: 'other' });
  assert.deepEqual([added.status, added.body.code], [403, 'request/forbidden']);
  const changed = await bench.call('PATCH', '/v1/mesh/interfaces/child', { command: ['sh', '-c', 'id'] });
  assert.equal(changed.status, 403);
  const used = await bench.call('PATCH', '/v1/mesh/interfaces/child', { mode: 'roaming' });
  assert.deepEqual([used.status, used.body.config.command], [200, ['cat']]);
});

test('only an owner changes interfaces, the configuration and the log', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  const minted = await bench.call('POST', '/v1/tokens', {
    name: 'watcher',
    scopes: ['mesh:read', 'metrics', 'messages:read', 'messages:send', 'peers:read', 'rooms:write', 'mqtt'],
  });
  for (const [method, path, body] of [
    ['POST', '/v1/mesh/interfaces', server('two')],
    ['GET', '/v1/mesh/interfaces/one'],
    ['PATCH', '/v1/mesh/interfaces/one', { mode: 'full' }],
    ['DELETE', '/v1/mesh/interfaces/one'],
    ['POST', '/v1/mesh/interfaces/one/attach'],
    ['POST', '/v1/mesh/interfaces/one/detach'],
    ['POST', '/v1/mesh/interfaces/one/reload'],
    ['POST', '/v1/mesh/interfaces/one/reset'],
    ['GET', '/v1/config'],
    ['POST', '/v1/config/reload'],
    ['GET', '/v1/log'],
    ['PUT', '/v1/log', { level: 'debug' }],
  ] as const) {
    const answer = await fetch(`${bench.hub.httpUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${minted.body.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    assert.equal(answer.status, 403, `${method} ${path}`);
    await answer.body?.cancel();
  }
  assert.equal(bench.log.level, 'info');
});

test('a way that is learnt over an interface is an event for who may read the mesh', async t => {
  const near = await open(t, { interfaces: [server('one')] });
  const port = Number(near.hub.interfaceAddresses().one?.split(':').at(-1));
  const far = await open(t, {
    interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port }],
  });
  const { events } = near.hub.desk;
  const owner = near.hub.desk.clients.list().find(({ name }) => name === 'owner') as Client;
  const start = events.cursor;
  const seen = () => events.read(owner, start, 200).items.filter(({ kind }) => kind === 'path.changed');
  const first = await until(() =>
    seen().find(({ path }) => (path as Json).destination === far.hub.facts.lxmf),
  );
  assert.deepEqual([(first.path as Json).change, (first.path as Json).hops], ['learnt', 1]);
  assert.match((first.path as Json).interface, /^one\//);
});

async function until<T>(found: () => T | undefined): Promise<T> {
  for (let waited = 0; waited < 60_000; waited += 20) {
    const value = found();
    if (value !== undefined) {
      return value;
    }
    await systemClock.sleep(20);
  }
  throw new Error(`did not come about within 60 s: ${found}`);
}

test('an interface and the level of the log are changed only where they are what their client has read', async t => {
  const bench = await open(t, { interfaces: [server('one')] });
  const path = '/v1/mesh/interfaces/one';
  const read = await bench.call('GET', path);
  const tag = read.headers.get('etag') ?? '';
  assert.match(tag, /^"[^"]+"$/);
  await connected(t, bench.hub, 'one');
  const changed = await bench.call('PATCH', path, { mode: 'gateway' }, { 'if-match': tag });
  assert.equal(changed.status, 200, 'what its traffic and its state have become is no change by others');
  const next = changed.headers.get('etag') ?? '';
  assert.notEqual(next, tag);
  for (const [method, where, body] of [
    ['PATCH', path, { mode: 'full' }],
    ['POST', `${path}/reset`, undefined],
    ['DELETE', path, undefined],
  ] as const) {
    for (const stale of [tag, `W/${next}`, '"other"']) {
      const refused = await bench.call(method, where, body, { 'if-match': stale });
      assert.equal(refused.status, 412, `${method} with ${stale}`);
      assert.equal(refused.body.code, 'request/precondition-failed');
    }
  }
  assert.equal((await bench.call('GET', path)).body.config.mode, 'gateway');
  assert.equal(
    (await bench.call('PATCH', path, { mode: 'full' }, { 'if-match': `"x", ${next}` })).status,
    200,
  );
  assert.equal((await bench.call('POST', `${path}/reset`, undefined, { 'if-match': '*' })).status, 204);
  const none = '/v1/mesh/interfaces/none';
  assert.equal((await bench.call('PATCH', none, { mode: 'full' }, { 'if-match': '*' })).status, 404);
  assert.equal((await bench.call('DELETE', path, undefined, { 'if-match': tag })).status, 204, 'as it was');

  const level = (await bench.call('GET', '/v1/log')).headers.get('etag') ?? '';
  const set = (to: string, ifMatch: string) =>
    bench.call('PUT', '/v1/log', { level: to }, { 'if-match': ifMatch });
  const debug = await set('debug', level);
  assert.equal(debug.status, 200);
  assert.equal((await set('trace', level)).status, 412);
  assert.equal(bench.log.level, 'debug');
  assert.equal((await set('trace', debug.headers.get('etag') ?? '')).status, 200);
});

test('starts, stops and reloads of the hub are on the record, those that failed too', async t => {
  const bench = await open(t, { hub: { name: 'Elm' } });
  await bench.write({ hub: { name: 'Oak' } });
  await bench.hub.reload();
  await bench.write({ hub: { name: 17 } });
  await assert.rejects(bench.hub.reload(), { code: 'config/invalid' });
  await bench.write({ hub: { name: 'Ash' } });
  assert.equal((await bench.call('POST', '/v1/config/reload')).status, 200);
  const again = await bench.restart();
  const { items } = (await again.call('GET', '/v1/audit')).body;
  const told = items
    .filter(({ action }: Json) => /^hub\.|^config\./.test(action))
    .map(({ actor, door, action, keys, status }: Json) => [actor, door, action, keys, status]);
  assert.deepEqual(told.reverse(), [
    ['hub', 'hub', 'hub.start', undefined, 200],
    ['hub', 'hub', 'config.reload', ['hub.name'], 200],
    ['hub', 'hub', 'config.reload', undefined, 422],
    ['app:owner', 'token', 'config.reload', undefined, 200],
    ['hub', 'hub', 'hub.stop', undefined, 200],
    ['hub', 'hub', 'hub.start', undefined, 200],
  ]);
  assert.equal(items[0].target, again.hub.facts.version);
});
