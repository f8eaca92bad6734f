import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../../lib/errors.ts';

/**
 * A token: bytes sealed under a symmetric key of 64 bytes, of which the first half signs and the
 * second half encrypts.
 *
 *     iv 16 | AES-256-CBC ciphertext, PKCS #7 padded, 16 … | HMAC-SHA256 over all before 32
 *
 * Source: SPEC.md §3; checked against RNS 1.5.7 (test/vectors/token.json).
 */
export const tokenKeyLength = 64;
export const tokenIvLength = 16;
/** What a token is longer than its padded plaintext. */
export const tokenOverhead = 48;

const blockLength = 16;
const macLength = 32;

/** Bytes of the token of a plaintext of `length` bytes. */
export function sealedLength(length: number): number {
  return tokenOverhead + (Math.floor(length / blockLength) + 1) * blockLength;
}

/** Whether a token can be that long: at least one block, and whole ones. */
export function isTokenLength(length: number): boolean {
  return length >= sealedLength(0) && (length - tokenOverhead) % blockLength === 0;
}

/** A fresh token. `key` has 64 bytes, `iv` 16 unpredictable ones that are never used twice. */
export function sealToken(key: Uint8Array, plaintext: Uint8Array, iv: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-cbc', key.subarray(32), iv);
  const token = new Uint8Array(sealedLength(plaintext.length));
  token.set(iv, 0);
  const body = cipher.update(plaintext);
  token.set(body, tokenIvLength);
  token.set(cipher.final(), tokenIvLength + body.length);
  const signed = token.length - macLength;
  token.set(mac(key, token.subarray(0, signed)), signed);
  return token;
}

/**
 * The plaintext, fresh bytes. Throws `wire/truncated` where no token has that length,
 * `crypto/undecryptable` where the key is another one or a byte was changed.
 */
export function openToken(key: Uint8Array, token: Uint8Array): Uint8Array {
  const signed = token.length - macLength;
  if (!isTokenLength(token.length)) {
    throw new GatewayError('wire/truncated', `a token cannot have ${token.length} bytes`);
  }
  if (!timingSafeEqual(mac(key, token.subarray(0, signed)), token.subarray(signed))) {
    throw new GatewayError('crypto/undecryptable', 'token sealed with another key, or changed');
  }
  try {
    const decipher = createDecipheriv('aes-256-cbc', key.subarray(32), token.subarray(0, tokenIvLength));
    const body = decipher.update(token.subarray(tokenIvLength, signed));
    const last = decipher.final();
    const plaintext = new Uint8Array(body.length + last.length);
    plaintext.set(body, 0);
    plaintext.set(last, body.length);
    return plaintext;
  } catch (cause) {
    throw new GatewayError('crypto/undecryptable', 'token with broken padding', { cause });
  }
}

function mac(key: Uint8Array, signed: Uint8Array): Uint8Array {
  return createHmac('sha256', key.subarray(0, 32)).update(signed).digest();
}
