import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ImportOptions, importRns } from '../../../src/cli/rns/import.ts';
import { loadConfig } from '../../../src/config.ts';
import { openStore } from '../../../src/gateway/store/store.ts';
import { toHex, utf8 } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { encode, Float } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { encodeIdentity, generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodeKnown } from '../../../src/mesh/reticulum/known.ts';
import { encodePacket, packetHash } from '../../../src/mesh/reticulum/packet.ts';
import { decodeRatchets } from '../../../src/mesh/reticulum/ratchet.ts';
import { openRpcKey, rpcKeyOfIdentity } from '../../../src/start/rpc/key.ts';

const config = `
[reticulum]
  enable_transport = Yes
  share_instance = No
  respond_to_probes = yes
  rpc_key = 0011
  use_implicit_proof = Yes
[logging]
  loglevel = 6
[interfaces]
  [[Default Interface]]
    type = AutoInterface
    enabled = Yes
    group_id = village
    ignored_devices = docker0
  [[Ümläut & Co]]
    type = TCPClientInterface
    enabled = yes
    target_host = hub.example
    target_port = 4242
    kiss_framing = no
    mode = gw
    network_name = elm
    passphrase = "a, b # c"
    ifac_size = 128
    announce_rate_target = 1800
    announce_cap = 5
    ingress_control = no
    recursive_prs = yes
    gravity = 3
    bitrate = 5000
  [[ümläut Co]]
    type = BackboneInterface
    enabled = yes
    remote = hub.example
    target_port = 4243
  [[Server]]
    type = TCPServerInterface
    enabled = no
    listen_ip = 127.0.0.1
    listen_port = 4242
  [[Listening]]
    type = BackboneInterface
    enabled = yes
    device = eth0
    port = 4244
  [[UDP]]
    type = UDPInterface
    enabled = yes
    listen_ip = 0.0.0.0
    listen_port = 4242
    forward_ip = 192.0.2.255
    forward_port = 4242
  [[Radio]]
    type = RNodeInterface
    enabled = yes
    port = /dev/ttyUSB0
    frequency = 869525000
    bandwidth = 125000
    txpower = 14
    spreadingfactor = 8
    codingrate = 5
  [[Loud Radio]]
    type = RNodeInterface
    enabled = yes
    port = /dev/ttyUSB1
    frequency = 100000000
    bandwidth = 125000
    txpower = 30
    spreadingfactor = 8
    codingrate = 5
  [[Line]]
    type = SerialInterface
    enabled = yes
    port = /dev/ttyUSB2
    speed = 115200
    parity = even
  [[TNC]]
    type = KISSInterface
    enabled = yes
    port = /dev/ttyUSB3
    preamble = 150
    txtail = 10
    persistence = 200
    slottime = 20
    flow_control = true
    id_callsign = N0CALL
    id_interval = 600
  [[Child]]
    type = PipeInterface
    enabled = yes
    command = sh -c "a \\"b\\" 'c d'" e\\ f
    respawn_delay = 5
  [[Anonymous]]
    type = I2PInterface
    enabled = yes
  [[Own]]
    type = MyInterface
    enabled = yes
  [[Broken]]
    type = TCPClientInterface
    enabled = yes
    target_host = hub.example
    target_port = 99999
    colour = red
  [[Short Code]]
    type = TCPClientInterface
    enabled = yes
    target_host = hub.example
    target_port = 1
    network_name = oak
    ifac_size = 1024
`;

async function folder(t: TestContext, text = config): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'kos-rns-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  await mkdir(join(made, 'from/storage/cache/announces'), { recursive: true });
  await mkdir(join(made, 'from/storage/ratchets'), { recursive: true });
  await mkdir(join(made, 'from/storage/blackhole'), { recursive: true });
  await writeFile(join(made, 'from/config'), text);
  return made;
}

const run = (at: string, more: Partial<ImportOptions> = {}) =>
  importRns({
    from: join(at, 'from'),
    lxmf: undefined,
    file: join(at, 'to/kos.yaml'),
    data: undefined,
    force: false,
    ...more,
  });

test('interfaces of every kind are taken over, and what there is nothing like is named', async t => {
  const at = await folder(t);
  const { taken, left, file, data } = await run(at);
  const { interfaces, hub, log, mesh, sharedInstance } = loadConfig({ file });
  assert.deepEqual([hub.transport, hub.data, log, sharedInstance], [true, data, 'debug', undefined]);
  assert.equal(mesh?.probes, true);
  const byName = Object.fromEntries(interfaces.map(one => [one.name, one as Record<string, unknown>]));
  assert.deepEqual(Object.keys(byName), [
    'default-interface',
    'u-mla-ut-co',
    'u-mla-ut-co-2',
    'server',
    'listening',
    'udp',
    'radio',
    'line',
    'tnc',
    'child',
  ]);
  const shows = (name: string, keys: object) =>
    assert.deepEqual(
      Object.fromEntries(Object.keys(keys).map(key => [key, byName[name]?.[key]])),
      keys,
      name,
    );
  shows('default-interface', { kind: 'lan', group: 'village', ignore: ['docker0'], enabled: true });
  shows('u-mla-ut-co', {
    kind: 'tcp-client',
    host: 'hub.example',
    port: 4242,
    mode: 'gateway',
    bitrate: 5000,
    announce: { cap: 5, rateTarget: 1800, rateGrace: 0 },
    ingress: { limited: false },
    recursivePathRequests: true,
    gravity: 3,
    ifac: { networkName: 'elm', size: 16, passphraseFile: join(data, 'passphrase-u-mla-ut-co') },
  });
  shows('u-mla-ut-co-2', { kind: 'tcp-client', port: 4243, backbone: true });
  shows('server', { kind: 'tcp-server', host: '127.0.0.1', port: 4242, enabled: false });
  shows('listening', { kind: 'tcp-server', host: '127.0.0.1', port: 4244, backbone: true });
  shows('udp', { kind: 'udp', listen: '0.0.0.0:4242', forward: '192.0.2.255:4242', broadcast: true });
  shows('radio', { kind: 'rnode', region: 'eu868-p', frequency: 869_525_000, txPower: 14 });
  shows('line', { kind: 'serial', speed: 115_200, parity: 'even' });
  shows('tnc', {
    kind: 'kiss',
    preamble: 150,
    txTail: 10,
    persistence: 200,
    flowControl: true,
    beacon: { callsign: 'N0CALL', every: 600 },
  });
  shows('child', { kind: 'pipe', command: ['sh', '-c', `a "b" 'c d'`, 'e f'] });
  assert.equal(await readFile(join(data, 'passphrase-u-mla-ut-co'), 'utf8'), 'a, b # c');
  assert.equal((await stat(join(data, 'passphrase-u-mla-ut-co'))).mode & 0o777, 0o600);
  const text = left.map(({ what, why }) => `${what}: ${why}`).join('\n');
  for (const pattern of [
    /^transport identity: there is none/m,
    /^\[reticulum\]: rpc_key: /m,
    /^interface Anonymous \(I2PInterface\): /m,
    /^interface Own \(MyInterface\): /m,
    /^interface Loud Radio: frequency: no region/m,
    /^interface Listening: device: give the address of eth0/m,
    /^interface Broken: colour: /m,
    /^interface broken: port: 99999 is wrong/m,
    /^interface short-code: ifac\.size: 128 is wrong/m,
  ]) {
    assert.match(text, pattern);
  }
  assert.doesNotMatch(text, /implicit_proof|respawn_delay/);
  assert.ok(taken.some(({ what }) => what === 'interface child'));
  assert.doesNotMatch(await readFile(file, 'utf8'), /a, b # c/, 'no secret in the file');
});

test('the identity, what is known and the blackhole list are taken over; what is no announce is not believed', async t => {
  const at = await folder(t);
  const storage = join(at, 'from/storage');
  const own = generateIdentity(systemRandom);
  await writeFile(join(storage, 'transport_identity'), encodeIdentity(own));
  const other = new LocalDestination({
    identity: generateIdentity(systemRandom),
    appName: 'lxmf',
    aspects: ['delivery'],
  });
  const packet = signAnnounce(other, {
    appData: utf8('Pat'),
    randomBlob: new Uint8Array(10),
    ratchet: undefined,
  });
  const raw = encodePacket(packet);
  const forged = Uint8Array.from(raw);
  forged[forged.length - 1] = forged.at(-1)! ^ 1;
  await writeFile(join(storage, 'cache/announces/one'), encode([raw, 'TCPInterface[x]']));
  await writeFile(join(storage, 'cache/announces/forged'), encode([forged, null]));
  await writeFile(join(storage, 'cache/announces/garbage'), 'garbage');
  await writeFile(join(storage, 'cache/announces/large'), new Uint8Array(100_000));
  const ratchet = systemRandom.bytes(32);
  const hash = toHex(other.hash);
  await writeFile(
    join(storage, 'ratchets', hash),
    encode(
      new Map<string, Uint8Array | Float>([
        ['ratchet', ratchet],
        ['received', new Float(1_760_000_000.5)],
      ]),
    ),
  );
  const unknown = systemRandom.bytes(16);
  const row = [new Float(1_760_000_100.5), new Uint8Array(32), new Uint8Array(64), null, 0];
  await writeFile(
    join(storage, 'known_destinations'),
    encode(
      new Map([
        [other.hash, row],
        [unknown, row],
      ]),
    ),
  );
  const silenced = systemRandom.bytes(16);
  await writeFile(
    join(storage, 'blackhole/local'),
    encode(new Map([[silenced, new Map([['until', null]])]])),
  );
  const done = await run(at);
  assert.equal(done.identity, toHex(own.hash));
  assert.deepEqual(new Uint8Array(await readFile(join(done.data, 'identity'))), encodeIdentity(own));
  assert.equal((await stat(join(done.data, 'identity'))).mode & 0o777, 0o600);
  assert.deepEqual(loadConfig({ file: done.file }).mesh?.blackhole.identities, [toHex(silenced)]);
  await using store = await openStore({ dir: done.data });
  const entries = [...store.mesh.load('identity-heard')];
  assert.deepEqual(
    entries.map(({ key }) => key),
    [hash],
  );
  const known = decodeKnown(hash, entries[0]!.value);
  assert.deepEqual(
    [known.appData, known.ratchet, known.ratchetHeard, known.heard, known.packetHash],
    [utf8('Pat'), ratchet, 1_760_000_000_500, 1_760_000_100_500, packetHash(raw)],
  );
  assert.ok(done.left.some(({ why }) => why.startsWith('1 without their announce')));
});

test('programs go on knowing their instance by the key that they were given', async t => {
  const at = await folder(t);
  const key = toHex(systemRandom.bytes(32));
  await writeFile(join(at, 'from/config'), `[reticulum]\n  rpc_key = ${key}\n`);
  const done = await run(at);
  assert.equal(await readFile(join(done.data, 'rpc_key'), 'utf8'), `${key}\n`);
  assert.equal((await stat(join(done.data, 'rpc_key'))).mode & 0o777, 0o600);
  assert.doesNotMatch(await readFile(done.file, 'utf8'), new RegExp(key), 'no secret in the file');
  await assert.rejects(run(at), error => isGatewayError(error, 'request/conflict'));
});

test('the address of an LXMF program becomes the hub’s, with its ratchets, where that is asked for', async t => {
  const at = await folder(t);
  const own = generateIdentity(systemRandom);
  const lxmf = join(at, 'lxmd');
  const address = toHex(new LocalDestination({ identity: own, appName: 'lxmf', aspects: ['delivery'] }).hash);
  await mkdir(join(lxmf, 'storage/lxmf/ratchets'), { recursive: true });
  await writeFile(join(lxmf, 'identity'), encodeIdentity(own));
  const keys = [systemRandom.bytes(32), systemRandom.bytes(32)];
  const packed = encode(keys);
  const file = join(lxmf, 'storage/lxmf/ratchets', `${address}.ratchets`);
  await writeFile(
    file,
    encode(
      new Map([
        ['signature', own.sign(packed)],
        ['ratchets', packed],
      ]),
    ),
  );
  const transport = generateIdentity(systemRandom);
  await writeFile(join(at, 'from/storage/transport_identity'), encodeIdentity(transport));
  const done = await run(at, { lxmf });
  assert.deepEqual([done.lxmf, done.identity], [address, toHex(own.hash)]);
  assert.deepEqual(
    openRpcKey(done.data, own),
    rpcKeyOfIdentity(transport),
    'programs that read the old folder know the gateway',
  );
  await using store = await openStore({ dir: done.data });
  const [entry] = [...store.mesh.load('ratchet')];
  assert.equal(entry?.key, address);
  assert.deepEqual(
    decodeRatchets(entry!.value).map(({ privateKey }) => new Uint8Array(privateKey)),
    keys,
  );
  await assert.rejects(run(at, { lxmf: join(at, 'nowhere'), force: true }), error =>
    isGatewayError(error, 'config/invalid'),
  );
  await writeFile(
    file,
    encode(
      new Map([
        ['signature', new Uint8Array(64)],
        ['ratchets', packed],
      ]),
    ),
  );
  const again = await run(at, { lxmf, file: join(at, 'other/kos.yaml') });
  assert.ok(again.left.some(({ why }) => why === 'not signed by the identity'));
});

test('what is there is not replaced unless that is asked for, and then a copy of it stays', async t => {
  const at = await folder(t, '[interfaces]\n');
  const own = generateIdentity(systemRandom);
  await writeFile(join(at, 'from/storage/transport_identity'), encodeIdentity(own));
  await mkdir(join(at, 'to/data'), { recursive: true });
  await writeFile(join(at, 'to/kos.yaml'), 'hub: { name: Mine }\n');
  await assert.rejects(
    run(at),
    error => isGatewayError(error, 'request/conflict') && /kos\.yaml/.test(error.message),
  );
  await rm(join(at, 'to/kos.yaml'));
  await writeFile(join(at, 'to/data/identity'), encodeIdentity(generateIdentity(systemRandom)));
  await assert.rejects(
    run(at),
    error => isGatewayError(error, 'request/conflict') && /identity/.test(error.message),
  );
  await writeFile(join(at, 'to/kos.yaml'), 'hub: { name: Mine }\n');
  await run(at, { force: true });
  assert.equal(await readFile(join(at, 'to/kos.yaml.before-import'), 'utf8'), 'hub: { name: Mine }\n');
  assert.equal((await stat(join(at, 'to/data/identity.before-import'))).size, 64);
  assert.deepEqual(new Uint8Array(await readFile(join(at, 'to/data/identity'))), encodeIdentity(own));
});

test('a folder that is none, a config that is none and a gateway that runs are told, and nothing is written', async t => {
  const at = await folder(t, '[interfaces\n');
  await assert.rejects(
    run(at),
    error => isGatewayError(error, 'config/invalid') && error.errors[0]?.pointer === 'line 1',
  );
  await assert.rejects(run(at, { from: join(at, 'nowhere') }), error =>
    isGatewayError(error, 'config/invalid'),
  );
  await writeFile(join(at, 'from/config'), '[interfaces]\n');
  await writeFile(
    join(at, 'from/storage/transport_identity'),
    encodeIdentity(generateIdentity(systemRandom)),
  );
  await mkdir(join(at, 'to/data'), { recursive: true });
  await using _store = await openStore({ dir: join(at, 'to/data') });
  await assert.rejects(run(at), error => isGatewayError(error, 'store/unavailable'));
  await assert.rejects(stat(join(at, 'to/kos.yaml')));
  await assert.rejects(stat(join(at, 'to/data/identity')));
});
