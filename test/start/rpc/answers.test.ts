import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { toHex, utf8 } from '../../../src/lib/bytes.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { Blackhole } from '../../../src/mesh/reticulum/blackhole.ts';
import { encodeIdentity, generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import type { LiveInterface } from '../../../src/start/live-interfaces.ts';
import { answerCall } from '../../../src/start/rpc/answers.ts';
import type { RpcCall } from '../../../src/start/rpc/call.ts';
import { openRpcKey } from '../../../src/start/rpc/key.ts';
import { Air, settled, TestNode } from '../../mesh/reticulum/air.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { ManualClock } from '../../sim/clock.ts';

/** An instance with a neighbour that announced something, and what programs are answered by it. */
async function bench(how: { readonly mayManage?: boolean } = {}) {
  const clock = new ManualClock();
  const air = new Air();
  const node = new TestNode({ clock, forwards: true, sharedInstance: true });
  const far = new TestNode({ clock });
  node.use(air.join('uplink', { bitrate: 1200 }));
  far.use(air.join('far'));
  const { destination } = far.serve();
  await far.transport.announce(destination);
  await settled();
  const blackhole = new Blackhole({
    clock,
    log: silentLog,
    counters: node.counters,
    storage: new MemoryStorage(),
    own: node.transport.identity.hash,
  });
  const done: string[] = [];
  const used = new Set(['uplink']);
  const named = (name: string) => {
    if (name === 'broken') {
      throw new GatewayError('config/invalid', 'its passphrase is not there');
    }
  };
  const interfaces = {
    get: (name: string) =>
      ['uplink', 'spare', 'broken'].includes(name)
        ? ({ attachment: used.has(name) ? {} : undefined } as LiveInterface)
        : undefined,
    async attach(name: string) {
      named(name);
      done.push(`attach ${name}`);
      return !used.has(name);
    },
    async detach(name: string) {
      done.push(`detach ${name}`);
      return used.delete(name);
    },
    async reload(name: string) {
      done.push(`reload ${name}`);
    },
  };
  const ask = (call: RpcCall): Promise<MsgpackValue> =>
    answerCall(call, {
      log: silentLog,
      counters: node.counters,
      transport: node.transport,
      blackhole,
      interfaces,
      mayManage: how.mayManage ?? true,
      status: () => 'status',
      paths: maxHops => `paths within ${maxHops}`,
      rates: () => 'rates',
      titleOf: name => `Interface[${name}]`,
      ownTitle: 'Shared Instance[rns/test]',
    });
  return { clock, node, destination, blackhole, done, ask };
}

const nobody = new Uint8Array(16);

describe('a program that asks its instance', () => {
  test('learns the way to a destination', async () => {
    const { ask, destination, node } = await bench();
    const own = node.serve().destination;
    assert.deepEqual(await ask({ on: 'next-hop', destination: destination.hash }), destination.hash);
    assert.deepEqual(await ask({ on: 'next-hop', destination: own.hash }), node.transport.identity.hash);
    assert.equal(await ask({ on: 'next-hop', destination: nobody }), null);
    const iface = (of: Uint8Array) => ask({ on: 'next-hop-interface', destination: of });
    assert.equal(await iface(destination.hash), 'Interface[uplink]');
    assert.equal(await iface(own.hash), 'Shared Instance[rns/test]');
    assert.equal(await iface(nobody), 'None');
  });

  test('learns how long to wait, in seconds', async () => {
    const { ask, destination, node } = await bench();
    assert.deepEqual(
      await ask({ on: 'first-hop-timeout', destination: destination.hash }),
      new Float(6 + 4000 / 1200),
    );
    assert.equal(await ask({ on: 'lowest-bitrate' }), 1200);
    assert.deepEqual(await ask({ on: 'medium-path-timeout' }), new Float(8000 / 1200 + 6));
    await node.down('uplink');
    assert.equal(await ask({ on: 'lowest-bitrate' }), null);
    assert.equal(await ask({ on: 'medium-path-timeout' }), 0);
  });

  test('learns how well a packet was heard', async () => {
    const { ask, destination, node } = await bench();
    const { packetHash: packet } = node.transport.recall(destination.hash)!;
    assert.equal(await ask({ on: 'quality', of: 'rssi', packet }), -90);
    assert.equal(await ask({ on: 'quality', of: 'snr', packet }), null);
    assert.equal(await ask({ on: 'quality', of: 'q', packet }), null);
  });

  test('learns the rest as it is', async () => {
    const { ask } = await bench();
    assert.equal(await ask({ on: 'interface-stats' }), 'status');
    assert.equal(await ask({ on: 'path-table', maxHops: 2 }), 'paths within 2');
    assert.equal(await ask({ on: 'rate-table' }), 'rates');
    assert.equal(await ask({ on: 'link-count' }), 0);
    assert.equal(await ask({ on: 'active-link-count' }), 0);
    assert.equal(await ask({ on: 'profiling' }), null);
  });
});

describe('a program that tells its instance', () => {
  test('drops paths, one or all over a node', async () => {
    const { ask, destination, node } = await bench();
    assert.equal(await ask({ on: 'drop-path', destination: nobody }), false);
    assert.equal(await ask({ on: 'drop-path', destination: destination.hash }), true);
    assert.equal(node.transport.path(destination.hash), undefined);
    const again = await bench();
    assert.equal(await again.ask({ on: 'drop-all-via', transport: nobody }), 0);
    assert.equal(await again.ask({ on: 'drop-all-via', transport: again.destination.hash }), 1);
    assert.equal(await ask({ on: 'drop-announce-queues' }), null);
  });

  test('keeps what it uses', async () => {
    const { ask, destination, node } = await bench();
    assert.equal(await ask({ on: 'keep-destination', destination: nobody }), false);
    assert.equal(await ask({ on: 'keep-destination', destination: destination.hash }), true);
    assert.equal(node.transport.recall(destination.hash)?.used, true);
    assert.equal(await ask({ on: 'keep-identity', identity: destination.identity!.hash }), true);
    assert.equal(await ask({ on: 'keep-identity', identity: nobody }), false);
  });

  test('attaches, detaches and reloads interfaces, and hears what came of it', async () => {
    const { ask, done } = await bench();
    assert.equal(await ask({ on: 'detach', name: 'nobody' }), null);
    assert.equal(await ask({ on: 'detach', name: 'spare' }), null);
    assert.equal(await ask({ on: 'attach', name: 'uplink' }), false);
    assert.equal(await ask({ on: 'attach', name: 'broken' }), false);
    assert.equal(await ask({ on: 'attach', name: 'spare' }), true);
    assert.equal(await ask({ on: 'reload', name: 'uplink' }), true);
    assert.equal(await ask({ on: 'detach', name: 'uplink' }), true);
    assert.deepEqual(done, ['attach uplink', 'attach spare', 'reload uplink', 'detach uplink']);
  });

  test('changes no interface where that is not allowed', async () => {
    const { ask, done } = await bench({ mayManage: false });
    for (const on of ['attach', 'detach', 'reload'] as const) {
      assert.equal(await ask({ on, name: 'uplink' }), false);
    }
    assert.deepEqual(done, []);
  });

  test('puts identities on the blackhole list and takes them off', async () => {
    const { ask, blackhole, node, clock } = await bench();
    const identity = generateIdentity(node.random).hash;
    const until = clock.now() + 60_000;
    assert.equal(await ask({ on: 'is-blackholed', identity }), false);
    assert.equal(await ask({ on: 'blackhole', identity, until, reason: 'noise' }), true);
    assert.equal(await ask({ on: 'blackhole', identity, until, reason: 'noise' }), null);
    assert.equal(await ask({ on: 'is-blackholed', identity }), true);
    assert.deepEqual(
      await ask({ on: 'blackholed' }),
      new Map<MsgpackValue, MsgpackValue>([
        [
          identity,
          new Map<MsgpackValue, MsgpackValue>([
            ['source', node.transport.identity.hash],
            ['until', new Float(until / 1000)],
            ['reason', 'noise'],
          ]),
        ],
      ]),
    );
    const own = node.transport.identity.hash;
    assert.equal(await ask({ on: 'blackhole', identity: own, until: undefined, reason: undefined }), false);
    assert.equal(await ask({ on: 'unblackhole', identity }), true);
    assert.equal(await ask({ on: 'unblackhole', identity }), null);
    assert.equal(blackhole.size, 0);
  });
});

describe('the key that programs share with their instance', () => {
  function folder(t: TestContext): string {
    const path = mkdtempSync(join(tmpdir(), 'kos-rpc-'));
    t.after(() => rmSync(path, { recursive: true }));
    return path;
  }

  test("is made from the hub's Identity, and lies where only its owner reads it", t => {
    const data = folder(t);
    const identity = generateIdentity({ bytes: n => new Uint8Array(n).fill(7), fraction: () => 0 });
    const key = openRpcKey(data, identity);
    assert.deepEqual(key, sha256(encodeIdentity(identity)));
    const file = join(data, 'rpc_key');
    assert.equal(readFileSync(file, 'utf8'), `${toHex(key)}\n`);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  test('is the one in the file, where somebody put one there', t => {
    const data = folder(t);
    const identity = generateIdentity({ bytes: n => new Uint8Array(n).fill(7), fraction: () => 0 });
    writeFileSync(join(data, 'rpc_key'), `${toHex(utf8('a key of our own'))}\n`);
    assert.deepEqual(openRpcKey(data, identity), utf8('a key of our own'));
    writeFileSync(join(data, 'rpc_key'), 'secret words\n');
    assert.throws(
      () => openRpcKey(data, identity),
      (error: unknown) =>
        error instanceof GatewayError &&
        error.code === 'config/invalid' &&
        !JSON.stringify([error.message, error.errors]).includes('secret'),
    );
  });
});
