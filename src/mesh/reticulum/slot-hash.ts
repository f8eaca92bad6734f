import { utf8 } from '../../lib/bytes.ts';
import { hkdf } from './hkdf.ts';
import { encodeIdentity, type Identity } from './identity.ts';

/** Where in a table of slots the search for a packet hash begins, by its first two words: 32 bits, of which the lowest are taken. */
export type SlotHash = (low: number, high: number) => number;

const purpose = utf8('slots of packet hashes');

/**
 * The slots of a node's tables of packet hashes. Whoever sends packets can try until their hashes begin alike, and what
 * begins at one slot is looked for one after the other, so where a hash begins follows from a secret too. That comes of
 * the Identity and not of chance, so that the same node does the same each time.
 */
export function slotHashOf(identity: Identity): SlotHash {
  return createSlotHash(hkdf(encodeIdentity(identity), slotSecretLength, purpose));
}

/** Bytes of the secret. */
const slotSecretLength = 12;

export function createSlotHash(secret: Uint8Array): SlotHash {
  const mask = wordAt(secret, 0);
  // Only odd factors lose nothing.
  const first = wordAt(secret, 4) | 1;
  const second = wordAt(secret, 8) | 1;
  return (low, high) => {
    let mixed = Math.imul(low ^ mask, first);
    mixed = Math.imul(mixed ^ (mixed >>> 15) ^ high, second);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/** Four bytes as a number, the first of them lowest. */
export function wordAt(bytes: Uint8Array, from: number): number {
  return (bytes[from]! | (bytes[from + 1]! << 8) | (bytes[from + 2]! << 16) | (bytes[from + 3]! << 24)) >>> 0;
}
