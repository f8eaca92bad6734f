import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fromHex, toHex } from '../../src/lib/bytes.ts';
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

describe('a hub and the management of rns 1.5.7', { skip, timeout: 300_000 }, () => {
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
  });
});
