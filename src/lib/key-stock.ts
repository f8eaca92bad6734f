import { generateKeyPair, generateKeyPairSync, type KeyObject } from 'node:crypto';

/** The two kinds of key of 32 bytes that the mesh uses. */
export type KeyKind = 'x25519' | 'ed25519';

/** A fresh pair of keys. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  /** 32 B, as it travels. */
  readonly publicKey: Uint8Array;
}

/** Pairs of a kind that are made ahead, and made at once. */
const ahead = 8;
const makingMost = 2;

/**
 * Key pairs for one use each, made ahead by the threads that Node has for such work: making one takes as
 * long as an exchange, which whoever opens a link or seals a packet need not wait for. Nothing is made
 * before the first is asked for; where none is ready, one is made at once.
 */
export class KeyStock {
  readonly #ready: Readonly<Record<KeyKind, KeyPair[]>> = { x25519: [], ed25519: [] };
  readonly #making: Record<KeyKind, number> = { x25519: 0, ed25519: 0 };

  take(kind: KeyKind): KeyPair {
    const pair = this.#ready[kind].pop() ?? made(kind);
    this.#make(kind);
    return pair;
  }

  #make(kind: KeyKind): void {
    const ready = this.#ready[kind];
    while (this.#making[kind] < makingMost && ready.length + this.#making[kind] < ahead) {
      this.#making[kind] += 1;
      const done = (error: Error | null, publicKey: KeyObject, privateKey: KeyObject) => {
        this.#making[kind] -= 1;
        if (!error) {
          ready.push({ privateKey, publicKey: rawPublic(publicKey) });
          this.#make(kind);
        }
      };
      // Told apart, because each kind has a signature of its own.
      if (kind === 'x25519') {
        generateKeyPair('x25519', {}, done);
      } else {
        generateKeyPair('ed25519', {}, done);
      }
    }
  }
}

function made(kind: KeyKind): KeyPair {
  const { publicKey, privateKey } =
    kind === 'x25519' ? generateKeyPairSync('x25519') : generateKeyPairSync('ed25519');
  return { privateKey, publicKey: rawPublic(publicKey) };
}

function rawPublic(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ format: 'raw-public' }));
}
