import { createHash, type Hash } from 'node:crypto';
import { concat } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import { encode } from '../../lib/msgpack.ts';
import type { Random } from '../../lib/random.ts';
import { hkdf } from './hkdf.ts';
import { sha256 } from './packet.ts';

/**
 * A stamp: 32 bytes that took work to find for some material, and take little to check.
 *
 *     work block 256 · rounds = HKDF-SHA256(material, salt = SHA-256(material | msgpack(round)), no info) of each round
 *     value                   = leading zero bits of SHA-256(work block | stamp)
 *
 * Source: SPEC.md (stamps); checked against LXMF 1.2.1 (test/vectors/discovery.json).
 */
export const stampLength = 32;
const blockLength = 256;

/** What every try begins with, hashed already: each try goes on from there. */
export interface WorkBlock {
  readonly state: Hash;
}

/** The work block of material, which costs one HKDF for each round. */
export function workBlock(material: Uint8Array, rounds: number): WorkBlock {
  return workBlockOf(expandMaterial(material, rounds));
}

/** The bytes of the work block of material, one after another. */
export function* expandMaterial(material: Uint8Array, rounds: number): Iterable<Uint8Array> {
  for (let round = 0; round < rounds; round++) {
    yield hkdf(material, blockLength, sha256(concat(material, encode(round))));
  }
}

/** The work block whose bytes these are. */
export function workBlockOf(parts: Iterable<Uint8Array>): WorkBlock {
  const state = createHash('sha256');
  for (const part of parts) {
    state.update(part);
  }
  return { state };
}

/** How much work a stamp shows, in bits; 0 for what is no stamp. */
export function stampValue({ state }: WorkBlock, stamp: Uint8Array): number {
  if (stamp.length !== stampLength) {
    return 0;
  }
  return leadingZeros(state.copy().update(stamp).digest());
}

export interface StampSearch {
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** Tries in one turn of the event loop: a few ms. */
const turn = 1024;

/**
 * A stamp of at least that value: 2^cost tries on average, a thousand at a time, so that everything else goes on.
 * Rejects with the signal's reason.
 */
export async function searchStamp(block: WorkBlock, cost: number, parts: StampSearch): Promise<Uint8Array> {
  const { clock, random, signal } = parts;
  const stamp = random.bytes(stampLength);
  const counter = new DataView(stamp.buffer, stamp.byteOffset, stampLength);
  for (let tries = 0; ; tries++) {
    if (tries % turn === 0) {
      await clock.sleep(0, signal);
    }
    counter.setUint32(0, tries);
    if (stampValue(block, stamp) >= cost) {
      return stamp;
    }
  }
}

function leadingZeros(digest: Uint8Array): number {
  let bits = 0;
  for (const byte of digest) {
    if (byte !== 0) {
      return bits + Math.clz32(byte) - 24;
    }
    bits += 8;
  }
  return bits;
}
