import { GatewayError } from '../../lib/errors.ts';
import type { KeyPair } from '../../lib/key-stock.ts';
import { hkdf } from './hkdf.ts';
import { exchange, importPublic } from './keys.ts';
import { tokenKeyLength } from './token.ts';

/** What of a link's keys is there. */
export interface HeldKeys {
  /** Our half of the exchange, made for this link alone. */
  readonly pair: boolean;
  /** The secret of both ends. */
  readonly shared: boolean;
  /** What packets are sealed with. */
  readonly key: boolean;
}

/**
 * The keys of one link: a pair for it alone, the secret that it shares with the other end's, and the key made of that.
 * All of it lives as long as the link: nothing that was sealed on it can be opened once they are wiped.
 */
export class LinkKeys {
  readonly #linkId: Uint8Array;
  #ours: KeyPair | undefined;
  readonly #theirs: Uint8Array | undefined;
  #shared: Uint8Array | undefined;
  #key: Uint8Array | undefined;

  /** `theirs`: public key (32 B) of the other end, where it is known. Nothing is computed before it is needed. */
  constructor(ours: KeyPair, linkId: Uint8Array, theirs?: Uint8Array) {
    this.#ours = ours;
    this.#linkId = linkId;
    this.#theirs = theirs;
  }

  /** The key (64 B). Throws `crypto/undecryptable` where the other end's gives no secret, or is not known. */
  get key(): Uint8Array {
    this.#key ??= this.#derived(this.#theirs);
    return this.#key;
  }

  get held(): HeldKeys {
    const isThere = this.#ours !== undefined;
    return { pair: isThere, shared: this.#shared !== undefined, key: isThere && this.#key !== undefined };
  }

  /** The other end's public key (32 B) has come. Throws `crypto/undecryptable` where it gives no secret. */
  agree(theirs: Uint8Array): void {
    this.#key = this.#derived(theirs);
  }

  /** Forgets all of it: nothing is sealed or opened any more. */
  wipe(): void {
    this.#shared?.fill(0);
    this.#key?.fill(0);
    this.#key ??= new Uint8Array(tokenKeyLength);
    this.#ours = undefined;
    this.#shared = undefined;
  }

  #derived(theirs: Uint8Array | undefined): Uint8Array {
    if (this.#ours === undefined || theirs === undefined) {
      throw new GatewayError('crypto/undecryptable', 'the other end of the link has not told its key');
    }
    this.#shared = exchange(this.#ours.privateKey, importPublic('x25519', theirs));
    return hkdf(this.#shared, tokenKeyLength, this.#linkId);
  }
}
