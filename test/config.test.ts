import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { configJsonSchema, formatMistakes, loadConfig } from '../src/config.ts';
import { type GatewayError, isGatewayError } from '../src/lib/errors.ts';
import { radioPlan } from '../src/radio/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'kos-config-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

function file(text: string): string {
  count += 1;
  const path = join(folder, `${count}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** The mistakes by path. */
function mistakes(text: string, environment: Record<string, string> = {}): Record<string, string> {
  try {
    loadConfig({ file: file(text), environment });
  } catch (error) {
    assert.ok(isGatewayError(error, 'config/invalid'));
    return Object.fromEntries(error.errors.map(mistake => [mistake.pointer, mistake.detail]));
  }
  return {};
}

test('the example is a good configuration', () => {
  const example = fileURLToPath(new URL('../config.example.yaml', import.meta.url));
  const config = loadConfig({ file: example });
  assert.equal(config.hub.name, 'Elm Street');
  assert.equal(config.interfaces.length, 3);
  assert.equal(config.hub.data, resolve(example, '..', 'data'));
});

test('no file at all is a good configuration', () => {
  const config = loadConfig({});
  assert.equal(config.listen.http, '127.0.0.1:8080');
  assert.deepEqual(config.interfaces, []);
  assert.equal(config.given.size, 0);
});

test('every mistake is reported at once, with its path, its value and what is accepted', () => {
  const all = mistakes(`
hub: { name: "", colour: red }
listen: { http: 127.0.0.1:70000, mqtt: nowhere }
interfaces:
  - { name: a, kind: tcp-client, host: x, port: 0 }
  - { name: b, kind: carrier-pigeon }
  - { name: c, kind: kiss, port: auto, slotTime: 9999 }
bridges: { lxmf: { stampCost: 8 }, matrix: {} }
sharedInstance: { name: default, port: 37428 }
rooms: { Plaza: { members: [nobody] } }
`);
  assert.deepEqual(Object.keys(all).sort(), [
    'bridges.lxmf.stampCost',
    'bridges.matrix.homeserver',
    'bridges.matrix.registration',
    'bridges.matrix.serverName',
    'hub.colour',
    'hub.name',
    'interfaces.0.port',
    'interfaces.1.kind',
    'interfaces.2.slotTime',
    'listen.http',
    'listen.mqtt',
    'rooms.Plaza',
    'rooms.Plaza.members.0',
    'sharedInstance',
  ]);
  assert.match(all['interfaces.0.port'] ?? '', /^0 is wrong: .*>=1/);
  assert.match(all['listen.http'] ?? '', /^"127.0.0.1:70000" is wrong: port from 0 to 65535/);
  assert.match(all['interfaces.1.kind'] ?? '', /tcp-client/);
  assert.match(all['bridges.matrix.homeserver'] ?? '', /^missing: a URL/);
  assert.match(all.sharedInstance ?? '', /either a name, or port and controlPort/);
  assert.match(all['interfaces.2.slotTime'] ?? '', /9999 is wrong: .*2550/);
});

test('an interface cannot be what programs of this machine use the gateway by', () => {
  const all = mistakes(`
sharedInstance: {}
interfaces:
  - { name: shared-instance, kind: tcp-server, port: 0 }
  - { name: own, kind: shared }
  - { name: rnsd, kind: shared, instance: other }
  - { name: tcp, kind: shared, port: 37428 }
  - { name: code, kind: shared, instance: third, ifac: { networkName: n } }
`);
  assert.deepEqual(Object.keys(all).sort(), ['interfaces.0.name', 'interfaces.1', 'interfaces.4.ifac']);
  const tcp = mistakes(`
sharedInstance: { port: 37428, controlPort: 37429 }
interfaces:
  - { name: unix, kind: shared }
  - { name: own, kind: shared, port: 37428 }
`);
  assert.deepEqual(Object.keys(tcp), ['interfaces.1']);
  assert.deepEqual(Object.keys(mistakes('sharedInstance: { port: 37428 }')), ['sharedInstance']);
});

test('an access code that leaves a full packet no room in two LoRa frames is refused', () => {
  const all = mistakes(`
interfaces:
  - { name: a, kind: rnode, region: eu868-p, ifac: { networkName: n, size: 9 } }
  - { name: b, kind: rnode, region: eu868-p, ifac: { networkName: n, size: 8 } }
  - { name: c, kind: lan, ifac: { networkName: n, size: 64 } }
  - { name: d, kind: rnode, region: atlantis }
`);
  assert.deepEqual(Object.keys(all), ['interfaces.0.ifac.size', 'interfaces.3.region']);
  assert.equal(all['interfaces.0.ifac.size'], '9 is wrong: at most 8 by radio');
});

test('a radio that is set up illegally is refused with the value and what is accepted, by its region', () => {
  const all = mistakes(`
interfaces:
  - { name: a, kind: rnode, region: eu868-p, frequency: 868100000 }
  - { name: b, kind: rnode, region: eu868-m, txPower: 20 }
  - { name: c, kind: rnode, region: atlantis }
  - { name: d, kind: rnode }
  - { name: e, kind: rnode, region: eu868-p, bandwidth: 100000, spreadingFactor: 13 }
  - { name: f, kind: rnode, region: eu868-k, airtimeLimit: 1 }
  - { name: g, kind: rnode, region: eu868-p, regions: nowhere.json }
`);
  assert.deepEqual(Object.keys(all).sort(), [
    'interfaces.0.frequency',
    'interfaces.1.txPower',
    'interfaces.2.region',
    'interfaces.3.region',
    'interfaces.4.bandwidth',
    'interfaces.4.spreadingFactor',
    'interfaces.5.airtimeLimit',
    'interfaces.6.regions',
  ]);
  assert.match(all['interfaces.0.frequency'] ?? '', /^868100000 is wrong: 869462500 to 869587500 Hz/);
  assert.match(
    all['interfaces.1.txPower'] ?? '',
    /^20 is wrong: eu868-m allows 14 dBm ERP, which is 0 to 14/,
  );
  assert.match(all['interfaces.3.region'] ?? '', /^missing/);
  assert.match(all['interfaces.4.bandwidth'] ?? '', /^100000 is wrong: one of 7800, 10400, .*, 125000/);
  assert.match(all['interfaces.6.regions'] ?? '', /nowhere.json: ENOENT$/);
});

test('a file of regions adds to those that come with the gateway, and is found beside the config', () => {
  const ours = { description: 'here', low: 868e6, high: 869e6, maxPower: 10, power: 'eirp', dutyCycle: 5 };
  writeFileSync(
    join(folder, 'ours.json'),
    JSON.stringify({ ours: { ...ours, frequency: 868.5e6, rule: 'our own' } }),
  );
  const config = loadConfig({
    file: file('interfaces: [{ name: a, kind: rnode, region: ours, regions: ours.json, antennaGain: 0 }]'),
  });
  const [radio] = config.interfaces;
  assert.ok(radio?.kind === 'rnode');
  const { settings, txPower, airtimeLimit } = radioPlan(radio);
  assert.deepEqual([settings.frequency, txPower, airtimeLimit], [868.5e6, 10, 0.05]);
});

test('two interfaces of one name, and a room the hub keeps itself, are mistakes', () => {
  const all = mistakes(`
interfaces:
  - { name: a, kind: tcp-server, port: 0 }
  - { name: a, kind: tcp-server, port: 0 }
rooms: { hub: {} }
`);
  assert.deepEqual(Object.keys(all).sort(), ['interfaces.1.name', 'rooms.hub']);
});

test('a variable overrides a scalar, and a variable that means nothing is a mistake', () => {
  const config = loadConfig({
    file: file('{}'),
    environment: { KOS_LISTEN_HTTP: '127.0.0.1:9', KOS_HUB_NAME: '4711', KOS_HUB_TRANSPORT: 'false' },
  });
  assert.equal(config.listen.http, '127.0.0.1:9');
  assert.equal(config.hub.name, '4711');
  assert.equal(config.hub.transport, false);
  assert.ok(config.given.has('listen.http'));
  assert.deepEqual(Object.keys(mistakes('{}', { KOS_LISTEN_HTPP: 'x' })), ['KOS_LISTEN_HTPP']);
});

test('what is no YAML is told with its line, and a file that is not there by its name', () => {
  assert.deepEqual(Object.keys(mistakes('hub:\n  name: [')), ['line 2']);
  assert.deepEqual(Object.keys(mistakes('- a')).length, 1);
  assert.throws(
    () => loadConfig({ file: join(folder, 'none.yaml') }),
    error => isGatewayError(error, 'config/invalid') && /none\.yaml/.test(formatMistakes(error)),
  );
});

test('the schema is JSON Schema with every section', () => {
  const schema = configJsonSchema() as { properties: Record<string, unknown> };
  for (const section of ['hub', 'listen', 'interfaces', 'bridges', 'rooms']) {
    assert.ok(section in schema.properties, section);
  }
});

test('a member in Matrix without a homeserver is a mistake, and none with one', () => {
  const members = 'rooms: { plaza: { members: ["matrix:!abc:home.example"] } }';
  assert.match(mistakes(members)['rooms.plaza.members.0'] ?? '', /needs bridges\.matrix/);
  const matrix = '{ homeserver: "http://127.0.0.1:8008", serverName: home.example, registration: r.yaml }';
  assert.ok(loadConfig({ file: file(`${members}\nbridges: { matrix: ${matrix} }`) }));
});

test('a rule may send to a room that is configured, and to no other', () => {
  const keys = (to: string) => ({
    rooms: { plaza: { members: ['app:board'] } },
    routes: [{ from: 'mqtt:dev/#', to: [to] }],
  });
  assert.deepEqual(loadConfig({ keys: keys('room:plaza') }).routes[0]?.to, ['room:plaza']);
  for (const [to, detail] of [
    ['room:square', /there is no such room/],
    ['plaza', /or room:<name>/],
  ] as const) {
    assert.throws(
      () => loadConfig({ keys: keys(to) }),
      (error: GatewayError) => {
        assert.equal(error.errors[0]?.pointer, 'routes.0.to.0');
        assert.match(error.errors[0]?.detail ?? '', detail);
        return true;
      },
    );
  }
});

test('what others may know of an interface, and whom it believes, is checked', () => {
  const server = { name: 'server', kind: 'tcp-server', port: 4242 };
  const mistakes = (keys: Record<string, unknown>) => {
    try {
      loadConfig({ keys });
      return [];
    } catch (error) {
      assert.ok(isGatewayError(error));
      return error.errors.map(({ pointer }) => pointer);
    }
  };
  const discoverable = { reachableOn: 'elm.example' };
  const [entry] = loadConfig({ keys: { interfaces: [{ ...server, discoverable }] } }).interfaces;
  assert.ok(entry?.kind === 'tcp-server');
  assert.deepEqual([entry.discoverable?.interval, entry.discoverable?.cost], [360, 16]);
  assert.deepEqual(mistakes({ interfaces: [{ ...server, discoverable: {} }] }), [
    'interfaces.0.discoverable.reachableOn',
  ]);
  assert.deepEqual(mistakes({ interfaces: [{ ...server, discoverable: { reachableOn: 'elm street' } }] }), [
    'interfaces.0.discoverable.reachableOn',
  ]);
  assert.deepEqual(mistakes({ mesh: { remoteManagement: { allowed: ['me'] } } }), [
    'mesh.remoteManagement.allowed.0',
  ]);
  assert.deepEqual(mistakes({ mesh: { discovery: { autoconnect: { most: 1 } } } }), [
    'mesh.discovery.autoconnect.most',
  ]);
});
