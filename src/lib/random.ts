import { randomBytes, randomFillSync } from 'node:crypto';
import { type KeyKind, type KeyPair, KeyStock } from './key-stock.ts';

/** Chance, passed in so that tests can repeat it. */
export interface Random {
  /** Fresh unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1), for jitter; not for secrets. */
  fraction(): number;
  /** A fresh key pair, made ahead; without it keys are made of `bytes`. */
  pair?(kind: KeyKind): KeyPair;
}

/** Bytes fetched from the kernel at once: small requests are served from here. */
const poolSize = 4096;
const pool = new Uint8Array(poolSize);
let used = poolSize;

const stock = new KeyStock();

/** The operating system's generator. */
export const systemRandom: Random = {
  bytes(length) {
    if (length > poolSize / 4) {
      return new Uint8Array(randomBytes(length));
    }
    if (used + length > poolSize) {
      randomFillSync(pool);
      used = 0;
    }
    const fresh = pool.slice(used, used + length);
    pool.fill(0, used, used + length);
    used += length;
    return fresh;
  },
  fraction: () => Math.random(),
  pair: kind => stock.take(kind),
};
