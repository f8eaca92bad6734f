import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { fromUtf8, toHex, utf8 } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { BufferReader } from '../../src/mesh/reticulum/buffer-reader.ts';
import { BufferWriter } from '../../src/mesh/reticulum/buffer-writer.ts';
import type { MessageType } from '../../src/mesh/reticulum/channel-message.ts';
import type { ReceiptOutcome } from '../../src/mesh/reticulum/receipts.ts';
import { until } from '../contract/interface.ts';
import { Node } from './node.ts';
import { missingReference, type Peer, startPeer } from './peer.ts';

const skip = (await missingReference('1.5.7')) || (await missingReference('1.4.2'));

const said: MessageType<string> = { type: 0x0101, encode: utf8, decode: bytes => fromUtf8(bytes, 'message') };
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const names = (count: number) => Array.from({ length: count }, (_, at) => `message ${at}`);

/** Waits until both nodes have a path to the other, through reference nodes that search for nobody by themselves. */
async function acquaint(one: Node, other: Node): Promise<void> {
  const isKnown = (from: Node, to: Node) => from.transport.path(to.destination.hash) !== undefined;
  for (let tries = 0; tries < 40 && !(isKnown(one, other) && isKnown(other, one)); tries++) {
    await one.transport.announce(one.destination);
    await other.transport.announce(other.destination);
    await systemClock.sleep(1500);
  }
  assert.ok(isKnown(one, other) && isKnown(other, one), 'the two ends have no path to one another');
}

/** Packets, a link, a Resource, a Channel both ways and a Buffer both ways, from one end to the other. */
async function converse(one: Node, other: Node): Promise<void> {
  const identity = other.destination.identity!.public;
  const receipt = Promise.withResolvers<ReceiptOutcome>();
  await one.transport.send({
    destination: { identity, hash: other.destination.hash },
    data: utf8('hello'),
    onReceipt: receipt.resolve,
  });
  assert.equal((await receipt.promise).at, 'delivered');

  const link = await one.links.open(other.destination.hash, { identity });
  await link.send(utf8('over a link'), { timeout: 20_000 });
  const data = randomBytes(300_000);
  await link.sendResource(data, { compress: false });
  assert.deepEqual(other.received, [toHex(utf8('hello')), toHex(utf8('over a link'))]);
  assert.equal(sha256(other.resources[0]!), sha256(data));

  await until(() => other.incoming.length === 1);
  const ends = [link.channel, other.incoming[0]!.channel] as const;
  const heard: [string[], string[]] = [[], []];
  for (const [at, end] of ends.entries()) {
    end.on(said, text => heard[at]?.push(text));
  }
  await Promise.all(
    ends.map(async end => {
      const sending: Promise<number>[] = [];
      for (const name of names(60)) {
        await end.ready();
        sending.push(end.send(said, name));
      }
      await Promise.all(sending);
    }),
  );
  assert.deepEqual(heard, [names(60), names(60)]);
  for (const [from, to] of [ends, [ends[1], ends[0]]] as const) {
    const reader = new BufferReader(to, 3);
    const writer = new BufferWriter(from, 3);
    const stream = data.subarray(0, 50_000);
    const writing = writer.write(stream).then(() => writer.close());
    const digest = createHash('sha256');
    for await (const chunk of reader) {
      digest.update(chunk);
    }
    await writing;
    assert.equal(digest.digest('hex'), sha256(stream));
    reader.close();
  }
  link.close();
}

/** The port of a reference node, once it has taken in what dialled it: what reaches it before is lost on it. */
const transportNode = (version: '1.5.7' | '1.4.2', uplink?: number): Promise<Peer> =>
  startPeer({
    version,
    transport: true,
    interfaces: [
      { type: 'server' },
      ...(uplink === undefined ? [] : [{ type: 'client', port: uplink } as const]),
    ],
  });

describe('chains of nodes', { skip, timeout: 240_000 }, () => {
  test('a reference node between two of ours carries packets, links, Resources, channels and streams', async () => {
    await using middle = await transportNode('1.5.7');
    await using one = new Node(true);
    await using other = new Node(true);
    await one.dial(middle.port);
    await other.dial(middle.port);
    await acquaint(one, other);
    assert.equal(one.transport.path(other.destination.hash)?.hops, 2);
    await converse(one, other);
  });

  test('five hops of ours and the reference in turn carry the same, both ways', async () => {
    await using first = await transportNode('1.5.7');
    await using second = new Node(true);
    await using third = await transportNode('1.4.2', await second.listen());
    await using fourth = new Node(true);
    await using one = new Node(false);
    await using other = new Node(false);
    await one.dial(first.port);
    await second.dial(first.port);
    await fourth.dial(third.port);
    await other.dial(await fourth.listen());
    await acquaint(one, other);
    assert.equal(one.transport.path(other.destination.hash)?.hops, 5);
    await converse(one, other);
  });
});
