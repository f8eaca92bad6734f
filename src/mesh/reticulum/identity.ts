import type { KeyObject } from 'node:crypto';
import { concat } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import { hkdf } from './hkdf.ts';
import {
  exchange,
  freshPair,
  importPrivate,
  importPublic,
  keyLength,
  publicOf,
  sign,
  signatureLength,
  verify,
} from './keys.ts';
import { sha256, truncatedHash } from './packet.ts';
import { isTokenLength, openToken, sealToken, tokenIvLength, tokenKeyLength } from './token.ts';

/**
 * An Identity is two pairs of keys: X25519 to be written to, Ed25519 to sign with. Both halves are
 * written in that order, 32 B each, on the wire (public) and in the reference's files (private, no
 * header, no checksum).
 *
 * What is encrypted for it:  ephemeral X25519 public key 32 | token, under HKDF-SHA256(shared secret,
 * salt = identity hash).
 *
 * Source: SPEC.md §1.1, §1.3, §3; checked against RNS 1.5.7 (test/vectors/identity.json).
 */
export const publicKeyLength = 2 * keyLength;
export const privateKeyLength = 2 * keyLength;
const ratchetIdLength = 10;

/** What others know of an Identity. */
export class PublicIdentity {
  /** 64 B, as announced. */
  readonly publicKey: Uint8Array;
  /** 16 B. */
  readonly hash: Uint8Array;
  #encryption: KeyObject | undefined;

  /** Keeps a copy of the 64 bytes; `wire/truncated` or `wire/malformed` where they are not 64. The keys are imported when first used. */
  constructor(publicKey: Uint8Array) {
    refuseOtherLength(publicKey, publicKeyLength, 'a public key');
    this.publicKey = new Uint8Array(publicKey);
    this.hash = truncatedHash(sha256(this.publicKey));
  }

  /** Whether this Identity signed the message. */
  verify(signature: Uint8Array, message: Uint8Array): boolean {
    const key = this.#verificationKey();
    return key !== undefined && verify(key, message, signature);
  }

  /** The same by threads. */
  verifyBeside(
    threads: SignatureThreads,
    signature: Uint8Array,
    message: Uint8Array,
    done: (valid: boolean) => void,
  ): void {
    const key = this.#verificationKey();
    if (key === undefined || signature.length !== signatureLength) {
      done(false);
    } else {
      threads.verify(key, message, signature, done);
    }
  }

  /**
   * Seals for this Identity, or for its ratchet (public key, 32 B) where one is known. Takes the
   * ephemeral key (32 B) and then the iv (16 B) from `random`. Throws `crypto/undecryptable` where the
   * keys are none that anything could be encrypted for.
   */
  encrypt(plaintext: Uint8Array, random: Random, ratchet?: Uint8Array): Uint8Array {
    const { privateKey, publicKey } = freshPair('x25519', random);
    const target = ratchet === undefined ? this.#encryptionKey() : importPublic('x25519', ratchet);
    const key = hkdf(exchange(privateKey, target), tokenKeyLength, this.hash);
    return concat(publicKey, sealToken(key, plaintext, random.bytes(tokenIvLength)));
  }

  /** Undefined where the bytes are no key. */
  #verificationKey(): KeyObject | undefined {
    try {
      // Not kept: it takes kilobytes, and next to nothing of the time that verifying takes.
      return importPublic('ed25519', this.publicKey.subarray(keyLength));
    } catch (error) {
      if (isGatewayError(error)) {
        return undefined;
      }
      throw error;
    }
  }

  #encryptionKey(): KeyObject {
    this.#encryption ??= importPublic('x25519', this.publicKey.subarray(0, keyLength));
    return this.#encryption;
  }
}

/** What was sealed for an Identity, and which of its ratchets opened it: none where it was the Identity's own key. */
export interface Opened {
  readonly plaintext: Uint8Array;
  /** 10 B. */
  readonly ratchetId: Uint8Array | undefined;
}

/** A ratchet of our own, ready for use. */
export interface OpeningRatchet {
  readonly key: KeyObject;
  /** 10 B. */
  readonly id: Uint8Array;
}

/** An Identity of our own, with its private keys. */
export class Identity {
  readonly public: PublicIdentity;
  readonly #privateKey: Uint8Array;
  readonly #decryption: KeyObject;
  readonly #signing: KeyObject;

  constructor(privateKey: Uint8Array) {
    refuseOtherLength(privateKey, privateKeyLength, 'an identity');
    this.#privateKey = new Uint8Array(privateKey);
    this.#decryption = importPrivate('x25519', this.#privateKey.subarray(0, keyLength));
    this.#signing = importPrivate('ed25519', this.#privateKey.subarray(keyLength));
    this.public = new PublicIdentity(concat(publicOf(this.#decryption), publicOf(this.#signing)));
  }

  /** 16 B. */
  get hash(): Uint8Array {
    return this.public.hash;
  }

  /** 64 B. */
  get publicKey(): Uint8Array {
    return this.public.publicKey;
  }

  /** Ed25519 signature, 64 B. */
  sign(message: Uint8Array): Uint8Array {
    return sign(this.#signing, message);
  }

  /** The same by threads. */
  signBeside(threads: SignatureThreads, message: Uint8Array, done: (signature: Uint8Array) => void): void {
    threads.sign(this.#signing, message, signature => done(signature ?? this.sign(message)));
  }

  /** What a peer sealed for this Identity's own key; throws `crypto/undecryptable`. */
  decrypt(sealed: Uint8Array): Uint8Array {
    return this.open(sealed).plaintext;
  }

  /**
   * Opens with the first of `ratchets` that fits, else with the Identity's own key unless a ratchet is
   * enforced. Throws `wire/truncated` where nothing sealed has that length, else `crypto/undecryptable`.
   */
  open(sealed: Uint8Array, ratchets: readonly OpeningRatchet[] = [], enforceRatchet = false): Opened {
    // Before any key exchange: what cannot be a token costs nothing.
    if (!isTokenLength(sealed.length - keyLength)) {
      throw new GatewayError('wire/truncated', `${sealed.length} bytes cannot hold a key and a token`);
    }
    const ephemeral = importPublic('x25519', sealed.subarray(0, keyLength));
    const token = sealed.subarray(keyLength);
    for (const ratchet of ratchets) {
      try {
        return { plaintext: this.#openWith(ratchet.key, ephemeral, token), ratchetId: ratchet.id };
      } catch (error) {
        if (!isGatewayError(error, 'crypto/undecryptable')) {
          throw error;
        }
      }
    }
    if (enforceRatchet) {
      throw new GatewayError(
        'crypto/undecryptable',
        'not sealed for a ratchet, which this destination demands',
      );
    }
    return { plaintext: this.#openWith(this.#decryption, ephemeral, token), ratchetId: undefined };
  }

  /** The 64 bytes of the reference's identity file. Secret: whoever has them is this Identity. */
  exportPrivateKey(): Uint8Array {
    return new Uint8Array(this.#privateKey);
  }

  #openWith(key: KeyObject, ephemeral: KeyObject, token: Uint8Array): Uint8Array {
    return openToken(hkdf(exchange(key, ephemeral), tokenKeyLength, this.hash), token);
  }
}

/** A new Identity: X25519 seed and then Ed25519 seed from `random`. */
export function generateIdentity(random: Random): Identity {
  return new Identity(concat(random.bytes(keyLength), random.bytes(keyLength)));
}

/** The Identity of a reference file; `wire/malformed` where it has not 64 bytes. */
export function decodeIdentity(bytes: Uint8Array): Identity {
  return new Identity(bytes);
}

/** The 64 bytes of an identity file, as the reference writes it. */
export function encodeIdentity(identity: Identity): Uint8Array {
  return identity.exportPrivateKey();
}

/** The id (10 B) of a ratchet's public key: what tells ratchets apart where a whole key is too long. */
export function ratchetId(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).subarray(0, ratchetIdLength);
}

function refuseOtherLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) {
    const code = bytes.length < length ? 'wire/truncated' : 'wire/malformed';
    throw new GatewayError(code, `${what} has ${length} bytes, not ${bytes.length}`);
  }
}
