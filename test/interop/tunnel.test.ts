import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromHex, toHex } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { until } from '../contract/interface.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import { missingReference, startPeer } from './peer.ts';

const skip = await missingReference('1.5.7');

/** A node of ours whose interfaces can be stopped one by one. */
class Node implements AsyncDisposable {
  readonly counters = new Counters();
  readonly storage = new MemoryStorage();
  readonly transport: Transport;
  readonly destination: LocalDestination;
  readonly #running = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>();

  constructor() {
    const identity = generateIdentity(systemRandom);
    this.transport = new Transport({
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      counters: this.counters,
      storage: this.storage,
      identity,
      forwards: true,
    });
    this.destination = new LocalDestination({
      identity,
      appName: 'app',
      aspects: ['echo'],
      proofStrategy: 'all',
    });
    this.transport.register(this.destination);
  }

  async listen(): Promise<number> {
    const parts = { clock: systemClock, counters: this.counters };
    const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
    await this.#run(server);
    assert.ok(server.address);
    return server.address.port;
  }

  async dial(port: number): Promise<void> {
    await this.#run(new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, { clock: systemClock }));
  }

  async hangUp(name: string): Promise<void> {
    const running = this.#running.get(name);
    running?.stop.abort();
    await running?.ended;
    [...this.transport.interfaces()].find(one => one.name === name)?.detach();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#running.keys()]) {
      await this.hangUp(name);
    }
    await this.transport.close();
  }

  async #run(iface: Interface): Promise<void> {
    const up = Promise.withResolvers<void>();
    const stop = new AbortController();
    const run = this.transport.attach(iface).service.run(up.resolve, stop.signal);
    this.#running.set(iface.name, { stop, ended: run.catch(() => {}) });
    await Promise.race([up.promise, run]);
  }
}

describe('a tunnel between a node of ours and rns 1.5.7', { skip, timeout: 180_000 }, () => {
  test('that the reference makes keeps the ways over its connection when it dials again', async () => {
    await using hub = new Node();
    const port = await hub.listen();
    await using peer = await startPeer({
      version: '1.5.7',
      transport: true,
      interfaces: [{ type: 'client', port }],
      reconnectWait: 1,
    });
    await until(() => hub.counters.get('tunnel/established') === 1);
    const echo = await peer.addDestination('app.echo');
    await peer.announce({ destination: echo });
    const hash = fromHex(echo);
    await until(() => hub.transport.path(hash) !== undefined);
    const before = hub.transport.path(hash)!;

    await peer.cut();
    await until(() => hub.counters.get('tunnel/restored') === 1);
    const after = hub.transport.path(hash);
    assert.ok(after);
    assert.notEqual(after.interfaceName, before.interfaceName);
    assert.deepEqual(after.packetHash, before.packetHash, 'the way is the same, and was not announced again');
    await hub.transport.send({
      destination: { identity: hub.transport.recall(hash)!.identity, hash },
      data: new Uint8Array([1, 2, 3]),
    });
    const heard = await peer.next('packet', ({ destination }) => destination === echo);
    assert.equal(heard.data, '010203');
    assert.equal(hub.counters.get('crypto/bad-signature'), 0);
  });

  test('that a node of ours makes keeps the ways of the reference to it when it dials again', async () => {
    await using peer = await startPeer({
      version: '1.5.7',
      transport: true,
      interfaces: [{ type: 'server' }],
    });
    await using node = new Node();
    const ours = toHex(node.destination.hash);
    await node.dial(peer.port);
    // It looks at its connections now and then: one that it never saw is never seen to go.
    await peer.next('interface', ({ state }) => state === 'up');
    await node.transport.announce(node.destination);
    await peer.next('announce', ({ destination }) => destination === ours);
    assert.equal((await peer.packet(ours, 'app.echo', { hex: '01' })).proved, true);

    await node.hangUp('uplink');
    await peer.next('interface', ({ state }) => state === 'down');
    await node.dial(peer.port);
    // Nothing is announced: only by the tunnel does the reference know where this is.
    const proved = async () => (await peer.packet(ours, 'app.echo', { hex: '02' })).proved;
    assert.ok((await proved()) || (await proved()), 'the reference finds the way again');
  });
});
