import type { Random } from '../../../src/lib/random.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { importPrivate, keyLength, publicOf } from '../../../src/mesh/reticulum/keys.ts';

const drawsKept = 4096;

/** The machine's own chance, and a memory of the keys drawn from it: a test may look into its own hand. */
export class RecordedRandom implements Random {
  #draws: Uint8Array[] = [];

  bytes(length: number): Uint8Array {
    const drawn = systemRandom.bytes(length);
    if (length === keyLength) {
      this.#draws.push(new Uint8Array(drawn));
      if (this.#draws.length > drawsKept) this.#draws = this.#draws.slice(-drawsKept / 2);
    }
    return drawn;
  }

  fraction(): number {
    return systemRandom.fraction();
  }

  /** The private half of a public key (32 B) that was made from a draw, the latest draws first. */
  privateOf(kind: 'x25519' | 'ed25519', publicKey: Uint8Array): Uint8Array | undefined {
    const wanted = publicKey.toHex();
    return this.#draws.findLast(draw => publicOf(importPrivate(kind, draw)).toHex() === wanted);
  }
}
