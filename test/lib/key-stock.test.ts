import assert from 'node:assert/strict';
import { sign, verify } from 'node:crypto';
import { describe, test } from 'node:test';
import { KeyStock } from '../../src/lib/key-stock.ts';
import { exchange, importPublic } from '../../src/mesh/reticulum/keys.ts';

describe('a stock of keys', () => {
  test('gives pairs that belong together, each once, whether they were made ahead or not', async () => {
    const stock = new KeyStock();
    const seen = new Set<string>();
    for (let round = 0; round < 5; round++) {
      for (let taken = 0; taken < 6; taken++) {
        const a = stock.take('x25519');
        const b = stock.take('x25519');
        assert.deepEqual(
          exchange(a.privateKey, importPublic('x25519', b.publicKey)),
          exchange(b.privateKey, importPublic('x25519', a.publicKey)),
        );
        const signing = stock.take('ed25519');
        const signature = sign(null, a.publicKey, signing.privateKey);
        assert.ok(verify(null, a.publicKey, importPublic('ed25519', signing.publicKey), signature));
        for (const { publicKey } of [a, b, signing]) {
          assert.equal(publicKey.length, 32);
          seen.add(publicKey.toHex());
        }
      }
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    assert.equal(seen.size, 90);
  });
});
