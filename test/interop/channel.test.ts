import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { fromHex, fromUtf8, toHex, utf8 } from '../../src/lib/bytes.ts';
import { createCompressor } from '../../src/lib/bzip2/pool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { BufferReader } from '../../src/mesh/reticulum/buffer-reader.ts';
import { BufferWriter } from '../../src/mesh/reticulum/buffer-writer.ts';
import type { MessageType } from '../../src/mesh/reticulum/channel-message.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import type { Link } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { contexts, decodePacket } from '../../src/mesh/reticulum/packet.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { seededRandom } from '../sim/random.ts';
import { missingReference, type Peer, startPeer } from './peer.ts';

const versions = ['1.5.7', '1.4.2'] as const;
const skip = (await missingReference('1.5.7')) || (await missingReference('1.4.2'));

const said: MessageType<string> = { type: 0x0101, encode: utf8, decode: bytes => fromUtf8(bytes, 'message') };
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const names = (count: number) => Array.from({ length: count }, (_, at) => `message ${at}`);
/** Text that bzip2 makes much smaller. */
const compressible = utf8('the mesh carries what it is given. '.repeat(6000));

/** The same interface, which loses part of the packets of channels and their proofs, both ways. */
function lossy(inner: Interface, loss: { share: number }, seed: number): Interface {
  const random = seededRandom(seed);
  const lost = (packet: Uint8Array) => {
    if (loss.share === 0 || random.fraction() >= loss.share) {
      return false;
    }
    const { context, destinationType, packetType } = decodePacket(packet);
    return (
      destinationType === 'link' &&
      (context === contexts.channel || (packetType === 'proof' && context === 0))
    );
  };
  return {
    name: inner.name,
    mtu: inner.mtu,
    bitrate: inner.bitrate,
    run: (port, signal) =>
      inner.run(
        {
          ready: () => port.ready(),
          attach: (peer, ...more) => port.attach(peer, ...more),
          receive: (packet, quality) => (lost(packet) ? undefined : port.receive(packet, quality)),
        },
        signal,
      ),
    send: packet => (lost(packet) ? Promise.resolve() : inner.send(packet)),
  };
}

interface Scene extends AsyncDisposable {
  readonly peer: Peer;
  readonly link: Link;
  /** Share of the packets of channels that are lost. */
  readonly loss: { share: number };
  readonly counters: Counters;
}

/** A link of ours to a reference node. */
async function scene(version: (typeof versions)[number]): Promise<Scene> {
  await using opened = new AsyncDisposableStack();
  const peer = opened.use(await startPeer({ version, interfaces: [{ type: 'server' }] }));
  const stop = new AbortController();
  const counters = new Counters();
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters };
  const storage = { load: () => [], save: async () => {}, remove: async () => {} };
  const identity = generateIdentity(systemRandom);
  const transport = new Transport({ ...parts, storage, identity });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
  transport.useLinks(links);
  const loss = { share: 0 };
  const client = new TcpClient({ name: 'peer', host: '127.0.0.1', port: peer.port }, parts);
  const up = Promise.withResolvers<void>();
  const running = transport.attach(lossy(client, loss, 5)).service.run(up.resolve, stop.signal);
  opened.defer(async () => {
    links.close();
    stop.abort();
    await running.catch(() => {});
  });
  await up.promise;
  transport.register(new LocalDestination({ identity, appName: 'app', aspects: ['channel'] }));
  const theirs = await peer.addDestination('app.echo');
  await transport.requestPath(fromHex(theirs));
  const { identity: whose } = transport.recall(fromHex(theirs))!;
  const link = await links.open(fromHex(theirs), { identity: whose });
  await peer.next('link', event => event.state === 'established' && event.link === link.key);
  const owned = opened.move();
  return { peer, link, loss, counters, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

for (const version of versions) {
  describe(`channels with rns ${version}`, { skip, timeout: 120_000 }, () => {
    test('messages in order both ways, as long as may be', async () => {
      await using at = await scene(version);
      const { channel } = at.link;
      const back: string[] = [];
      channel.on(said, text => back.push(text));
      assert.equal((await at.peer.openChannel(at.link.key)).mdu, channel.mdu);
      const sending: Promise<number>[] = [];
      for (const name of names(200)) {
        await channel.ready();
        sending.push(channel.send(said, name));
      }
      await Promise.all(sending);
      for (const name of names(200)) {
        assert.equal((await at.peer.next('channel message')).data, toHex(utf8(name)));
      }
      const longest = 'x'.repeat(channel.mdu);
      await channel.send(said, longest);
      assert.equal((await at.peer.next('channel message')).data, toHex(utf8(longest)));

      assert.equal((await at.peer.sendOnChannel(at.link.key, names(200))).delivered, true);
      assert.deepEqual(back, names(200));
    });

    test('streams to their end both ways, compressed and not', async () => {
      await using at = await scene(version);
      const compressor = createCompressor();
      const { channel } = at.link;
      await at.peer.openChannel(at.link.key);
      for (const [stream, data] of [
        [1, randomBytes(400_000)],
        [2, compressible],
      ] as const) {
        await at.peer.readStream(at.link.key, stream);
        const writer = new BufferWriter(channel, stream, { compressor });
        await writer.write(data);
        await writer.close();
        const read = await at.peer.next('stream', event => event.stream === stream);
        assert.equal(read.sha256, sha256(data));

        const reader = new BufferReader(channel, stream);
        const writing = at.peer.writeStream(at.link.key, stream, { hex: toHex(data.subarray(0, 60_000)) });
        const digest = createHash('sha256');
        for await (const chunk of reader) {
          digest.update(chunk);
        }
        assert.equal(digest.digest('hex'), (await writing).sha256);
      }
      await compressor.close();
    });

    test('what is lost on the way is sent again, by either side', async () => {
      await using at = await scene(version);
      const { channel } = at.link;
      const back: string[] = [];
      channel.on(said, text => back.push(text));
      await at.peer.openChannel(at.link.key);
      await at.peer.readStream(at.link.key, 9);
      at.loss.share = 0.04;
      const sending: Promise<number>[] = [];
      for (const name of names(150)) {
        await channel.ready();
        sending.push(channel.send(said, name));
      }
      await Promise.all(sending);
      for (const name of names(150)) {
        assert.equal((await at.peer.next('channel message')).data, toHex(utf8(name)));
      }
      const data = randomBytes(600_000);
      const writer = new BufferWriter(channel, 9);
      await writer.write(data);
      await writer.close();
      assert.equal((await at.peer.next('stream')).sha256, sha256(data));
      assert.ok(at.counters.get('channel/sent-again') > 0);

      const sent = await at.peer.sendOnChannel(at.link.key, names(40));
      assert.deepEqual(back, names(40));
      assert.equal(sent.delivered, true);
    });
  });
}
