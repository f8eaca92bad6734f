import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { compress } from '../../../src/lib/bzip2/compress.ts';
import { createCompressor } from '../../../src/lib/bzip2/pool.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

const text = utf8('a line of text that repeats itself\n'.repeat(5000));

test('small and large bytes come back, several at once', async () => {
  const compressor = createCompressor();
  for (const bytes of [text, text.subarray(0, 1000)]) {
    const streams = await Promise.all([1, 2, 3].map(() => compressor.compress(bytes)));
    for (const stream of streams) {
      assert.deepEqual(await compressor.decompress(stream!, text.length), bytes);
    }
  }
  await compressor.close();
});

test('what grows is not compressed', async () => {
  const compressor = createCompressor();
  const random = seededRandom(3);
  assert.equal(await compressor.compress(random.bytes(100)), undefined);
  assert.equal(await compressor.compress(random.bytes(50_000)), undefined);
  await compressor.close();
});

test('errors keep their code across the thread', async () => {
  const compressor = createCompressor();
  const stream = compress(text);
  await assert.rejects(compressor.decompress(stream, 100_000), e => isGatewayError(e, 'mesh/too-large'));
  const noise = seededRandom(4).bytes(50_000);
  await assert.rejects(compressor.decompress(noise, 100_000), e => isGatewayError(e, 'wire/malformed'));
  await compressor.close();
});

test('where too much waits, compression is left out and decompression refused', async () => {
  const compressor = createCompressor({ capacity: 10_000, workers: 1 });
  const running = compressor.compress(text);
  const waiting = compressor.compress(text);
  assert.equal(await compressor.compress(text), undefined);
  await assert.rejects(compressor.decompress(text, 1000), e => isGatewayError(e, 'store/full'));
  assert.ok((await running) && (await waiting));
  await compressor.close();
});

test('two workers do what is given to them at once, and every answer goes to who asked', async () => {
  const compressor = createCompressor({ workers: 2 });
  const texts = Array.from({ length: 6 }, (_, at) => text.subarray(0, text.length - at));
  const streams = await Promise.all(texts.map(bytes => compressor.compress(bytes)));
  for (const [at, stream] of streams.entries()) {
    assert.deepEqual(await compressor.decompress(stream!, text.length), new Uint8Array(texts[at]!));
  }
  await compressor.close();
});

test('an idle worker is given back and another started when needed', async () => {
  const clock = new ManualClock();
  const compressor = createCompressor({ clock, idle: 1000 });
  assert.ok(await compressor.compress(text));
  assert.equal(clock.waiting, 1);
  await clock.advance(1000);
  assert.equal(clock.waiting, 0);
  assert.ok(await compressor.compress(text));
  await compressor.close();
});

test('closing rejects what waits', async () => {
  const compressor = createCompressor();
  const waiting = assert.rejects(compressor.compress(text), e => isGatewayError(e, 'store/unavailable'));
  await compressor.close();
  await waiting;
});
