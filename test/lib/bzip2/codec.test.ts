import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, utf8 } from '../../../src/lib/bytes.ts';
import { compress } from '../../../src/lib/bzip2/compress.ts';
import { decompress } from '../../../src/lib/bzip2/decompress.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { missingPackage } from '../../package.ts';
import { seededRandom } from '../../sim/random.ts';

interface Vector {
  readonly name: string;
  readonly bytes: string;
  readonly value: { readonly length: number; readonly sha256: string };
}

const vectors: { readonly cases: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/bzip2.json', import.meta.url), 'utf8'),
);

const limit = 1 << 24;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

for (const { name, bytes, value } of vectors.cases) {
  test(`${name}: decompressed like libbz2, and our own stream gives it back`, () => {
    const plain = decompress(Uint8Array.fromHex(bytes), { limit: value.length });
    assert.equal(plain.length, value.length);
    assert.equal(sha256(plain), value.sha256);
    assert.deepEqual(decompress(compress(plain), { limit }), plain);
  });
}

test('every cut of a stream is truncated', () => {
  for (const { bytes } of vectors.cases.filter(({ bytes }) => bytes.length < 1200)) {
    const stream = Uint8Array.fromHex(bytes);
    for (let length = 0; length < stream.length; length++) {
      assert.throws(
        () => decompress(stream.subarray(0, length), { limit }),
        error => isGatewayError(error, 'wire/truncated'),
      );
    }
  }
});

test('one byte over the limit is too large, and the limit itself is not', () => {
  const bytes = new Uint8Array(500_000).fill(7);
  const stream = compress(bytes);
  assert.ok(stream.length < 100);
  assert.equal(decompress(stream, { limit: 500_000 }).length, 500_000);
  for (const less of [499_999, 499_900, 4, 0]) {
    assert.throws(
      () => decompress(stream, { limit: less }),
      error => isGatewayError(error, 'mesh/too-large'),
    );
  }
});

test('streams that follow each other are one, and what begins none is ignored', () => {
  const both = concat(compress(utf8('one ')), compress(utf8('two')), utf8('rest'));
  assert.deepEqual(decompress(both, { limit }), utf8('one two'));
});

test('any bytes come back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 1, max: 255 }), (bytes, mask) => {
      const fewer = bytes.map(byte => byte & mask);
      assert.deepEqual(decompress(compress(fewer), { limit }), fewer);
    }),
  );
});

test('periodic input, which has equal rotations, comes back', () => {
  for (const period of ['ab', 'aab', 'abcabd', 'ba', 'zyx'.repeat(100)]) {
    for (const times of [1, 2, 3, 700]) {
      const bytes = utf8(period.repeat(times));
      assert.deepEqual(decompress(compress(bytes), { limit }), bytes);
    }
  }
});

test('a changed stream gives the same bytes or an error with a code', () => {
  const random = seededRandom(1);
  const stream = compress(utf8('the quick brown fox jumps over the lazy dog. '.repeat(40)));
  for (let i = 0; i < 3000; i++) {
    const changed = stream.slice();
    for (let flips = 1 + random.fraction() * 4; flips > 0; flips--) {
      changed[Math.floor(random.fraction() * changed.length)] = random.bytes(1)[0]!;
    }
    try {
      decompress(changed, { limit: 100_000 });
    } catch (error) {
      assert.ok(isGatewayError(error, 'wire/truncated', 'wire/malformed', 'mesh/too-large'), String(error));
    }
  }
});

test('libbz2 reads what we write, and it is about as small as its own', {
  skip: missingPackage('python3', spawnSync('python3', ['-c', 'import bz2']).status === 0),
}, () => {
  const random = seededRandom(2);
  const words = Array.from({ length: 4000 }, () => random.bytes(3 + random.fraction() * 6).toHex());
  const text = utf8(
    Array.from({ length: 120_000 }, () => words[Math.floor(random.fraction() ** 3 * 4000)]).join(' '),
  );
  const samples = {
    random: random.bytes(300_000),
    text,
    runs: new Uint8Array(2_000_000),
    one: utf8('x'),
    none: utf8(''),
  };
  for (const [name, sample] of Object.entries(samples)) {
    const script =
      'import sys,bz2;d=bz2.decompress(sys.stdin.buffer.read());sys.stdout.buffer.write(bz2.compress(d))';
    const ours = compress(sample);
    const { stdout, status } = spawnSync('python3', ['-c', script], { input: ours, maxBuffer: limit });
    assert.equal(status, 0, name);
    assert.equal(sha256(decompress(new Uint8Array(stdout), { limit })), sha256(sample), name);
    assert.ok(ours.length <= stdout.length * 1.02 + 50, `${name}: ${ours.length} against ${stdout.length}`);
  }
});
