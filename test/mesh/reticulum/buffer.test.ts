import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concat, utf8 } from '../../../src/lib/bytes.ts';
import { createCompressor } from '../../../src/lib/bzip2/pool.ts';
import { BufferReader } from '../../../src/mesh/reticulum/buffer-reader.ts';
import { BufferWriter } from '../../../src/mesh/reticulum/buffer-writer.ts';
import type { Channel } from '../../../src/mesh/reticulum/channel.ts';
import type { StreamChunk } from '../../../src/mesh/reticulum/channel-wire.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { seededRandom } from '../../sim/random.ts';
import { fill, type Nodes, type NodesOptions, settled, twoNodes } from './link-nodes.ts';

interface Ends extends AsyncDisposable {
  readonly nodes: Nodes;
  readonly near: Link;
  readonly a: Channel;
  readonly b: Channel;
}

async function ends(options: NodesOptions = {}): Promise<Ends> {
  const nodes = twoNodes(options);
  const far = Promise.withResolvers<Link>();
  const destination = await nodes.serve({
    onLink: link => {
      far.resolve(link);
      return {};
    },
  });
  const near = await nodes.until(nodes.open(destination));
  const { channel } = await nodes.until(far.promise);
  return {
    nodes,
    near,
    a: near.channel,
    b: channel,
    [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose](),
  };
}

function listening(link: Link): object {
  new BufferReader(link.channel, 0);
  return {};
}

async function all(reader: BufferReader): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader) {
    chunks.push(chunk);
  }
  return concat(...chunks);
}

describe('a buffer', () => {
  test('carries bytes to their end, also where packets are lost', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      await using at = await ends({ seed });
      const random = seededRandom(seed);
      at.nodes.fate = () =>
        random.fraction() < 0.05 ? [] : [{ after: 1 + Math.floor(random.fraction() * 20) }];
      const data = fill(`stream ${seed}`, 300_000);
      const read = all(new BufferReader(at.b, 7));
      const writer = new BufferWriter(at.a, 7);
      for (let from = 0; from < data.length; from += 70_001) {
        void writer.write(data.subarray(from, from + 70_001));
      }
      await at.nodes.until(writer.close());
      assert.deepEqual(await read, data);
    }
  });

  test('ends with its last bytes in one chunk, where they are given with the end', async () => {
    for (const length of [0, 1, 60_000]) {
      await using at = await ends();
      const data = fill('last', length);
      const chunks: StreamChunk[] = [];
      at.b.add({ take: ({ value }) => chunks.push(value as StreamChunk) === 0 });
      const read = all(new BufferReader(at.b, 7));
      await at.nodes.until(new BufferWriter(at.a, 7).close(data));
      assert.deepEqual(await read, data);
      assert.deepEqual(
        chunks.filter(({ end }) => end).map(({ data: last }) => last.length > 0),
        [length > 0],
      );
    }
  });

  test('each stream is its own, both ways over one channel', async () => {
    await using at = await ends();
    const readers = [1, 2].map(id => new BufferReader(at.b, id));
    const back = new BufferReader(at.a, 1);
    const writers = [1, 2].map(id => new BufferWriter(at.a, id));
    const answer = new BufferWriter(at.b, 1);
    await at.nodes.until(
      Promise.all([
        ...writers.map(writer => writer.write(utf8(`for ${writer.streamId}`))),
        answer.write(utf8('back')),
      ]),
    );
    await at.nodes.until(Promise.all([...writers, answer].map(writer => writer.close())));
    assert.deepEqual(await Promise.all([...readers, back].map(all)), ['for 1', 'for 2', 'back'].map(utf8));
  });

  test('a chunk fills what the channel carries', async () => {
    await using at = await ends();
    const sent: number[] = [];
    at.b.add({
      take: message => {
        sent.push((message.value as { data: Uint8Array }).data.length);
        return true;
      },
    });
    new BufferReader(at.b, 3);
    const writer = new BufferWriter(at.a, 3);
    assert.equal(writer.chunkSize, Math.min(at.a.mdu - 2, 16_384));
    await at.nodes.until(writer.write(new Uint8Array(writer.chunkSize * 2 + 1)));
    await at.nodes.until(writer.flush());
    assert.deepEqual(sent, [writer.chunkSize, writer.chunkSize, 1]);
  });

  test('is compressed on a slow link, and what does not get smaller goes as it is', async () => {
    await using compressor = { ...createCompressor(), [Symbol.asyncDispose]: async () => {} };
    await using at = await ends({ bitrate: 100_000 });
    at.nodes.fate = () => [{ after: 100 }];
    const destination = await at.nodes.serve({ onLink: listening });
    const slow = await at.nodes.until(at.nodes.open(destination));
    const text = utf8('the mesh carries what it is given. '.repeat(100));
    for (const [data, most] of [
      [text, 1],
      [fill('noise', 3500), 5],
    ] as const) {
      const before = at.nodes.a.counters.get('channel/sent');
      const writer = new BufferWriter(slow.channel, 0, { compressor });
      await at.nodes.until(writer.write(data));
      await at.nodes.until(writer.flush());
      assert.ok(at.nodes.a.counters.get('channel/sent') - before <= most);
    }
    await compressor.close();
  });

  test('a reader that does not read bounds what waits, and slows the writer down', async () => {
    await using at = await ends();
    const reader = new BufferReader(at.b, 1, { capacity: 40_000 });
    const data = fill('slow reader', 400_000);
    const writer = new BufferWriter(at.a, 1);
    const written = writer.write(data).then(() => writer.close());
    written.catch(() => {});
    await at.nodes.clock.advance(500);
    assert.ok(reader.available >= 40_000 && reader.available < 40_000 + 17_000, `${reader.available} wait`);
    const read = all(reader);
    await at.nodes.until(written);
    assert.deepEqual(await read, data);
    assert.ok(at.nodes.b.counters.get('channel/no-room') > 0);
  });

  test('a reader that never reads costs the writer its link', async () => {
    await using at = await ends();
    const reader = new BufferReader(at.b, 1, { capacity: 1000 });
    const writer = new BufferWriter(at.a, 1);
    await assert.rejects(at.nodes.until(writer.write(new Uint8Array(1_000_000))), { code: 'mesh/timeout' });
    assert.equal(at.near.state.at, 'closed');
    await assert.rejects(writer.flush());
    while (reader.available > 0) {
      await reader.read();
    }
    await at.nodes.clock.advance(1000);
    await assert.rejects(reader.read(), { code: 'mesh/link-closed' });
  });

  test('reads as much as is asked for, waits where there is nothing, and ends when it is closed', async () => {
    await using at = await ends();
    const reader = new BufferReader(at.b, 1);
    const writer = new BufferWriter(at.a, 1);
    const waiting = reader.read(3);
    await at.nodes.until(writer.write(utf8('abcdefg')));
    await at.nodes.until(writer.flush());
    assert.deepEqual(await waiting, utf8('abc'));
    assert.equal(reader.available, 4);
    assert.deepEqual(await reader.read(), utf8('defg'));
    const never = reader.read();
    await settled();
    reader.close();
    assert.equal(await never, undefined);
    assert.equal(at.b.status.takers, 0);
    await at.nodes.until(writer.close());
    await assert.rejects(writer.write(utf8('more')), { code: 'mesh/link-closed' });
  });

  test('streams have numbers up to 16383', async () => {
    await using at = await ends();
    for (const id of [-1, 16_384, 0.5]) {
      assert.throws(() => new BufferReader(at.b, id), { code: 'config/invalid' });
      assert.throws(() => new BufferWriter(at.b, id), { code: 'config/invalid' });
    }
  });
});
