import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Incoming } from '../../src/gateway/bridge.ts';
import { messageId } from '../../src/gateway/message.ts';
import { createCompressor } from '../../src/lib/bzip2/pool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { encode } from '../../src/lib/msgpack.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { encodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { BridgeNode } from '../bridges/lxmf/node.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';
import type { ReferenceVersion } from '../venv.ts';
import { missingReference, type Peer, type PeerOptions, startPeer } from './peer.ts';

/** A gateway's LXMF bridge behind a TCP server. */
interface Hub extends AsyncDisposable {
  readonly node: BridgeNode;
  readonly counters: Counters;
  readonly links: Links;
  readonly port: number;
}

interface Scene extends Hub {
  readonly peer: Peer;
  /** `lxmf:` address of the peer. */
  readonly to: string;
}

async function hub(): Promise<Hub> {
  await using opened = new AsyncDisposableStack();
  const counters = new Counters();
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters };
  const transport = new Transport({
    ...parts,
    storage: new MemoryStorage(),
    identity: generateIdentity(systemRandom),
  });
  const compressor = createCompressor();
  opened.defer(() => compressor.close());
  const links = new Links({ ...parts, transport, budget: new IncomingBudget(), compressor });
  transport.useLinks(links);
  const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
  const stop = new AbortController();
  const up = Promise.withResolvers<void>();
  const running = transport.attach(server).service.run(up.resolve, stop.signal);
  opened.defer(async () => {
    links.close();
    stop.abort();
    await running.catch(() => {});
    await transport.close();
  });
  await up.promise;
  const identity = generateIdentity(systemRandom);
  const node = opened.use(
    new BridgeNode({ ...parts, transport, links, identity, displayName: 'Elm Street ☀' }),
  );
  const owned = opened.move();
  return {
    node,
    counters,
    links,
    port: server.address!.port,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A peer that has dialled the hub; each has heard the other. */
async function scene(version: ReferenceVersion, options: PeerOptions = {}): Promise<Scene> {
  await using opened = new AsyncDisposableStack();
  const home = opened.use(await hub());
  const { node, port } = home;
  const peer = opened.use(
    await startPeer({ version, interfaces: [{ type: 'client', port }], displayName: 'Pat', ...options }),
  );
  const to = `lxmf:${peer.destination}`;
  await peer.announce();
  await node.port.until(() => node.port.peers.get(to)?.name);
  await node.bridge.announceNow();
  await until(async () => (await peer.recall(node.bridge.address)) !== null);
  const owned = opened.move();
  return { ...home, peer, to, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Waits until something is so that tells nobody. */
async function until(so: () => boolean | Promise<boolean>): Promise<void> {
  for (let left = 600; !(await so()); left--) {
    assert.ok(left > 0, 'half a minute passed');
    await systemClock.sleep(50);
  }
}

/** The peer's message as the switch accepted it. */
function accepted({ node }: Scene, hash: string): Promise<Incoming> {
  return node.port.until(() => node.port.accepted.find(({ remoteId }) => remoteId === hash));
}

/** Sends from the peer and waits until both sides agree that it arrived. */
async function fromPeer(here: Scene, message: Omit<Parameters<Peer['send']>[0], 'to'>): Promise<Incoming> {
  const sent = await here.peer.send({ to: here.node.bridge.address, ...message });
  const incoming = await accepted(here, sent.hash);
  // The reference loses a proof that is there before it looks for it, and sends again after ten seconds, up to five times.
  assert.equal(await here.peer.delivered(sent.hash, 90_000), 'delivered');
  assert.equal(incoming.from, here.to);
  assert.equal(incoming.to, here.node.address);
  assert.equal(incoming.assurance, 'signed');
  return incoming;
}

/** Sends to the peer and waits until it has it. */
async function toPeer(here: Scene, parts: Omit<Parameters<BridgeNode['send']>[0], 'to'>) {
  const { state, remoteId } = await here.node.send({ to: here.to, ...parts });
  assert.equal(state, 'delivered');
  const heard = await here.peer.next('message', ({ hash }) => hash === remoteId);
  assert.equal(heard.verified, true);
  assert.equal(heard.source, here.node.bridge.address);
  return heard;
}

const versions: readonly ReferenceVersion[] = ['1.5.7', '1.4.2'];
const long = 'twenty kilobytes of text, ☀ and all. '.repeat(540);

for (const version of versions) {
  const skip = await missingReference(version);

  describe(`an LXMF peer on rns ${version}`, { skip }, () => {
    test('hears our name and is heard under its own', async () => {
      await using here = await scene(version);
      const { node, peer, to } = here;
      assert.deepEqual(node.port.peers.get(to), { name: 'Pat', hops: 1 });
      assert.ok(node.port.reached.includes(to));
      const heard = await peer.recall(node.bridge.address);
      assert.equal(heard?.appData, encodeDeliveryAnnounce('Elm Street ☀').toHex());
      assert.ok(heard?.ratchet);
    });

    test('receives single packets, and messages over a link that it answers over', async () => {
      await using here = await scene(version);
      const { node, counters } = here;
      const first = await toPeer(here, { text: 'a short one' });
      assert.equal(first.content, 'a short one');
      assert.equal(first.method, 'opportunistic');
      assert.deepEqual(
        node.port.reports.map(({ state }) => state),
        ['sent'],
      );

      const second = await toPeer(here, { text: long, title: 'Ünïcødé' });
      assert.equal(second.content, long);
      assert.equal(second.title, 'Ünïcødé');
      assert.equal(second.method, 'direct');

      const third = await toPeer(here, { text: 'over the link that is open' });
      assert.equal(third.method, 'direct');
      assert.equal(counters.get('lxmf/link-opened'), 1);

      const answer = await fromPeer(here, { content: 'over yours', method: 'direct' });
      assert.equal(answer.text, 'over yours');
      // On a busy machine the reference may miss a proof that came a moment late, and open a link of its own.
      const { attempts } = await here.peer.state(answer.remoteId);
      assert.equal(counters.get('link/accepted'), attempts);
    });

    test('sends single packets, link packets and Resources, and is answered over its own link', async () => {
      await using here = await scene(version);
      const { counters } = here;
      const short = await fromPeer(here, { content: 'short ☀', title: 'T', method: 'opportunistic' });
      assert.deepEqual(
        { text: short.text, title: short.title, type: short.type },
        { text: 'short ☀', title: 'T', type: 'chat.message' },
      );
      assert.equal((await fromPeer(here, { content: 'over a link' })).text, 'over a link');
      assert.equal((await fromPeer(here, { content: long })).text, long);
      assert.equal((await fromPeer(here, { content: '' })).text, '');
      // The reference says who it is only when its own loop has noticed the delivery.
      await until(() => [...here.links.all()].some(({ remote }) => remote !== undefined));
      const answer = await toPeer(here, { text: 'over yours' });
      assert.equal(answer.method, 'direct');
      assert.equal(counters.get('lxmf/link-opened'), 0);
    });

    test('and this hub know which message the other answers', async () => {
      await using here = await scene(version);
      const { node } = here;
      const question = node.message({ to: here.to, text: 'noon?' });
      const sent = await node.bridge.deliver(node.delivery(question), new AbortController().signal);
      await here.peer.next('message', ({ hash }) => hash === sent.remoteId);
      const answer = await fromPeer(here, { content: 'yes', replyTo: sent.remoteId! });
      assert.equal(answer.inReplyTo, question.id);
      assert.equal(answer.native, undefined);

      const inReplyTo = messageId('lxmf', answer.remoteId);
      const reply = await toPeer(here, { text: 'good', inReplyTo });
      assert.deepEqual(reply.fields, { 48: { hex: answer.remoteId } });
    });
  });
}

const skip = await missingReference('1.5.7');

describe('an LXMF peer', { skip }, () => {
  test('exchanges files, pictures and recordings', async () => {
    await using here = await scene('1.5.7');
    const { node } = here;
    const bytes = randomBytes(200_000);
    const attachments = [
      await node.attach('план.bin', 'application/octet-stream', bytes),
      await node.attach('photo.png', 'image/png', Uint8Array.of(1, 2, 3)),
      await node.attach('voice.ogg', 'audio/ogg', Uint8Array.of(4, 5)),
    ];
    const heard = await toPeer(here, { text: 'files', attachments });
    assert.deepEqual(heard.fields, {
      5: [['план.bin', { hex: bytes.toString('hex') }]],
      6: ['png', { hex: '010203' }],
      7: [16, { hex: '0405' }],
    });

    const incoming = await fromPeer(here, { content: 'back', fields: heard.fields });
    assert.deepEqual(
      incoming.attachments?.map(({ name, mediaType, size }) => ({ name, mediaType, size })),
      [
        { name: 'план.bin', mediaType: 'application/octet-stream', size: 200_000 },
        { name: 'image.png', mediaType: 'image/png', size: 3 },
        { name: 'audio.ogg', mediaType: 'audio/ogg', size: 2 },
      ],
    );
    assert.equal(incoming.attachments?.[0]?.sha256, attachments[0]!.sha256);
    assert.equal(incoming.native, undefined);
  });

  test('reacts, and is reacted to', async () => {
    await using here = await scene('1.5.7');
    const { node } = here;
    const said = await fromPeer(here, { content: 'look at this' });
    const heard = await toPeer(here, {
      type: 'chat.reaction',
      text: '👍',
      inReplyTo: messageId('lxmf', said.remoteId),
    });
    const thumb = { hex: Buffer.from('👍').toString('hex') };
    assert.deepEqual(heard.fields, { 64: { 0: { hex: said.remoteId }, 1: thumb } });

    const mine = node.message({ to: here.to, text: 'and at that' });
    const sent = await node.bridge.deliver(node.delivery(mine), new AbortController().signal);
    const reaction = await fromPeer(here, { fields: { 64: { 0: { hex: sent.remoteId! }, 1: thumb } } });
    assert.equal(reaction.type, 'chat.reaction');
    assert.equal(reaction.text, '👍');
    assert.equal(reaction.inReplyTo, mine.id);
  });

  test('gets fields back that nobody here knows, byte for byte', async () => {
    await using here = await scene('1.5.7');
    const fields = {
      2: { hex: '8201ce68e77800' },
      126: { hex: '00ff' },
      4660: { text: [1, { float: 2.5 }, null, true, { hex: '00' }] },
      named: -1,
    };
    const incoming = await fromPeer(here, { content: 'strange', fields });
    assert.deepEqual(Object.keys(incoming.native ?? {}), ['lxmf:2', 'lxmf:126', 'lxmf:4660', 'lxmf:"named"']);
    const heard = await toPeer(here, { text: 'as you said', native: incoming.native! });
    assert.deepEqual(heard.fields, fields);
  });

  test('gets what LXMF has no field for in the custom fields, and readable text', async () => {
    await using here = await scene('1.5.7');
    const data = { device: 'pump', values: { temperature: 21.5, on: true } };
    const heard = await toPeer(here, { type: 'sensor.reading', data, priority: 'high' });
    assert.equal(heard.content, 'sensor.reading: device pump, values (temperature 21.5, on true)');
    assert.equal(heard.fields[251], 'klp/1');
    const incoming = await fromPeer(here, { content: heard.content!, fields: heard.fields });
    assert.equal(incoming.type, 'sensor.reading');
    assert.equal(incoming.text, '');
    assert.deepEqual(incoming.data, data);
    assert.equal(incoming.priority, 'high');
  });

  test('that nobody has heard of is asked for its announce, and then believed', async () => {
    await using here = await scene('1.5.7');
    for (const method of ['opportunistic', 'direct'] as const) {
      const { hash, sender } = await here.peer.forge({
        to: here.node.bridge.address,
        kind: 'stranger',
        content: 'you do not know me',
        method,
      });
      const incoming = await accepted(here, hash);
      assert.equal(incoming.from, `lxmf:${sender}`);
      assert.equal(incoming.assurance, 'signed');
      assert.equal(await here.peer.delivered(hash), 'delivered');
    }
  });

  test('that forges a signature is not heard, is counted and gets no proof', async () => {
    await using here = await scene('1.5.7');
    const { counters, node, peer } = here;
    const forged = await peer.forge({ to: node.bridge.address, kind: 'signature' });
    const honest = await fromPeer(here, { content: 'honest', method: 'opportunistic' });
    assert.deepEqual(
      node.port.accepted.map(({ remoteId }) => remoteId),
      [honest.remoteId],
    );
    assert.ok(counters.get('crypto/bad-signature') > 0);
    assert.notEqual((await peer.state(forged.hash)).state, 'delivered');
  });

  test('that poses as another peer, or sends garbage, is not heard', async () => {
    await using here = await scene('1.5.7');
    const { counters, node, peer } = here;
    await peer.forge({ to: node.bridge.address, kind: 'source', source: node.bridge.address });
    await peer.forge({ to: node.bridge.address, kind: 'garbage' });
    await fromPeer(here, { content: 'honest', method: 'opportunistic' });
    assert.equal(node.port.accepted.length, 1);
    assert.ok(counters.get('crypto/bad-signature') > 0);
  });

  test('that refuses what is too large for it is not tried again', async () => {
    await using here = await scene('1.5.7', { deliveryLimit: 10 });
    const bytes = randomBytes(50_000);
    const attachments = [await here.node.attach('large.bin', 'application/octet-stream', bytes)];
    await assert.rejects(here.node.send({ to: here.to, attachments }), error =>
      isGatewayError(error, 'bridge/rejected'),
    );
  });

  test('that is away is reported so, and gets the same message once when it is back', async () => {
    await using home = await hub();
    const { node, port } = home;
    const directory = await mkdtemp(join(tmpdir(), 'kos-lxmf-'));
    try {
      const options: PeerOptions = { directory, interfaces: [{ type: 'client', port }], displayName: 'Pat' };
      const before = await startPeer(options);
      const to = `lxmf:${before.destination}`;
      await before.announce();
      await node.port.until(() => node.port.peers.has(to));
      await before.stop();
      await before[Symbol.asyncDispose]();

      const message = node.message({ to, text: 'are you there?' });
      await assert.rejects(
        node.bridge.deliver(node.delivery(message), new AbortController().signal),
        error => isGatewayError(error, 'bridge/unavailable') && error.retryable,
      );
      node.port.reached.length = 0;

      await using back = await startPeer(options);
      await back.announce();
      await node.port.until(() => node.port.reached.includes(to));
      const remembered = node.port.remembered.get(message.id);
      assert.ok(remembered);
      const again = node.delivery(message, { attempt: 2, remembered });
      const first = await node.bridge.deliver(again, new AbortController().signal);
      const second = await node.bridge.deliver(again, new AbortController().signal);
      assert.equal(first.remoteId, second.remoteId);
      const heard = await back.next('message');
      assert.equal(heard.content, 'are you there?');
      assert.equal(heard.hash, first.remoteId);
      assert.equal((await back.received()).length, 1);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  test('that enforces stamps proves a message without one and drops it, which we cannot see', async () => {
    await using here = await scene('1.5.7', { stampCost: 8, enforceStamps: true });
    const { state } = await here.node.send({ to: here.to, text: 'without a stamp' });
    assert.equal(state, 'delivered');
    assert.deepEqual(await here.peer.received(), []);
  });

  test('finds its ticket neither shown nor passed on', async () => {
    await using here = await scene('1.5.7');
    const incoming = await fromPeer(here, {
      content: 'with a ticket',
      fields: { 12: [{ float: 4_000_000_000 }, { hex: '11'.repeat(16) }] },
    });
    assert.equal(incoming.native, undefined);
    const leak = { 'lxmf:12': encode([1, new Uint8Array(16)]).toBase64() };
    const heard = await toPeer(here, { text: 'no ticket back', native: leak });
    assert.deepEqual(heard.fields, {});
  });
});
