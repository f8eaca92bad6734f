import { createCipheriv, createDecipheriv, createHmac, hash } from 'node:crypto';
import { compress } from '../../../src/lib/bzip2/compress.ts';
import { decompress } from '../../../src/lib/bzip2/decompress.ts';
import { nameHash } from '../../../src/mesh/reticulum/destination.ts';
import { hkdf } from '../../../src/mesh/reticulum/hkdf.ts';
import {
  exchange,
  importPrivate,
  importPublic,
  type KeyKind,
  keyLength,
  publicOf,
  sign,
  verify,
} from '../../../src/mesh/reticulum/keys.ts';
import { sha256, truncatedHash } from '../../../src/mesh/reticulum/packet.ts';
import { tokenBlockLength, unpadded } from '../../../src/mesh/reticulum/token.ts';
import type { Command, Commands, Params, Result } from '../command.ts';
import { bytesIf, bytesOf, hex, integerOf, textIf, textOf } from '../params.ts';

/*
 * Hashes, ciphers, keys and compression. What the stack takes from node:crypto as it is, SHA-512, HMAC and AES-CBC,
 * is asked of node:crypto with the same words; everything else is the stack's own function.
 */

/** Bytes of the largest thing that is decompressed, as a Resource's segments have. */
const decompressLimit = 64 * 1024 * 1024;
const nothing = new Uint8Array(0);

const generate =
  (kind: KeyKind): Command =>
  params => {
    const seed = bytesOf(params, 'seed', keyLength);
    return { private_key: hex(seed), public_key: hex(publicOf(importPrivate(kind, seed))) };
  };

const shared = (params: Params): Uint8Array =>
  exchange(
    importPrivate('x25519', bytesOf(params, 'private_key', keyLength)),
    importPublic('x25519', bytesOf(params, 'peer_public_key', keyLength)),
  );

/** The seed, or the seed with the public key behind it, as some keep it. */
function signed(params: Params): Uint8Array {
  const key = bytesOf(params, 'private_key');
  const seed = key.length === 2 * keyLength ? key.subarray(0, keyLength) : key;
  return sign(importPrivate('ed25519', seed), bytesOf(params, 'message'));
}

function verified(params: Params): boolean {
  const [key, message, signature] = ['public_key', 'message', 'signature'].map(name => bytesOf(params, name));
  try {
    return verify(importPublic('ed25519', key!), message!, signature!);
  } catch {
    return false;
  }
}

/** AES-CBC as the tokens use it; `padded` with PKCS #7, which is the cipher's own. */
function encrypt(plaintext: Uint8Array, key: Uint8Array, iv: Uint8Array, padded: boolean): Uint8Array {
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv).setAutoPadding(padded);
  return Buffer.concat([cipher.update(plaintext), cipher.final()]);
}

function decrypt(ciphertext: Uint8Array, key: Uint8Array, iv: Uint8Array, padded: boolean): Uint8Array {
  const decipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, iv).setAutoPadding(padded);
  return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
}

const aes =
  (run: typeof encrypt, from: string, to: string, padded: boolean): Command =>
  params => {
    const length = textIf(params, 'mode') === 'AES_128_CBC' ? 16 : 32;
    const key = bytesOf(params, 'key', length);
    return { [to]: hex(run(bytesOf(params, from), key, bytesOf(params, 'iv'), padded)) };
  };

/** A key that nothing is kept secret with: padding is seen through it. */
const glassKey = new Uint8Array(32);
const glassIv = new Uint8Array(tokenBlockLength);

const providers: Readonly<Record<string, (params: Params) => Result>> = {
  x25519_exchange: params => ({ result: hex(shared(params)) }),
  ed25519_sign: params => ({ result: hex(signed(params)) }),
  ed25519_verify: params => ({ valid: verified(params) }),
  aes_256_cbc_encrypt: params => ({
    result: hex(
      encrypt(bytesOf(params, 'plaintext'), bytesOf(params, 'key', 32), bytesOf(params, 'iv'), false),
    ),
  }),
};

export const commands: Commands = {
  sha256: params => ({ hash: hex(sha256(bytesOf(params, 'data'))) }),
  sha512: params => ({ hash: hash('sha512', bytesOf(params, 'data'), 'hex') }),
  truncated_hash: params => {
    const whole = sha256(bytesOf(params, 'data'));
    return { hash: hex(truncatedHash(whole)), full_hash: hex(whole) };
  },
  name_hash: params => ({ hash: hex(nameHash(textOf(params, 'name'))) }),
  hmac_sha256: params => ({
    hmac: createHmac('sha256', bytesOf(params, 'key')).update(bytesOf(params, 'message')).digest('hex'),
  }),
  hkdf: params => {
    const [salt, info] = [bytesIf(params, 'salt') ?? nothing, bytesIf(params, 'info') ?? nothing];
    return { derived_key: hex(hkdf(bytesOf(params, 'ikm'), integerOf(params, 'length'), salt, info)) };
  },
  pkcs7_pad: params => ({
    padded: hex(decrypt(encrypt(bytesOf(params, 'data'), glassKey, glassIv, true), glassKey, glassIv, false)),
  }),
  pkcs7_unpad: params => ({ unpadded: hex(unpadded(bytesOf(params, 'data'))) }),
  aes_encrypt: aes(encrypt, 'plaintext', 'ciphertext', true),
  aes_decrypt: aes(decrypt, 'ciphertext', 'plaintext', true),
  aes_256_cbc_encrypt: aes(encrypt, 'plaintext', 'ciphertext', false),
  aes_256_cbc_decrypt: aes(decrypt, 'ciphertext', 'plaintext', false),
  x25519_generate: generate('x25519'),
  x25519_public_from_private: params => ({
    public_key: hex(publicOf(importPrivate('x25519', bytesOf(params, 'private_key', keyLength)))),
  }),
  x25519_exchange: params => ({ shared_secret: hex(shared(params)) }),
  ed25519_generate: generate('ed25519'),
  ed25519_sign: params => ({ signature: hex(signed(params)) }),
  ed25519_verify: params => ({ valid: verified(params) }),
  // The reference has two providers of these and compares them; here there is one.
  crypto_provider_op: params => {
    const [op, provider] = [textOf(params, 'op'), textOf(params, 'provider')];
    if (!Object.hasOwn(providers, op)) throw new Error(`unknown op: ${op}`);
    if (provider !== 'internal' && provider !== 'pyca') throw new Error(`unknown provider: ${provider}`);
    return providers[op]!(params);
  },
  bz2_compress: params => {
    const data = bytesOf(params, 'data');
    const compressed = compress(data);
    const ratio = data.length > 0 ? compressed.length / data.length : 0;
    return {
      compressed: hex(compressed),
      original_size: data.length,
      compressed_size: compressed.length,
      ratio,
    };
  },
  bz2_decompress: params => {
    const decompressed = decompress(bytesOf(params, 'compressed'), { limit: decompressLimit });
    return { decompressed: hex(decompressed), size: decompressed.length };
  },
};
