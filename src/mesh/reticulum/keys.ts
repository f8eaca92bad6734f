import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  sign as signWith,
  verify as verifyWith,
} from 'node:crypto';
import { GatewayError } from '../../lib/errors.ts';
import type { KeyKind, KeyPair } from '../../lib/key-stock.ts';
import type { Random } from '../../lib/random.ts';
import { plain } from './packet.ts';

/**
 * The two kinds of key of this field as 32 raw bytes, which is how they travel, and as KeyObject,
 * which is how they are used. Importing costs as much as using, so whoever uses a key twice keeps
 * the KeyObject.
 */
export type { KeyKind };

export const keyLength = 32;
export const signatureLength = 64;

/** Throws `crypto/undecryptable` where the bytes cannot be a key. */
export function importPrivate(kind: KeyKind, raw: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: raw, format: 'raw-private', asymmetricKeyType: kind });
  } catch (cause) {
    throw new GatewayError('crypto/undecryptable', `not a private ${kind} key`, { cause });
  }
}

/** Throws `crypto/undecryptable` where the bytes cannot be a key. */
export function importPublic(kind: KeyKind, raw: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: raw, format: 'raw-public', asymmetricKeyType: kind });
  } catch (cause) {
    throw new GatewayError('crypto/undecryptable', `not a public ${kind} key`, { cause });
  }
}

/** A pair of keys for one use: made ahead where chance offers that, else of 32 bytes of it. */
export function freshPair(kind: KeyKind, random: Random): KeyPair {
  if (random.pair !== undefined) {
    return random.pair(kind);
  }
  const privateKey = importPrivate(kind, random.bytes(keyLength));
  return { privateKey, publicKey: publicOf(privateKey) };
}

/** The raw public half (32 B) of a private key. */
export function publicOf(privateKey: KeyObject): Uint8Array {
  return plain(createPublicKey(privateKey).export({ format: 'raw-public' }));
}

/** What both ends of an X25519 exchange know (32 B). Throws `crypto/undecryptable` for a key that gives nothing away. */
export function exchange(privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  try {
    return diffieHellman({ privateKey, publicKey });
  } catch (cause) {
    throw new GatewayError('crypto/undecryptable', 'key exchange gives no secret', { cause });
  }
}

/** Ed25519 signature, 64 B. */
export function sign(privateKey: KeyObject, message: Uint8Array): Uint8Array {
  return plain(signWith(null, message, privateKey));
}

/** Whether the Ed25519 signature is the key's over the message. */
export function verify(publicKey: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  return signature.length === signatureLength && verifyWith(null, message, publicKey, signature);
}
