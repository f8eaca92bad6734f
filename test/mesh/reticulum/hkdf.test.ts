import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { utf8 } from '../../../src/lib/bytes.ts';
import { hkdf } from '../../../src/mesh/reticulum/hkdf.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { bytesOf, hexOf } from './vectors.ts';

const material = new Uint8Array(32).fill(0x61);
const salt = new Uint8Array(16).fill(0x62);

describe('a derived key', () => {
  test('is that of RFC 5869, test case 1', () => {
    const derived = hkdf(
      new Uint8Array(22).fill(0x0b),
      42,
      bytesOf('000102030405060708090a0b0c'),
      bytesOf('f0f1f2f3f4f5f6f7f8f9'),
    );
    assert.equal(
      hexOf(derived),
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    );
  });

  test('is that of the reference, also where the block counter starts over', () => {
    assert.equal(
      hexOf(hkdf(material, 64, salt, utf8('info'))),
      'e1042c330069475ccf4f9e23dab90b415fe0ccdcbb9821c6a3ba94becb99870e4af9289f522eab6340e8e2fa824904c1c38cbf3bdc877698d3a1167fb21717fc',
    );
    assert.equal(
      hexOf(sha256(hkdf(material, 9000, salt))),
      '5f38c14b144fa8ae286477fe145688d04cd325a83f90ad06cb979c9fa3fab8f5',
    );
    assert.deepEqual(hkdf(material, 9000, salt).subarray(0, 8160), hkdf(material, 8160, salt));
  });
});
