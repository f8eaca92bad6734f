import { concat, equal, utf8 } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import { hkdf } from './hkdf.ts';
import { Identity } from './identity.ts';
import { header1Length, sha256 } from './packet.ts';

/**
 * The interface access code (IFAC): who does not know the network's name and passphrase can neither read
 * nor write packets on an interface.
 *
 *     flags 1, its high bit set | hops 1 | code | rest of the packet …
 *
 * The code is the end of an Ed25519 signature of the packet, by an Identity that name and passphrase
 * give; everything but the code is masked with bytes that the code and the key give.
 *
 * Source: Reticulum manual, “Interface Access Codes”; SPEC.md §5; checked against RNS 1.5.7
 * (test/vectors/access-code.json).
 */
export interface AccessCodeOptions {
  readonly networkName?: string | undefined;
  readonly passphrase?: string | undefined;
  /** Bytes of the code, 1 to 64. */
  readonly size: number;
}

const salt = Uint8Array.fromHex('adf54d882c9a9b80771eb4995d702d4a3e733391b2a0f53f416d9f907e55cff8');
const keyLength = 64;
const flag = 0x80;
const headLength = 2;
export const shortestAccessCode = 1;
export const longestAccessCode = 64;

/** The key (64 B) of a network: two pairs of private keys, as an Identity has them. Secret: whoever has it is on it. */
export function accessKey({ networkName, passphrase }: Omit<AccessCodeOptions, 'size'>): Uint8Array {
  const given = [networkName, passphrase].filter(one => one !== undefined && one !== '');
  return hkdf(sha256(concat(...given.map(one => sha256(utf8(one as string))))), keyLength, salt);
}

/** Seals what leaves an interface and opens what comes in over it. */
export class AccessCode {
  readonly size: number;
  /** Undefined where only a passphrase is known by all. */
  readonly networkName: string | undefined;
  readonly #key: Uint8Array;
  readonly #identity: Identity;

  /** Throws `config/invalid` without a name and a passphrase, or for a size that is none. */
  constructor({ networkName, passphrase, size }: AccessCodeOptions) {
    const given = [networkName, passphrase].filter(one => one !== undefined && one !== '');
    if (
      given.length === 0 ||
      !Number.isInteger(size) ||
      size < shortestAccessCode ||
      size > longestAccessCode
    ) {
      throw new GatewayError(
        'config/invalid',
        'an access code has a name or a passphrase, and 1 to 64 bytes',
      );
    }
    this.size = size;
    this.networkName = networkName === '' ? undefined : networkName;
    this.#key = accessKey({ networkName, passphrase });
    this.#identity = new Identity(this.#key);
  }

  /** Whether who knows the one is on the network of the other. */
  equals(other: AccessCode | undefined): boolean {
    return other !== undefined && other.size === this.size && equal(other.#key, this.#key);
  }

  /** 64 B by which people see whether two interfaces are on the same network; it gives nothing away. */
  get signature(): Uint8Array {
    return this.#identity.sign(sha256(this.#key));
  }

  /** Fresh bytes of a packet as it travels. */
  seal(packet: Uint8Array): Uint8Array {
    return this.#sealed(packet, this.#codeIn(this.#identity.sign(packet)));
  }

  /** The same by threads. The packet must not change until it is done. */
  sealBeside(threads: SignatureThreads, packet: Uint8Array, done: (sealed: Uint8Array) => void): void {
    this.#identity.signBeside(threads, packet, signature =>
      done(this.#sealed(packet, this.#codeIn(signature))),
    );
  }

  #sealed(packet: Uint8Array, code: Uint8Array): Uint8Array {
    const sealed = concat(packet.subarray(0, headLength), code, packet.subarray(headLength));
    this.#mask(sealed, code);
    sealed[0] = sealed[0]! | flag;
    return sealed;
  }

  /**
   * The packet in what came in, as fresh bytes. Throws `wire/truncated`, `crypto/bad-signature` where it carries no
   * code or another network's.
   */
  open(sealed: Uint8Array): Uint8Array {
    const { code, packet } = this.#unmasked(sealed);
    if (!equal(code, this.#codeIn(this.#identity.sign(packet)))) {
      throw new GatewayError('crypto/bad-signature', 'access code of another network');
    }
    return packet;
  }

  /** The same; undefined where it throws. */
  opened(sealed: Uint8Array): Uint8Array | undefined {
    try {
      return this.open(sealed);
    } catch (error) {
      return nothingOf(error);
    }
  }

  /** The same by threads. */
  openBeside(
    threads: SignatureThreads,
    sealed: Uint8Array,
    done: (packet: Uint8Array | undefined) => void,
  ): void {
    try {
      const { code, packet } = this.#unmasked(sealed);
      this.#identity.signBeside(threads, packet, signature =>
        done(equal(code, this.#codeIn(signature)) ? packet : undefined),
      );
    } catch (error) {
      done(nothingOf(error));
    }
  }

  /** What it says its code is, and what that would be the code of. */
  #unmasked(sealed: Uint8Array): { readonly code: Uint8Array; readonly packet: Uint8Array } {
    if (sealed.length < header1Length + this.size) {
      throw new GatewayError('wire/truncated', `${sealed.length} bytes hold no packet and its access code`);
    }
    if ((sealed[0]! & flag) === 0) {
      throw new GatewayError('crypto/bad-signature', 'packet without an access code');
    }
    const code = sealed.subarray(headLength, headLength + this.size);
    const clear = new Uint8Array(sealed);
    this.#mask(clear, code);
    clear[0] = clear[0]! & ~flag;
    const packet = concat(clear.subarray(0, headLength), clear.subarray(headLength + this.size));
    return { code, packet };
  }

  #codeIn(signature: Uint8Array): Uint8Array {
    return signature.subarray(signature.length - this.size);
  }

  /** Masks everything but the code, in place; doing it again takes it off. */
  #mask(bytes: Uint8Array, code: Uint8Array): void {
    const mask = hkdf(code, bytes.length, this.#key);
    bytes[0] = bytes[0]! ^ mask[0]!;
    bytes[1] = bytes[1]! ^ mask[1]!;
    for (let at = headLength + this.size; at < bytes.length; at++) {
      bytes[at] = bytes[at]! ^ mask[at]!;
    }
  }
}

function nothingOf(error: unknown): undefined {
  if (!isGatewayError(error)) {
    throw error;
  }
}
