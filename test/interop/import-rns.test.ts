import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { importRns } from '../../src/cli/rns/import.ts';
import { parseIni, type Section } from '../../src/cli/rns/ini.ts';
import { eventually } from '../e2e/clients.ts';
import { startDaemon } from '../e2e/daemon.ts';
import { ensureVenv } from '../venv.ts';
import { missingReference, startPeer } from './peer.ts';

const skip = await missingReference('1.5.7');

/** As a plain tree. */
function plain(section: Section): object {
  return {
    ...Object.fromEntries(section.values),
    ...Object.fromEntries([...section.sections].map(([name, inner]) => [name, plain(inner)])),
  };
}

test('a config file is read as the reference reads it', { skip }, async t => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-ini-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const text = `# everything that people write
[reticulum]
enable_transport = False
  share_instance= Yes   # with a comment
remote_management_allowed = 9fb6d773498fb3feda407ed8ef2c3229, 2d882c5586e548d79b5af27bca1776dc
one =a,
spaced = a  b   c
quoted = "a, b # c"
single = 'it is "so"'
nothing =
equals = a = b
'a key' = 1

[logging]
loglevel = 4
[interfaces]
  [[Default Interface]]
    type = AutoInterface
    enabled = Yes
    devices = "eth0", wlan0 ,usb0
  [["Quoted, Name"]] # comment
    type=TCPClientInterface
    long = '''first
second'''
    [[[vport]]]
    x = 1
`;
  const file = join(folder, 'config');
  await writeFile(file, text);
  const program =
    'import json, sys; from RNS.vendor.configobj import ConfigObj; print(json.dumps(ConfigObj(sys.argv[1]).dict()))';
  const { stdout } = await promisify(execFile)((await ensureVenv('1.5.7')) as string, ['-c', program, file]);
  assert.deepEqual(plain(parseIni(text)), JSON.parse(stdout));
});

test('a gateway goes on as the reference node that it was: same identity, same port, and it knows whom it knew', {
  skip,
  timeout: 120_000,
}, async t => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-import-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const from = join(folder, 'reticulum');
  const node = await startPeer({
    directory: from,
    transport: true,
    ratchets: true,
    interfaces: [{ type: 'server', options: { mode: 'gateway' } }],
  });
  const port = node.port as number;
  await using friend = await startPeer({ displayName: 'Pat', interfaces: [{ type: 'client', port }] });
  await eventually('the node hears its friend', async () => {
    await friend.announce();
    await new Promise(resolve => setTimeout(resolve, 500));
    return node.events.some(one => one.event === 'announce' && one.destination === friend.destination);
  });
  await node.announce();
  const { transport, destination } = node;
  await node.stop();

  const file = join(folder, 'kos.yaml');
  const as = await importRns({ from, lxmf: undefined, file, data: undefined, force: false });
  assert.equal(as.identity, transport);
  assert.ok(
    as.taken.some(({ what }) => what === 'known destinations'),
    JSON.stringify(as),
  );
  const { interfaces } = parse(await readFile(file, 'utf8'));
  assert.equal(interfaces.length, 1);
  assert.deepEqual(
    [interfaces[0].kind, interfaces[0].mode, interfaces[0].port],
    ['tcp-server', 'gateway', port],
  );
  {
    await using daemon = await startDaemon({
      config: { ...parse(await readFile(file, 'utf8')) },
      data: as.data,
    });
    assert.equal(daemon.ready.hub, transport);
    const { body } = await daemon.call<{ items: { destination: string; aspect: string }[] }>(
      'GET',
      `/v1/mesh/announces?destination=${friend.destination}`,
    );
    assert.deepEqual(
      body.items.map(({ aspect }) => aspect),
      ['lxmf.delivery'],
    );
    await eventually(
      'its friend has come back',
      async () => {
        const { body: list } = await daemon.call<{ items: { kind: string }[] }>('GET', '/v1/mesh/interfaces');
        return list.items.some(({ kind }) => kind === 'peer');
      },
      60_000,
    );
  }

  const other = join(folder, 'other.yaml');
  const moved = await importRns({ from, lxmf: from, file: other, data: join(folder, 'other'), force: false });
  assert.equal(moved.lxmf, destination, 'the LXMF address that its friends know');
  assert.ok(
    moved.taken.some(({ what }) => what === 'ratchets'),
    JSON.stringify(moved),
  );
});
