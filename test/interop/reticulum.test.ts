import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromHex, fromUtf8, toHex, utf8 } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import {
  LocalDestination,
  type LocalDestinationOptions,
  nameHash,
  type Received,
} from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import type { Announced } from '../../src/mesh/reticulum/lessons.ts';
import type { ReceiptOutcome } from '../../src/mesh/reticulum/receipts.ts';
import { generateTokenKey } from '../../src/mesh/reticulum/token.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { until } from '../contract/interface.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import type { ReferenceVersion } from '../venv.ts';
import { missingReference, type PeerOptions, startPeer } from './peer.ts';

const versions: readonly ReferenceVersion[] = ['1.5.7', '1.4.2'];

/** A node of ours: it dials a port, or listens where none is given. */
class Node implements AsyncDisposable {
  readonly counters = new Counters();
  readonly announces: Announced[] = [];
  readonly transport = new Transport({
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters: this.counters,
    storage: new MemoryStorage(),
    identity: generateIdentity(systemRandom),
  });
  readonly #stop = new AbortController();
  #run: Promise<void> = Promise.resolve();
  #server: TcpServer | undefined;

  constructor() {
    this.transport.onAnnounce(announced => this.announces.push(announced));
  }

  async dial(port: number): Promise<this> {
    const client = new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, { clock: systemClock });
    await this.#start(this.transport.attach(client));
    return this;
  }

  async listen(): Promise<number> {
    this.#server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, this);
    await this.#start(this.transport.attach(this.#server));
    const { address } = this.#server;
    assert.ok(address);
    return address.port;
  }

  readonly clock = systemClock;

  /** Registers a destination of this node and gives what it receives. */
  serve(options: Omit<LocalDestinationOptions, 'identity' | 'onPacket'>): {
    readonly destination: LocalDestination;
    readonly received: Received[];
  } {
    const received: Received[] = [];
    const destination = new LocalDestination({
      ...options,
      identity: this.transport.identity,
      onPacket: packet => {
        received.push(packet);
        packet.prove();
      },
    });
    this.transport.register(destination);
    return { destination, received };
  }

  /** Resolves when the peer has answered: it hears and sends nothing before it has taken the connection. */
  async meets(peer: { readonly destination: string }): Promise<void> {
    await this.transport.requestPath(fromHex(peer.destination));
  }

  async hears(destination: string): Promise<Announced> {
    await until(() => this.announces.some(heard => toHex(heard.destinationHash) === destination));
    return this.announces.find(heard => toHex(heard.destinationHash) === destination)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
    await this.transport.close();
  }

  async #start({ service }: ReturnType<Transport['attach']>): Promise<void> {
    const up = Promise.withResolvers<void>();
    this.#run = service.run(up.resolve, this.#stop.signal);
    await Promise.race([up.promise, this.#run]);
  }
}

async function proven(node: Node, to: Announced, data: Uint8Array): Promise<ReceiptOutcome> {
  const outcome = Promise.withResolvers<ReceiptOutcome>();
  await node.transport.send({
    destination: { identity: to.identity, hash: to.destinationHash },
    data,
    onReceipt: outcome.resolve,
  });
  return outcome.promise;
}

for (const version of versions) {
  const skip = await missingReference(version);
  const server: PeerOptions = { version, interfaces: [{ type: 'server' }] };

  describe(`beside rns ${version}`, { skip, timeout: 60_000 }, () => {
    test('announces are heard both ways, with app data and ratchet', async () => {
      await using peer = await startPeer({ ...server, displayName: 'Reference', ratchets: true });
      await using node = await new Node().dial(peer.port);
      const { destination } = node.serve({
        appName: 'lxmf',
        aspects: ['delivery'],
        ratchets: true,
        appData: () => fromHex('93c404566f6c61c090'),
      });
      assert.equal(await node.transport.announce(destination), true);
      const there = await peer.next('announce', one => one.destination === destination.key);
      assert.equal(there.identity, toHex(node.transport.identity.hash));
      assert.equal(there.appData, '93c404566f6c61c090');
      assert.equal(there.hops, 1);
      assert.ok((await peer.recall(destination.key))?.ratchet);
      await peer.announce();
      const here = await node.hears(peer.destination);
      assert.equal(toHex(here.identity.publicKey), peer.publicKey);
      assert.deepEqual(here.nameHash, nameHash('lxmf.delivery'));
      assert.equal(here.hops, 1);
      assert.ok(Buffer.from(here.appData ?? []).includes('Reference'));
      assert.equal(here.ratchet && toHex(here.ratchet), (await peer.recall(peer.destination))?.ratchet);
    });

    test('path requests are answered both ways', async () => {
      await using peer = await startPeer(server);
      await using node = await new Node().dial(peer.port);
      const path = await node.transport.requestPath(fromHex(peer.destination));
      assert.equal(path.hops, 1);
      assert.equal(
        toHex(node.transport.recall(fromHex(peer.destination))!.identity.publicKey),
        peer.publicKey,
      );
      assert.equal(node.announces.at(-1)?.pathResponse, true);
      const { destination } = node.serve({ appName: 'kos', aspects: ['test'] });
      const there = await peer.requestPath(destination.key);
      assert.deepEqual({ known: there.known, hops: there.hops }, { known: true, hops: 1 });
    });

    test('groups and plain destinations hear each other', async () => {
      await using peer = await startPeer(server);
      await using node = await new Node().dial(peer.port);
      await node.meets(peer);
      const groupKey = generateTokenKey(systemRandom);
      const received: string[] = [];
      const onPacket = ({ data }: Received) => received.push(fromUtf8(data, 'text'));
      const plain = new LocalDestination({ appName: 'app', aspects: ['plain'], onPacket });
      const group = new LocalDestination({
        appName: 'app',
        aspects: ['group'],
        groupKey,
        groupIdentity: fromHex(peer.identity),
        onPacket,
      });
      node.transport.register(plain);
      node.transport.register(group);
      assert.equal(await peer.addShared('app.plain'), plain.key);
      assert.equal(await peer.addShared('app.group', toHex(groupKey)), group.key);
      for (const { key, kind } of [plain, group]) {
        await peer.sendShared(key, `to our ${kind}`);
        await until(() => received.includes(`to our ${kind}`));
      }
      await node.transport.sendPlain(plain.hash, utf8('to your plain'));
      await node.transport.sendGroup({ hash: group.hash, key: groupKey }, utf8('to your group'));
      for (const { key, kind } of [plain, group]) {
        const { data } = await peer.next('packet', event => event.destination === key);
        assert.equal(data, toHex(utf8(`to your ${kind}`)));
      }
    });

    for (const ratchets of [false, true]) {
      const how = ratchets ? 'with a ratchet' : 'without a ratchet';
      test(`encrypted packets are opened and proven both ways, ${how}`, async () => {
        await using peer = await startPeer(server);
        await using node = await new Node().dial(peer.port);
        await node.meets(peer);
        const theirs = await peer.addDestination('kos.there', { ratchets });
        await peer.announce({ destination: theirs });
        const announced = await node.hears(theirs);
        assert.equal(announced.ratchet !== undefined, ratchets);
        for (const size of [1, 100, 383]) {
          const data = systemRandom.bytes(size);
          const outcome = await proven(node, announced, data);
          assert.equal(outcome.at, 'delivered');
          const packet = await peer.next('packet', one => one.destination === theirs);
          assert.equal(packet.data, toHex(data));
          assert.equal(packet.ratchet !== null, ratchets);
        }
        const { destination, received } = node.serve({
          appName: 'kos',
          aspects: ['here'],
          proofStrategy: 'app',
          ratchets,
          enforceRatchets: ratchets,
        });
        await node.transport.announce(destination);
        await peer.next('announce', one => one.destination === destination.key);
        for (const text of ['a', 'b'.repeat(383)]) {
          const sent = await peer.packet(destination.key, 'kos.here', { text });
          assert.equal(sent.proved, true);
          const packet = received.at(-1);
          assert.deepEqual(packet?.data, utf8(text));
          assert.equal(toHex(packet.packetHash), sent.hash);
          assert.equal(packet.ratchetId !== undefined, ratchets);
        }
      });
    }

    test('packets and proofs cross a transport node of the reference', async () => {
      await using relay = await startPeer({ ...server, transport: true });
      await using far = await startPeer({ version, interfaces: [{ type: 'client', port: relay.port }] });
      await using node = await new Node().dial(relay.port);
      await node.meets(relay);
      const theirs = await far.addDestination('kos.there');
      await far.announce({ destination: theirs });
      const announced = await node.hears(theirs);
      assert.equal(announced.hops, 2);
      assert.equal(toHex(node.transport.path(announced.destinationHash)!.nextHop), relay.transport);
      assert.equal((await proven(node, announced, utf8('over a relay'))).at, 'delivered');
      const { destination, received } = node.serve({
        appName: 'kos',
        aspects: ['here'],
        proofStrategy: 'all',
      });
      await node.transport.announce(destination);
      await far.next('announce', one => one.destination === destination.key);
      assert.equal((await far.packet(destination.key, 'kos.here', { text: 'and back' })).proved, true);
      assert.equal(received[0]?.hops, 2);
    });

    test('a packet sent again byte for byte is dropped and counted, and other bytes harm nothing', async () => {
      await using node = new Node();
      const port = await node.listen();
      await using peer = await startPeer({ version, interfaces: [{ type: 'client', port }] });
      const { destination, received } = node.serve({
        appName: 'kos',
        aspects: ['here'],
        proofStrategy: 'all',
      });
      await node.transport.announce(destination);
      await peer.next('announce', one => one.destination === destination.key);
      assert.equal((await peer.packet(destination.key, 'kos.here', { text: 'once' })).proved, true);
      await peer.replay({ destination: destination.key, times: 3 });
      await peer.inject('00'.repeat(30), 1);
      await peer.inject('01'.repeat(200), 1);
      await peer.inject('ff'.repeat(600), 1);
      assert.equal((await peer.packet(destination.key, 'kos.here', { text: 'twice' })).proved, true);
      assert.equal(received.length, 2);
      assert.equal(node.counters.get('mesh/duplicate'), 3);
      assert.ok(node.counters.get('wire/unsupported') > 0);
    });
  });
}
