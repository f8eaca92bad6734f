import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { fromHex, toHex, utf8 } from '../../src/lib/bytes.ts';
import { createCompressor } from '../../src/lib/bzip2/pool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import type { LinkPacket } from '../../src/mesh/reticulum/link-packets.ts';
import type { Link, LinkEvents } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { RequestHandlers } from '../../src/mesh/reticulum/request.ts';
import type { ReceivedResource } from '../../src/mesh/reticulum/resource-offer.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { missingReference, type Peer, startPeer } from './peer.ts';

const versions = ['1.5.7', '1.4.2'] as const;
const skip = (await missingReference('1.5.7')) || (await missingReference('1.4.2'));

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Waits for something that comes once or many times, in order. */
class Mailbox<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;

  put(item: T): void {
    this.#items.push(item);
    this.#wake?.();
  }

  async take(): Promise<T> {
    while (this.#items.length === 0) {
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    return this.#items.shift()!;
  }
}

interface Scene extends AsyncDisposable {
  readonly peer: Peer;
  readonly transport: Transport;
  readonly links: Links;
  readonly identity: ReturnType<typeof generateIdentity>;
  /** Our destination `app.echo`, announced to the peer. */
  readonly ours: LocalDestination;
  /** Links that the peer has opened to it. */
  readonly accepted: Mailbox<Link>;
  readonly packets: Mailbox<LinkPacket>;
  readonly resources: Mailbox<ReceivedResource>;
  readonly identified: Mailbox<string>;
  readonly events: LinkEvents;
  /** A link to the peer's destination `app.echo`. */
  open(): Promise<Link>;
}

/**
 * We hear a packet on a link and prove it, and the reference has the proof. It notes a packet after it has sent it: a
 * proof that is quicker than that is lost to it, now and then, and the packet is sent again.
 */
async function hears({ peer, packets }: Scene, link: string, text: string): Promise<void> {
  let proved = false;
  for (let tries = 0; tries < 4 && !proved; tries++) {
    const sent = peer.sendOnLink(link, { text: `${text} ${tries}` }, 3000);
    const packet = await packets.take();
    assert.deepEqual(Buffer.from(packet.data), Buffer.from(`${text} ${tries}`));
    packet.prove();
    ({ proved } = await sent);
  }
  assert.ok(proved);
}

/** A node of ours dialling a reference node; each has announced `app.echo`. */
async function scene(version: (typeof versions)[number]): Promise<Scene> {
  await using opened = new AsyncDisposableStack();
  const peer = opened.use(await startPeer({ version, interfaces: [{ type: 'server' }] }));
  const stop = new AbortController();
  const identity = generateIdentity(systemRandom);
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const storage = { load: () => [], save: async () => {}, remove: async () => {} };
  const transport = new Transport({ ...parts, storage, identity });
  const compressor = createCompressor();
  opened.defer(() => compressor.close());
  const links = new Links({ ...parts, transport, budget: new IncomingBudget(), compressor });
  transport.useLinks(links);
  const client = new TcpClient({ name: 'peer', host: '127.0.0.1', port: peer.port }, parts);
  const up = Promise.withResolvers<void>();
  const running = transport.attach(client).service.run(up.resolve, stop.signal);
  opened.defer(async () => {
    links.close();
    stop.abort();
    await running.catch(() => {});
  });
  await up.promise;
  const accepted = new Mailbox<Link>();
  const packets = new Mailbox<LinkPacket>();
  const resources = new Mailbox<ReceivedResource>();
  const identified = new Mailbox<string>();
  const events: LinkEvents = {
    onPacket: packet => packets.put(packet),
    onIdentified: who => identified.put(toHex(who.hash)),
    onResourceOffer: () => ({ onResource: resource => resources.put(resource) }),
  };
  const handlers = new RequestHandlers();
  handlers.add({ path: '/echo', allow: 'all', respond: request => ({ value: request.data }) });
  handlers.add({ path: '/mine', allow: new Set([peer.identity]), respond: () => ({ value: 'for you' }) });
  handlers.add({
    path: '/big',
    allow: 'all',
    respond: ({ data }) => ({ value: new Uint8Array(data as number).fill(7) }),
  });
  const ours = new LocalDestination({ identity, appName: 'app', aspects: ['echo'], proofStrategy: 'app' });
  transport.register(ours);
  links.accept(ours, {
    handlers,
    onLink: link => {
      accepted.put(link);
      return events;
    },
  });
  const theirs = await peer.addDestination('app.echo');
  await transport.requestPath(fromHex(theirs));
  await transport.announce(ours);
  await peer.next('announce', announce => announce.destination === ours.key);
  const owned = opened.move();
  return {
    peer,
    transport,
    links,
    identity,
    ours,
    accepted,
    packets,
    resources,
    identified,
    events,
    async open() {
      const { identity: whose } = transport.recall(fromHex(theirs))!;
      const link = await links.open(fromHex(theirs), { identity: whose, events });
      await peer.next('link', event => event.state === 'established' && event.link === link.key);
      return link;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const nothing = () => {};

/** Text that bzip2 makes much smaller. */
const compressible = (length: number) =>
  utf8('the mesh carries what it is given. '.repeat(length / 35 + 1)).subarray(0, length);

for (const version of versions) {
  describe(`links with rns ${version}`, { skip, timeout: 60_000 }, () => {
    test('we open one: data both ways with proofs, identify, close', async () => {
      await using at = await scene(version);
      const { peer } = at;
      const link = await at.open();
      assert.equal((await peer.linkState(link.key)).mtu, link.mtu);
      assert.equal(link.mtu, version === '1.5.7' ? 16_384 : 8192);

      assert.ok((await link.send(utf8('over the link'))) >= 0);
      assert.equal((await peer.next('link packet')).data, toHex(utf8('over the link')));
      const longest = randomBytes(link.mdu);
      await link.send(longest);
      assert.equal((await peer.next('link packet')).data, toHex(longest));

      await hears(at, link.key, 'and back');

      link.identify(at.identity);
      assert.equal(
        (await peer.next('link', event => event.state === 'identified')).identity,
        toHex(at.identity.hash),
      );
      link.close();
      await peer.next('link', event => event.state === 'closed');
    });

    test('the peer opens one: data, identify, requests, close', async () => {
      await using at = await scene(version);
      const { peer } = at;
      const { link } = await peer.openLink(at.ours.key, 'app.echo');
      const here = await at.accepted.take();
      assert.equal(here.key, link);

      await hears(at, link, 'hello');
      await peer.proveOnLink(link);
      await here.send(utf8('hello yourself'));
      assert.equal((await peer.next('link packet')).data, toHex(utf8('hello yourself')));

      assert.equal((await peer.request(link, '/mine', null, 500)).ready, false);
      await peer.identify(link);
      assert.equal(await at.identified.take(), peer.identity);
      assert.equal((await peer.request(link, '/mine')).response, 'for you');
      assert.deepEqual((await peer.request(link, '/echo', ['a', 1, { hex: '00ff' }])).response, [
        'a',
        1,
        { hex: '00ff' },
      ]);
      assert.equal((await peer.request(link, '/big', 50_000)).size, 50_000);
      const question = toHex(randomBytes(40_000));
      assert.deepEqual((await peer.request(link, '/echo', { hex: question })).response, { hex: question });

      const closed = Promise.withResolvers<string>();
      here.events = { onClosed: closed.resolve };
      await peer.closeLink(link);
      assert.equal(await closed.promise, 'there');
    });

    test('we request: small, large both ways, unknown, and what is not answered', async () => {
      await using at = await scene(version);
      const link = await at.open();
      assert.equal((await link.request('/echo', 'as it was')).data, 'as it was');
      const large = randomBytes(60_000);
      const echoed = (await link.request('/echo', large)).data;
      assert.deepEqual(Buffer.from(echoed as Uint8Array), large);
      const seen: number[] = [];
      const sized = (await link.request('/size', 300_000, { onProgress: progress => seen.push(progress) }))
        .data;
      assert.equal((sized as Uint8Array).length, 300_000);
      assert.equal(seen.at(-1), 1);
      await assert.rejects(link.request('/size', 300_000, { maxResponseSize: 1000 }), {
        code: 'mesh/too-large',
      });
      await assert.rejects(link.request('/nowhere', null, { timeout: 500 }), { code: 'mesh/timeout' });
      await assert.rejects(link.request('/nothing', null, { timeout: 500 }), { code: 'mesh/timeout' });
    });

    test('we send Resources of every size', async () => {
      await using at = await scene(version);
      const { peer } = at;
      const link = await at.open();
      for (const size of [1, 1000, 20_000, 200_000, 2_500_000, 10_000_000]) {
        const data = randomBytes(size);
        await link.sendResource(data, { compress: false });
        const heard = await peer.next('resource', event => event.state === 'complete');
        assert.equal(heard.state === 'complete' && heard.sha256, sha256(data), `${size} bytes`);
      }
      const text = compressible(2_500_000);
      await link.sendResource(text, { metadata: new Map([['name', 'text.txt']]) });
      const heard = await peer.next('resource', event => event.state === 'complete');
      assert.equal(heard.state === 'complete' && heard.sha256, sha256(text));
      assert.deepEqual(heard.state === 'complete' && heard.metadata, { name: 'text.txt' });
    });

    test('we receive Resources of every size, compressed and with metadata, and prove them when asked to', async () => {
      await using at = await scene(version);
      const { peer } = at;
      const link = await at.open();
      for (const size of [1, 1000, 20_000, 200_000, 2_500_000, 10_000_000]) {
        const sending = peer.sendResource(link.key, { size }, { compress: false });
        const got = await at.resources.take();
        got.prove();
        const end = await sending;
        assert.equal(end.status, 'complete');
        assert.equal(sha256(got.data), end.sha256, `${size} bytes`);
      }
      const text = compressible(1_200_000);
      const sending = peer.sendResource(link.key, { hex: toHex(text) }, { metadata: { name: 'text.txt' } });
      const got = await at.resources.take();
      await new Promise(resolve => setTimeout(resolve, 1500));
      got.prove();
      assert.equal((await sending).status, 'complete');
      assert.deepEqual(Buffer.from(got.data), Buffer.from(text));
      assert.deepEqual(got.metadata, new Map([['name', 'text.txt']]));
      assert.ok(got.transferSize < text.length / 2);
    });

    test('either side refuses and cancels', async () => {
      await using at = await scene(version);
      const { peer } = at;
      const link = await at.open();

      link.events = { ...at.events, onResourceOffer: () => 'reject' };
      const refused = await peer.sendResource(link.key, { size: 50_000 }, { timeout: 10_000 });
      assert.notEqual(refused.status, 'complete');

      const cancelling = (cancel: () => void) => {
        let stop = cancel;
        return {
          onResource: () => {},
          onStart: (ours: () => void) => {
            stop = cancel === nothing ? ours : cancel;
          },
          onProgress: (progress: number) => progress > 0.01 && stop(),
        };
      };
      link.events = { ...at.events, onResourceOffer: () => cancelling(nothing) };
      const cancelled = await peer.sendResource(
        link.key,
        { size: 1_000_000 },
        { compress: false, timeout: 10_000 },
      );
      assert.notEqual(cancelled.status, 'complete');

      const failed = Promise.withResolvers<string>();
      let asked: Promise<unknown> | undefined;
      // Between two segments the peer has nothing to cancel: then it is asked again.
      const ask = async () => {
        if ((await peer.cancelResources(link.key)) === 0) {
          asked = undefined;
        }
      };
      link.events = {
        ...at.events,
        onResourceOffer: () => ({
          ...cancelling(() => {
            asked ??= ask();
          }),
          onResource: () => failed.resolve('complete'),
          onFailed: error => failed.resolve(error.code),
        }),
      };
      const theirs = peer.sendResource(link.key, { size: 20_000_000 }, { compress: false, timeout: 2000 });
      assert.equal(await failed.promise, 'mesh/rejected');
      await asked;
      await theirs;

      const stop = new AbortController();
      const ours = link.sendResource(randomBytes(5_000_000), {
        compress: false,
        signal: stop.signal,
        onProgress: progress => {
          if (progress > 0.3) {
            stop.abort(new Error('enough'));
          }
        },
      });
      await assert.rejects(ours, /enough/);
      await peer.refuseResources(link.key);
      await assert.rejects(link.sendResource(randomBytes(50_000)), { code: 'mesh/rejected' });
      assert.equal((await peer.linkState(link.key)).state, 'active');
    });
  });
}
