import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { systemRandom } from '../../../src/lib/random.ts';
import {
  generateTokenKey,
  openToken,
  sealedLength,
  sealToken,
  verifyToken,
} from '../../../src/mesh/reticulum/token.ts';
import { bytesOf, hexOf, vectors } from './vectors.ts';

const cases = vectors<{ key: string; iv: string; plaintext: string }>('token');

describe('a token', () => {
  test('is the one the reference makes of the same key, iv and plaintext', () => {
    for (const { name, bytes, value } of cases) {
      const token = sealToken(
        bytesOf(value.key),
        plaintextOf(value.plaintext, bytes, value.key),
        bytesOf(value.iv),
      );
      assert.equal(hexOf(token), bytes, name);
      assert.equal(token.length, sealedLength(openToken(bytesOf(value.key), token).length), name);
    }
  });

  test('opens to the plaintext the reference sealed', () => {
    for (const { name, bytes, value } of cases) {
      if (typeof value.plaintext === 'string') {
        assert.equal(hexOf(openToken(bytesOf(value.key), bytesOf(bytes))), value.plaintext, name);
      }
    }
  });

  test('does not open truncated, changed, or with another key', () => {
    const { bytes, value } = cases[4]!;
    const token = bytesOf(bytes);
    const key = bytesOf(value.key);
    for (let length = 0; length < token.length; length++) {
      // Cut to a length that a token can have, only its code tells.
      const code = length >= 64 && length % 16 === 0 ? 'crypto/undecryptable' : 'wire/truncated';
      assert.throws(() => openToken(key, token.subarray(0, length)), { code }, `${length} bytes`);
    }
    for (let at = 0; at < token.length; at++) {
      const changed = new Uint8Array(token);
      changed[at] = changed[at]! ^ 1;
      assert.throws(() => openToken(key, changed), { code: 'crypto/undecryptable' });
    }
    assert.throws(() => openToken(new Uint8Array(64), token), { code: 'crypto/undecryptable' });
  });

  test('can be told from a changed one without opening it', () => {
    for (const { bytes, value } of cases) {
      const token = bytesOf(bytes);
      assert.equal(verifyToken(bytesOf(value.key), token), true);
      token[0] = token[0]! ^ 1;
      assert.equal(verifyToken(bytesOf(value.key), token), false);
    }
    assert.throws(() => verifyToken(new Uint8Array(64), new Uint8Array(32)), { code: 'wire/truncated' });
  });

  test('has keys of 64 bytes, or of 32 for AES-128, and of no other length', () => {
    assert.equal(generateTokenKey(systemRandom).length, 64);
    assert.equal(generateTokenKey(systemRandom, 'aes-128-cbc').length, 32);
    assert.throws(() => generateTokenKey(systemRandom, 'aes-512-gcm' as 'aes-128-cbc'), {
      code: 'config/invalid',
    });
    const short = new Uint8Array(48);
    assert.throws(() => sealToken(short, new Uint8Array(1), new Uint8Array(16)), { code: 'config/invalid' });
  });

  test('gives back whatever was sealed', () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(bytes(64), bytes(16), fc.uint8Array({ maxLength: 300 }), (key, iv, plaintext) => {
        assert.deepEqual(openToken(key, sealToken(key, plaintext, iv)), plaintext);
      }),
    );
  });
});

/** Long plaintexts are named in the vectors, not written out: then the reference's own token tells. */
function plaintextOf(plaintext: unknown, token: string, key: string): Uint8Array {
  return typeof plaintext === 'string' ? bytesOf(plaintext) : openToken(bytesOf(key), bytesOf(token));
}
