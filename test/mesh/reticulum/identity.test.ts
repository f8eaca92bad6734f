import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemRandom } from '../../../src/lib/random.ts';
import {
  decodeIdentity,
  encodeIdentity,
  generateIdentity,
  PublicIdentity,
  ratchetId,
} from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate } from '../../../src/mesh/reticulum/keys.ts';
import { bytesOf, drawing, hexOf, vectors } from './vectors.ts';

interface IdentityValue {
  readonly publicKey: string;
  readonly hash: string;
  readonly signatures: readonly { readonly message: string; readonly signature: string }[];
}

interface EncryptionValue {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly identityHash: string;
  readonly ratchetPrivate: string | null;
  readonly ratchet: string | null;
  readonly ratchetId: string | null;
  readonly ephemeralPrivate: string;
  readonly iv: string;
  readonly plaintext: string;
}

const identities = vectors<IdentityValue>('identity');
const sealed = vectors<EncryptionValue>('encryption');

function openers(value: EncryptionValue) {
  return value.ratchetPrivate && value.ratchetId
    ? [{ key: importPrivate('x25519', bytesOf(value.ratchetPrivate)), id: bytesOf(value.ratchetId) }]
    : [];
}

describe('an identity', () => {
  test('read from a file of the reference has its keys and hash, and is written back the same', () => {
    for (const { name, bytes, value } of identities) {
      const identity = decodeIdentity(bytesOf(bytes));
      assert.equal(hexOf(identity.publicKey), value.publicKey, name);
      assert.equal(hexOf(identity.hash), value.hash, name);
      assert.equal(hexOf(encodeIdentity(identity)), bytes, name);
    }
  });

  test('signs as the reference does', () => {
    for (const { name, bytes, value } of identities) {
      const identity = decodeIdentity(bytesOf(bytes));
      for (const { message, signature } of value.signatures) {
        assert.equal(hexOf(identity.sign(bytesOf(message))), signature, name);
        assert.equal(identity.public.verify(bytesOf(signature), bytesOf(message)), true, name);
      }
    }
  });

  test('does not verify what it did not sign, and says so without throwing', () => {
    const identity = generateIdentity(systemRandom);
    const message = Uint8Array.of(1, 2, 3);
    const signature = identity.sign(message);
    assert.equal(identity.public.verify(signature, Uint8Array.of(1, 2, 4)), false);
    assert.equal(identity.public.verify(signature.subarray(1), message), false);
    assert.equal(generateIdentity(systemRandom).public.verify(signature, message), false);
    assert.equal(new PublicIdentity(new Uint8Array(64).fill(255)).verify(signature, message), false);
  });

  test('seals as the reference does, with and without a ratchet', () => {
    for (const { name, bytes, value } of sealed) {
      const identity = new PublicIdentity(bytesOf(value.publicKey));
      const random = drawing(value.ephemeralPrivate, value.iv);
      const ratchet = value.ratchet === null ? undefined : bytesOf(value.ratchet);
      assert.equal(hexOf(identity.encrypt(bytesOf(value.plaintext), random, ratchet)), bytes, name);
    }
  });

  test('opens what the reference sealed, and tells which ratchet did', () => {
    for (const { name, bytes, value } of sealed) {
      const opened = decodeIdentity(bytesOf(value.privateKey)).open(bytesOf(bytes), openers(value));
      assert.equal(hexOf(opened.plaintext), value.plaintext, name);
      assert.equal(hexOf(opened.ratchetId), value.ratchetId, name);
      if (value.ratchet !== null) {
        assert.equal(hexOf(ratchetId(bytesOf(value.ratchet))), value.ratchetId, name);
      }
    }
  });

  test('demands a ratchet where it is told to', () => {
    const own = sealed.find(({ value }) => value.ratchet === null)!;
    const ratcheted = sealed.find(({ value }) => value.ratchet !== null)!;
    const identity = decodeIdentity(bytesOf(ratcheted.value.privateKey));
    assert.ok(identity.open(bytesOf(ratcheted.bytes), openers(ratcheted.value), true).ratchetId);
    assert.throws(() => decodeIdentity(bytesOf(own.value.privateKey)).open(bytesOf(own.bytes), [], true), {
      code: 'crypto/undecryptable',
    });
  });

  test('does not open what is truncated or sealed for another', () => {
    const { bytes, value } = sealed[1]!;
    const whole = bytesOf(bytes);
    const identity = decodeIdentity(bytesOf(value.privateKey));
    for (let length = 0; length < whole.length; length++) {
      const still = length >= 96 && length % 16 === 0;
      const code = still ? 'crypto/undecryptable' : 'wire/truncated';
      assert.throws(() => identity.decrypt(whole.subarray(0, length)), { code }, `${length} bytes`);
    }
    assert.throws(() => generateIdentity(systemRandom).decrypt(whole), { code: 'crypto/undecryptable' });
    assert.throws(() => identity.decrypt(new Uint8Array(96)), { code: 'crypto/undecryptable' });
  });

  test('keeps its keys when the bytes they came from change', () => {
    const file = Buffer.from(identities[0]!.bytes, 'hex');
    const identity = decodeIdentity(file);
    file.fill(0);
    assert.equal(hexOf(encodeIdentity(identity)), identities[0]!.bytes);
  });

  test('of less than 64 bytes is truncated, and of more malformed', () => {
    for (let length = 0; length < 64; length++) {
      assert.throws(() => decodeIdentity(new Uint8Array(length)), { code: 'wire/truncated' });
      assert.throws(() => new PublicIdentity(new Uint8Array(length)), { code: 'wire/truncated' });
    }
    assert.throws(() => decodeIdentity(new Uint8Array(65)), { code: 'wire/malformed' });
    assert.throws(() => new PublicIdentity(new Uint8Array(65)), { code: 'wire/malformed' });
  });
});
