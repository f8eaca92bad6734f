import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';

/**
 * A token: bytes sealed under a symmetric key of 64 bytes, of which the first half signs and the
 * second half encrypts. A key of 32 bytes, which old groups share, is halved in the same way for AES-128.
 *
 *     iv 16 | AES-256-CBC ciphertext, PKCS #7 padded, 16 … | HMAC-SHA256 over all before 32
 *
 * Source: SPEC.md §3; checked against RNS 1.5.7 (test/vectors/token.json).
 */
export const tokenKeyLength = 64;
export const tokenIvLength = 16;
/** What a token is longer than its padded plaintext. */
export const tokenOverhead = 48;

export const tokenBlockLength = 16;
const blockLength = tokenBlockLength;
const macLength = 32;
const nothing = new Uint8Array(0);

/** Bytes of the key of each cipher that tokens are made with. */
const keyLengths = { 'aes-128-cbc': 32, 'aes-256-cbc': tokenKeyLength } as const;
export type TokenCipher = keyof typeof keyLengths;

/** Bytes of the token of a plaintext of `length` bytes. */
export function sealedLength(length: number): number {
  return tokenOverhead + (Math.floor(length / blockLength) + 1) * blockLength;
}

/** Whether a token can be that long: at least one block, and whole ones. */
export function isTokenLength(length: number): boolean {
  return length >= sealedLength(0) && (length - tokenOverhead) % blockLength === 0;
}

/** A new key for tokens of a cipher; throws `config/invalid` for one that tokens are not made with. */
export function generateTokenKey(random: Random, cipher: TokenCipher = 'aes-256-cbc'): Uint8Array {
  if (!Object.hasOwn(keyLengths, cipher)) {
    throw new GatewayError('config/invalid', `invalid token mode: ${cipher}`);
  }
  return random.bytes(keyLengths[cipher]);
}

/**
 * A fresh token. `key` has 64 bytes (or 32), `iv` 16 unpredictable ones that are never used twice. What is `ahead` is
 * sealed in front of the plaintext, which may be long and is not copied for that.
 */
export function sealToken(
  key: Uint8Array,
  plaintext: Uint8Array,
  iv: Uint8Array,
  ahead: Uint8Array = nothing,
): Uint8Array {
  const cipher = createCipheriv(cipherOf(key), key.subarray(key.length / 2), iv);
  const token = new Uint8Array(sealedLength(ahead.length + plaintext.length));
  token.set(iv, 0);
  let at = tokenIvLength;
  for (const piece of ahead.length === 0 ? [plaintext] : [ahead, plaintext]) {
    const body = cipher.update(piece);
    token.set(body, at);
    at += body.length;
  }
  token.set(cipher.final(), at);
  const signed = token.length - macLength;
  token.set(mac(key, token.subarray(0, signed)), signed);
  return token;
}

/**
 * The plaintext, fresh bytes. Throws `wire/truncated` where no token has that length,
 * `crypto/undecryptable` where the key is another one or a byte was changed.
 */
export function openToken(key: Uint8Array, token: Uint8Array): Uint8Array {
  if (!isTokenLength(token.length)) {
    throw new GatewayError('wire/truncated', `a token cannot have ${token.length} bytes`);
  }
  if (!verifyToken(key, token)) {
    throw new GatewayError('crypto/undecryptable', 'token sealed with another key, or changed');
  }
  const iv = token.subarray(0, tokenIvLength);
  const decipher = createDecipheriv(cipherOf(key), key.subarray(key.length / 2), iv).setAutoPadding(false);
  const padded = decipher.update(token.subarray(tokenIvLength, token.length - macLength));
  decipher.final();
  return unpadded(new Uint8Array(padded.buffer, padded.byteOffset, padded.length));
}

/**
 * What was padded to whole blocks, a view: the last byte says by how much, and the reference looks at no other. Throws
 * `crypto/undecryptable` where that is more than a block.
 */
export function unpadded(padded: Uint8Array): Uint8Array {
  const added = padded.at(-1) ?? blockLength + 1;
  if (added > blockLength) {
    throw new GatewayError('crypto/undecryptable', 'token with broken padding');
  }
  return padded.subarray(0, padded.length - added);
}

/** Whether the token was sealed with this key and not changed since. Throws `wire/truncated` where it has no room for that. */
export function verifyToken(key: Uint8Array, token: Uint8Array): boolean {
  const signed = token.length - macLength;
  if (signed <= 0) {
    throw new GatewayError('wire/truncated', `a token cannot have ${token.length} bytes`);
  }
  return timingSafeEqual(mac(key, token.subarray(0, signed)), token.subarray(signed));
}

function mac(key: Uint8Array, signed: Uint8Array): Uint8Array {
  return createHmac('sha256', key.subarray(0, key.length / 2))
    .update(signed)
    .digest();
}

/** Throws `config/invalid` for a key that no cipher has. */
function cipherOf(key: Uint8Array): TokenCipher {
  switch (key.length) {
    case keyLengths['aes-256-cbc']:
      return 'aes-256-cbc';
    case keyLengths['aes-128-cbc']:
      return 'aes-128-cbc';
    default:
      throw new GatewayError('config/invalid', `a token's key has 64 or 32 bytes, not ${key.length}`);
  }
}
