import { concat, toHex, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Quality } from '../interface.ts';
import type { Identity, Opened } from './identity.ts';
import { sha256, truncatedHash } from './packet.ts';
import type { RatchetRing } from './ratchet.ts';
import { openToken, tokenKeyLength } from './token.ts';

/**
 * A Destination is a name that packets can be addressed to: an app name, aspects and, unless it is
 * plain, the Identity behind it.
 *
 *     name hash 10        = SHA-256("app.aspect.aspect")
 *     destination hash 16 = SHA-256(name hash | identity hash, which a plain destination has not)
 *
 * Source: SPEC.md §1.2; checked against RNS 1.5.7 (test/vectors/destination.json).
 */
export const nameHashLength = 10;

/** `app.aspect.aspect`; throws `config/invalid` where a part holds a dot, which would make it another name. */
export function expandName(appName: string, aspects: readonly string[]): string {
  const parts = [appName, ...aspects];
  const dotted = parts.find(part => part.includes('.'));
  if (dotted !== undefined) {
    throw new GatewayError('config/invalid', `a destination's app name and aspects hold no dots: ${dotted}`);
  }
  return parts.join('.');
}

/** Name hash (10 B) of a whole name as `expandName` gives it: what announces are filtered by. */
export function nameHash(name: string): Uint8Array {
  return sha256(utf8(name)).subarray(0, nameHashLength);
}

/** Destination hash (16 B) of a name hash and, unless plain, an identity hash. */
export function destinationHash(name: Uint8Array, identityHash?: Uint8Array): Uint8Array {
  return truncatedHash(sha256(identityHash === undefined ? name : concat(name, identityHash)));
}

/** What a local destination was sent in one packet. */
export interface Received {
  /** Decrypted; the receiver's to keep. */
  readonly data: Uint8Array;
  /** 32 B. */
  readonly packetHash: Uint8Array;
  /** The ratchet (10 B) that opened it; absent where the sender knew none. */
  readonly ratchetId?: Uint8Array | undefined;
  readonly quality?: Quality | undefined;
  readonly interfaceName: string;
  readonly hops: number;
  /** Sends the proof that lets the sender know it arrived: call it when the data is safe. Inert where proofs are off. */
  prove(): void;
}

/** When a received packet is proven: never, when the receiver calls `prove`, or at once. */
export type ProofStrategy = 'none' | 'app' | 'all';

export interface LocalDestinationOptions {
  /** Whose destination it is; absent for a plain one. */
  readonly identity?: Identity;
  /** The key (64 B, or 32 of old) that all members of a group share: what makes it one. */
  readonly groupKey?: Uint8Array;
  /** Hash (16 B) of the Identity that a group is named after, where that is not ours. */
  readonly groupIdentity?: Uint8Array;
  readonly appName: string;
  readonly aspects: readonly string[];
  /** Default `none`. */
  readonly proofStrategy?: ProofStrategy;
  /** Whether proofs of packets repeat the hash of what they prove: 96 instead of 64 B. Default false. */
  readonly explicitProofs?: boolean;
  /** Whether link requests are answered. Default false. */
  readonly acceptsLinks?: boolean;
  /** Whether announces carry a ratchet for senders to encrypt for. Default false. */
  readonly ratchets?: boolean;
  /** Whether what was not sealed for a ratchet is refused. Default false. */
  readonly enforceRatchets?: boolean;
  /** App data of an announce that is not given any. */
  readonly appData?: () => Uint8Array | undefined;
  /** A packet came for it. Must not throw; it is called within the receiving of the packet, so it must be quick. */
  readonly onPacket?: (received: Received) => void;
}

/** A destination that is served here: a group where it has a key, else single, or plain where it has no Identity. */
export class LocalDestination {
  readonly kind: 'single' | 'group' | 'plain';
  /** A group's says no more than which group of that name it is, and signs proofs. */
  readonly identity: Identity | undefined;
  /** `app.aspect.aspect` */
  readonly name: string;
  /** 10 B. */
  readonly nameHash: Uint8Array;
  /** 16 B. */
  readonly hash: Uint8Array;
  /** The hash as hex: the key it is found under. */
  readonly key: string;
  /** May be changed while it is registered; what comes over its links goes by it as well. */
  proofStrategy: ProofStrategy;
  /** May be changed while it is registered. */
  explicitProofs: boolean;
  readonly ratchets: boolean;
  readonly enforceRatchets: boolean;
  readonly appData: () => Uint8Array | undefined;
  readonly onPacket: (received: Received) => void;
  /** May be changed while it is registered. */
  acceptsLinks: boolean;

  readonly #groupKey: Uint8Array | undefined;

  /** Throws `config/invalid` for a name with dots, ratchets or links where it is not single, or what is no group's key. */
  constructor(options: LocalDestinationOptions) {
    const { identity, groupKey } = options;
    this.identity = identity;
    this.#groupKey = groupKey && groupKeyOf(groupKey);
    this.kind = groupKey !== undefined ? 'group' : identity === undefined ? 'plain' : 'single';
    if (this.kind !== 'single' && (options.ratchets || options.enforceRatchets || options.acceptsLinks)) {
      throw new GatewayError('config/invalid', `a ${this.kind} destination has neither ratchets nor links`);
    }
    this.name = expandName(options.appName, options.aspects);
    this.nameHash = nameHash(this.name);
    this.hash = destinationHash(this.nameHash, options.identity?.hash ?? options.groupIdentity);
    this.key = toHex(this.hash);
    this.proofStrategy = options.proofStrategy ?? 'none';
    this.explicitProofs = options.explicitProofs ?? false;
    this.acceptsLinks = options.acceptsLinks ?? false;
    this.ratchets = options.ratchets ?? false;
    this.enforceRatchets = options.enforceRatchets ?? false;
    this.appData = options.appData ?? (() => undefined);
    this.onPacket = options.onPacket ?? (() => {});
  }

  /**
   * What is in the data of a packet for this destination: as it is where plain, sealed with the group's key
   * where it is one. `ring` holds its ratchets. Throws `wire/truncated`, `crypto/undecryptable`.
   */
  open(data: Uint8Array, ring: RatchetRing | undefined): Opened {
    if (this.#groupKey !== undefined) {
      return { plaintext: openToken(this.#groupKey, data), ratchetId: undefined };
    }
    if (this.identity === undefined) {
      return { plaintext: data, ratchetId: undefined };
    }
    return this.identity.open(data, ring?.openers() ?? [], this.enforceRatchets);
  }
}

/** A group's key, our own copy; throws `config/invalid` where it cannot be one. */
export function groupKeyOf(key: Uint8Array): Uint8Array {
  if (key.length !== tokenKeyLength && key.length !== tokenKeyLength / 2) {
    throw new GatewayError(
      'config/invalid',
      `the key of a group has ${tokenKeyLength} bytes, not ${key.length}`,
    );
  }
  return new Uint8Array(key);
}
