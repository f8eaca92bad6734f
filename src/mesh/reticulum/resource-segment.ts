import { createHash, type Hash } from 'node:crypto';
import type { Random } from '../../lib/random.ts';
import {
  collisionGuard,
  mapHashLength,
  mapHashOf,
  mapSegmentLength,
  partSize,
  type ResourceAdvertisement,
  type ResourceFlags,
  randomHashLength,
} from './resource-wire.ts';

/** A segment ready to be sent: sealed, cut into parts, hashed. */
export interface SealedSegment {
  readonly advertisement: ResourceAdvertisement;
  /** The bytes the parts are slices of. */
  readonly sealed: Uint8Array;
  readonly partLength: number;
  /** Map hashes by part, as numbers. */
  readonly hashes: Uint32Array;
  /** The same as bytes, as they travel. */
  readonly hashmap: Uint8Array;
  /** 32 B: what only one that has the data can answer. */
  readonly expectedProof: Uint8Array;
}

/** What is to be in an advertisement beside what follows from the bytes. */
export interface SegmentFacts {
  /** Bytes of all segments, with metadata. */
  readonly dataSize: number;
  readonly segment: number;
  readonly segments: number;
  /** 32 B; the first segment's own where absent. */
  readonly originalHash: Uint8Array | undefined;
  readonly requestId: Uint8Array | undefined;
  readonly flags: Omit<ResourceFlags, 'encrypted'>;
}

/** What holds the link's key. */
export interface Sealer {
  /** A token of the bytes under the link's key, with others ahead of them. */
  seal(plaintext: Uint8Array, ahead?: Uint8Array): Uint8Array;
  /** Throws `crypto/undecryptable`. */
  open(token: Uint8Array): Uint8Array;
}

/**
 * Seals one segment. `data` is the segment with its metadata, `packed` what travels of it: compressed
 * if the flag says so, else the same. Draws random hashes until no two parts near each other have the
 * same map hash.
 */
export function sealSegment(
  data: Uint8Array,
  packed: Uint8Array,
  facts: SegmentFacts,
  linkMtu: number,
  sealer: Sealer,
  random: Random,
): SealedSegment {
  const sealed = sealer.seal(packed, random.bytes(randomHashLength));
  const partLength = partSize(linkMtu);
  const parts = Math.ceil(sealed.length / partLength);
  const hashes = new Uint32Array(parts);
  const overData = createHash('sha256').update(data);
  let randomHash: Uint8Array;
  do {
    randomHash = random.bytes(randomHashLength);
  } while (!mapParts(sealed, partLength, randomHash, hashes));
  const { hash, proof } = hashesOf(overData, randomHash);
  const hashmap = new Uint8Array(parts * mapHashLength);
  const view = new DataView(hashmap.buffer);
  for (let index = 0; index < parts; index++) {
    view.setUint32(index * mapHashLength, hashes[index]!);
  }
  const advertisement: ResourceAdvertisement = {
    transferSize: sealed.length,
    dataSize: facts.dataSize,
    parts,
    hash,
    randomHash,
    originalHash: facts.originalHash ?? hash,
    segment: facts.segment,
    segments: facts.segments,
    requestId: facts.requestId,
    flags: { ...facts.flags, encrypted: true },
    hashmap: hashmap.subarray(0, Math.min(parts, mapSegmentLength) * mapHashLength),
  };
  return { advertisement, sealed, partLength, hashes, hashmap, expectedProof: proof };
}

/** The bytes of one part, as a view. */
export function partOf(segment: SealedSegment, index: number): Uint8Array {
  const from = index * segment.partLength;
  return segment.sealed.subarray(from, Math.min(from + segment.partLength, segment.sealed.length));
}

/** What travelled in a received segment, without its random bytes: still compressed if it was. Throws `crypto/undecryptable`. */
export function openSegment(
  advertisement: ResourceAdvertisement,
  sealed: Uint8Array,
  sealer: Sealer,
): Uint8Array {
  const plaintext = advertisement.flags.encrypted ? sealer.open(sealed) : sealed;
  return plaintext.subarray(randomHashLength);
}

/** The hash (32 B) of a segment's uncompressed data, and the proof (32 B) that one has it. */
export function segmentHashes(
  data: Uint8Array,
  randomHash: Uint8Array,
): { hash: Uint8Array; proof: Uint8Array } {
  return hashesOf(createHash('sha256').update(data), randomHash);
}

/** Both hashes begin with the data, which may be a mebibyte: it is hashed once. */
function hashesOf(overData: Hash, randomHash: Uint8Array): { hash: Uint8Array; proof: Uint8Array } {
  const hash = overData.copy().update(randomHash).digest();
  const proof = overData.update(hash).digest();
  return { hash, proof };
}

/** Fills in the map hashes; whether no two within the guard are the same. */
function mapParts(
  sealed: Uint8Array,
  partLength: number,
  randomHash: Uint8Array,
  hashes: Uint32Array,
): boolean {
  const near = new Set<number>();
  for (let index = 0; index < hashes.length; index++) {
    const mapHash = mapHashOf(sealed.subarray(index * partLength, (index + 1) * partLength), randomHash);
    if (near.has(mapHash)) {
      return false;
    }
    near.add(mapHash);
    if (index >= collisionGuard) {
      near.delete(hashes[index - collisionGuard]!);
    }
    hashes[index] = mapHash;
  }
  return true;
}
