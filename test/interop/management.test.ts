import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fromHex, toHex } from '../../src/lib/bytes.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { encodeIdentity, generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { probeDestinationOf } from '../../src/mesh/reticulum/probe.ts';
import { startDaemon } from '../e2e/daemon.ts';
import { missingReference, startPeer } from './peer.ts';
import { runTool } from './reference-tool.ts';

const skip = await missingReference('1.5.7');
const someone = 'ab'.repeat(16);
const someoneElse = 'cd'.repeat(16);

async function eventually(reached: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 90_000;
  while (!(await reached())) {
    assert.ok(performance.now() < end, `did not come about: ${reached}`);
    await pause(500);
  }
}

interface Probed {
  readonly hops: number;
  readonly received: number;
  readonly destination: string;
  readonly rtt?: { readonly avg: number };
}

describe('a hub and the management of rns 1.5.7', { skip, timeout: 300_000, concurrency: true }, () => {
  test('each answers the probes of the other, and each takes the other’s blackhole list', async () => {
    await using peer = await startPeer({
      interfaces: [{ type: 'server' }],
      transport: true,
      reticulum: { respond_to_probes: 'yes', publish_blackhole: 'yes' },
    });
    await peer.blackhole(someone, { reason: 'floods', until: 4_000_000_000 });
    const interfaces = [
      { name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 },
      { name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: peer.port },
    ];
    const mesh = { blackhole: { publish: true, sources: [peer.transport], identities: [someoneElse] } };
    await using daemon = await startDaemon({ config: { interfaces, mesh } });
    const { hub } = daemon.ready;
    const port = Number(daemon.ready.interfaces.server?.split(':').at(-1));

    const probed = await daemon.kosctl('--json', 'probe', peer.transport, '--node', '--count', '2');
    assert.equal(probed.code, 0, probed.stderr);
    const { hops, received, destination, rtt } = JSON.parse(probed.stdout) as Probed;
    assert.deepEqual(
      [hops, received, destination],
      [1, 2, toHex(probeDestinationOf(fromHex(peer.transport)))],
    );
    assert.ok(rtt !== undefined && rtt.avg > 0);
    const shown = await daemon.kosctl('probe', destination);
    assert.match(shown.stdout, /1 of 1 answered, 0 % lost/);

    const ours = toHex(probeDestinationOf(fromHex(hub)));
    const [near, far] = await Promise.all(
      [ours, destination].map(one => runTool('rnprobe', ['rnstransport.probe', one], { port })),
    );
    assert.ok(near !== undefined && far !== undefined);
    assert.equal(near.code, 0, near.output);
    assert.match(near.output, /Valid reply from .*\n.*over 1 hop/);
    assert.equal(far.code, 0, far.output);
    assert.match(far.output, /over 2 hops/, 'through the hub');
    const path = await daemon.kosctl('path', destination);
    assert.match(path.stdout, /1 hop\(s\) {2}a neighbour {2}over uplink/);

    await eventually(async () => (await daemon.kosctl('blackhole', 'list')).stdout.includes(someone));
    const list = await runTool('rnpath', ['-p', hub], { port });
    assert.equal(list.code, 0, list.output);
    assert.match(
      list.output,
      new RegExp(`<${someone}> blackholed for .* \\(floods\\) by <${peer.transport}>`),
    );
    assert.match(list.output, new RegExp(`<${someoneElse}> blackholed indefinitely by <${hub}>`));
    await using follower = await startPeer({
      interfaces: [{ type: 'client', port }],
      reticulum: { blackhole_sources: hub },
    });
    await eventually(async () => (await follower.blackholed())[someone] !== undefined);
    assert.equal((await follower.blackholed())[someoneElse], hub);

    const own = (await daemon.kosctl('blackhole', 'add', peer.identity, '--reason', 'a test')).stdout;
    assert.match(own, /is left out from now on/);
    await peer.announce();
    await eventually(async () => (await daemon.kosctl('status')).stdout.includes('announce/blackholed'));
    const paths = await daemon.kosctl('--json', 'paths');
    assert.ok(!paths.stdout.includes(peer.destination), paths.stdout);
    assert.match((await daemon.kosctl('blackhole', 'remove', peer.identity)).stdout, /is heard again/);
  });

  test('each finds the interface that the other announces, and status and paths are told to who may ask', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kos-management-'));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const [friend, stranger] = ['friend', 'stranger'].map(name => {
      const identity = generateIdentity(systemRandom);
      writeFileSync(join(folder, name), encodeIdentity(identity));
      return toHex(identity.hash);
    });
    assert.ok(friend !== undefined && stranger !== undefined);
    const discoverable = { reachableOn: 'hub.example', name: 'Elm Street', cost: 8, latitude: 52.5 };
    const server = { name: 'server', kind: 'tcp-server', host: '127.0.0.1', port: 0 };
    const mesh = {
      remoteManagement: { allowed: [friend] },
      discovery: { listen: true, cost: 8 },
      networkIdentity: join(folder, 'group'),
    };
    await using daemon = await startDaemon({ config: { interfaces: [{ ...server, discoverable }], mesh } });
    const { hub } = daemon.ready;
    const port = Number(daemon.ready.interfaces.server?.split(':').at(-1));
    const listener = {
      ...{ mode: 'full', discoverable: 'yes', reachable_on: 'peer.example', discovery_name: 'Oak Street' },
      ...{ discovery_stamp_value: 8, announce_interval: 5 },
    };
    await using peer = await startPeer({
      interfaces: [
        { type: 'client', port },
        { type: 'server', options: listener },
      ],
      transport: true,
      reticulum: { discover_interfaces: 'yes', required_discovery_value: 8 },
    });

    const ask = (wanted: RegExp, tool: string, identity: string, ...words: string[]) =>
      runTool(tool, ['-R', hub, '-i', join(folder, identity), ...words], { port, wanted });
    const [status, links, table, rates, refused] = await Promise.all([
      ask(/running/, 'rnstatus', 'friend', '-a', '-A'),
      ask(/\{/, 'rnstatus', 'friend', '-j', '-l'),
      ask(/1 hop /, 'rnpath', 'friend', '-t'),
      ask(/last heard/, 'rnpath', 'friend', '-r'),
      ask(/request failed|authentication failure/i, 'rnstatus', 'stranger', '-w', '5'),
    ]);
    assert.equal(status.code, 0, status.output);
    assert.match(status.output, /TCPServerInterface\[server\/127\.0\.0\.1:\d+\]/);
    assert.match(status.output, new RegExp(`Transport Instance <?${hub}>? running`));
    assert.equal(links.code, 0, links.output);
    const stats = JSON.parse(links.output.slice(links.output.indexOf('{'))) as { transport_id: string };
    assert.equal(stats.transport_id, hub);
    assert.match(table.output, /1 hop .*TCPInterface\[Client on server/, table.output);
    assert.match(rates.output, /last heard/, rates.output);
    assert.match(refused.output, /request failed|authentication failure/i, refused.output);

    await eventually(async () => (await peer.discovered()).some(({ name }) => name === 'Elm Street'));
    const ours = (await peer.discovered()).find(({ name }) => name === 'Elm Street');
    const { reachable_on, impl_name, transport, transport_id, type } = ours ?? {};
    assert.deepEqual(
      { reachable_on, port: ours?.port, impl_name, transport, transport_id, type },
      {
        ...{ reachable_on: 'hub.example', port, impl_name: 'kOS' },
        ...{ transport: true, transport_id: hub, type: 'BackboneInterface' },
      },
    );
    assert.notEqual(ours?.network_id, hub, 'announced by the group');
    await eventually(async () => (await daemon.kosctl('discovered')).stdout.includes('Oak Street'));
    const { stdout: entries } = await daemon.kosctl('discovered', '--entries');
    assert.match(entries, /- name: oak-street\n {2}kind: tcp-client\n {2}host: peer\.example\n/);
    assert.match(entries, /^\[\[Oak Street\]\]\n {2}type = \w+\n/m);
    const { body } = await daemon.call<{ items: readonly Record<string, unknown>[] }>(
      'GET',
      '/v1/mesh/discovered',
    );
    const [theirs] = body.items;
    assert.deepEqual(
      [theirs?.reachableOn, theirs?.implementation, theirs?.version, theirs?.transportId, theirs?.status],
      ['peer.example', 'RNS', '1.5.7', peer.transport, 'available'],
    );
  });
});
