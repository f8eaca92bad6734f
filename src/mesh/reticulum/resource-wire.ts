import { hash as hashOnce } from 'node:crypto';
import { concat, Reader } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { decode, encode, type MsgpackValue } from '../../lib/msgpack.ts';
import { hashLength, header2Length } from './packet.ts';

/**
 * What travels for a Resource: bytes too many for a packet, sealed as a whole and sent in parts that
 * the receiver asks for by their map hash.
 *
 *     advertisement   msgpack map t d n h r o i l q f m                              sealed
 *     part request    00 | hash 32 | map hash 4 …                                    sealed
 *                     FF | last map hash known 4 | hash 32 | map hash 4 …            sealed
 *     hashmap update  hash 32 | msgpack [map segment, map hashes]                    sealed
 *     part            a slice of the sealed bytes                                    as it is
 *     proof           hash 32 | SHA-256(data, hash) 32                               clear
 *     cancel          hash 32                                                        sealed
 *
 *     sealed bytes    token of: random 4 | data, bzip2 compressed if the flag says so
 *     hash            SHA-256(data, random hash); map hash: first 4 of SHA-256(part, random hash)
 *     data            [metadata length 3 | metadata msgpack, in the first segment] content
 *
 * What is larger than 1 MiB - 1 goes segment by segment, each a Resource of its own with a hash of its
 * own; `original` is the first segment's.
 *
 * Source: SPEC.md §10; checked against RNS 1.5.7 (test/vectors/resource.json).
 */
export interface ResourceAdvertisement {
  /** `t`: bytes of the sealed segment. */
  readonly transferSize: number;
  /** `d`: bytes of the whole data with its metadata, all segments, uncompressed. */
  readonly dataSize: number;
  /** `n` */
  readonly parts: number;
  /** `h`: 32 B. */
  readonly hash: Uint8Array;
  /** `r`: 4 B. */
  readonly randomHash: Uint8Array;
  /** `o`: 32 B. */
  readonly originalHash: Uint8Array;
  /** `i`: counted from 1. */
  readonly segment: number;
  /** `l` */
  readonly segments: number;
  /** `q`: 16 B; the request it is or answers. */
  readonly requestId: Uint8Array | undefined;
  /** `f` */
  readonly flags: ResourceFlags;
  /** `m`: the first map hashes, 4 B each. */
  readonly hashmap: Uint8Array;
}

/** Encrypted 1, compressed 2, split 4, request 8, response 16, metadata 32. */
export interface ResourceFlags {
  readonly encrypted: boolean;
  readonly compressed: boolean;
  readonly split: boolean;
  readonly request: boolean;
  readonly response: boolean;
  readonly metadata: boolean;
}

export interface PartRequest {
  /** 32 B. */
  readonly hash: Uint8Array;
  /** The last map hash (4 B) known, where the receiver needs the next ones. */
  readonly exhaustedAt: Uint8Array | undefined;
  /** Map hashes wanted, 4 B each. */
  readonly wanted: Uint8Array;
}

export interface HashmapUpdate {
  /** 32 B. */
  readonly hash: Uint8Array;
  /** Which 74 map hashes: counted from 0. */
  readonly mapSegment: number;
  readonly hashmap: Uint8Array;
}

export interface ResourceProof {
  /** 32 B. */
  readonly hash: Uint8Array;
  /** SHA-256 of data and hash, 32 B. */
  readonly proof: Uint8Array;
}

export const resourceHashLength = 32;
export const mapHashLength = 4;
export const randomHashLength = 4;
/** Map hashes in an advertisement or update, on a link of any MTU: floor((431 - 134) / 4). Both ends count with it. */
export const mapSegmentLength = 74;
/** Most parts asked for at once. */
export const windowLargest = 75;
/** Parts among which no two may have the same map hash, because a request names them by nothing else: two windows and a map segment. */
export const collisionGuard = 2 * windowLargest + mapSegmentLength;
/** Bytes of data in a segment; the reference refuses sealed segments above three times that. */
export const segmentSize = 1024 * 1024 - 1;
export const longestTransfer = 3 * segmentSize;
/** Bytes above which data is not compressed by itself, and which no compressed segment may become. */
export const compressedMost = 64 * 1024 * 1024;
/** Largest packed metadata. */
export const metadataLongest = 16 * 1024 * 1024 - 1;
const exhausted = 0xff;
const notExhausted = 0x00;

/** Bytes in each part but the last, on a link of this MTU. */
export function partSize(linkMtu: number): number {
  return linkMtu - header2Length - 1;
}

/** The first four bytes of SHA-256(part, random hash), as a number. */
export function mapHashOf(part: Uint8Array, randomHash: Uint8Array): number {
  const length = part.length + randomHash.length;
  const joined = length <= scratch.length ? scratch : new Uint8Array(length);
  joined.set(part);
  joined.set(randomHash, part.length);
  return hashOnce('sha256', joined.subarray(0, length), 'buffer').readUInt32BE(0);
}

const scratch = new Uint8Array(65_536);

/** An advertisement's body, the hashes as views. Throws `wire/*`; `wire/malformed` where its figures contradict each other. */
export function decodeAdvertisement(body: Uint8Array): ResourceAdvertisement {
  const map = decode(body, { maxDepth: 2 });
  if (!(map instanceof Map)) {
    throw new GatewayError('wire/malformed', 'resource advertisement: no map');
  }
  const f = count(map.get('f'), 'flags', 0xff);
  const advertisement: ResourceAdvertisement = {
    transferSize: count(map.get('t'), 'transfer size', longestTransfer),
    dataSize: count(map.get('d'), 'data size', Number.MAX_SAFE_INTEGER),
    parts: count(map.get('n'), 'parts', longestTransfer),
    hash: bytes(map.get('h'), 'hash', resourceHashLength),
    randomHash: bytes(map.get('r'), 'random hash', randomHashLength),
    originalHash: bytes(map.get('o'), 'original hash', resourceHashLength),
    segment: count(map.get('i'), 'segment', Number.MAX_SAFE_INTEGER),
    segments: count(map.get('l'), 'segments', Number.MAX_SAFE_INTEGER),
    requestId: map.get('q') === null ? undefined : bytes(map.get('q'), 'request id', hashLength),
    flags: {
      encrypted: (f & 0x01) !== 0,
      compressed: (f & 0x02) !== 0,
      split: (f & 0x04) !== 0,
      request: (f & 0x08) !== 0,
      response: (f & 0x10) !== 0,
      metadata: (f & 0x20) !== 0,
    },
    hashmap: bytes(map.get('m'), 'hashmap'),
  };
  const { segment, segments, hashmap, parts, transferSize } = advertisement;
  if (segment < 1 || segment > segments || transferSize === 0 || parts === 0) {
    throw new GatewayError(
      'wire/malformed',
      'resource advertisement: nothing to send, or a segment beyond the last',
    );
  }
  if (
    hashmap.length === 0 ||
    hashmap.length % mapHashLength !== 0 ||
    hashmap.length / mapHashLength > parts
  ) {
    throw new GatewayError('wire/malformed', 'resource advertisement: hashmap does not fit the parts');
  }
  return advertisement;
}

export function encodeAdvertisement(advertisement: ResourceAdvertisement): Uint8Array {
  const { flags } = advertisement;
  return encode(
    new Map<MsgpackValue, MsgpackValue>([
      ['t', advertisement.transferSize],
      ['d', advertisement.dataSize],
      ['n', advertisement.parts],
      ['h', advertisement.hash],
      ['r', advertisement.randomHash],
      ['o', advertisement.originalHash],
      ['i', advertisement.segment],
      ['l', advertisement.segments],
      ['q', advertisement.requestId ?? null],
      ['f', flagBits(flags)],
      ['m', advertisement.hashmap],
    ]),
  );
}

/** A part request's body, as views. */
export function decodePartRequest(body: Uint8Array): PartRequest {
  const reader = new Reader(body);
  const first = reader.u8('exhausted flag');
  const exhaustedAt = first === exhausted ? reader.take(mapHashLength, 'last map hash') : undefined;
  const hash = reader.take(resourceHashLength, 'resource hash');
  const wanted = reader.rest();
  if (wanted.length % mapHashLength !== 0) {
    throw new GatewayError('wire/truncated', 'map hash: cut short');
  }
  return { hash, exhaustedAt, wanted };
}

export function encodePartRequest(request: PartRequest): Uint8Array {
  return request.exhaustedAt === undefined
    ? concat(Uint8Array.of(notExhausted), request.hash, request.wanted)
    : concat(Uint8Array.of(exhausted), request.exhaustedAt, request.hash, request.wanted);
}

/** A hashmap update's body, as views. */
export function decodeHashmapUpdate(body: Uint8Array): HashmapUpdate {
  const reader = new Reader(body);
  const hash = reader.take(resourceHashLength, 'resource hash');
  const list = decode(reader.rest(), { maxDepth: 2 });
  if (!Array.isArray(list)) {
    throw new GatewayError('wire/malformed', 'hashmap update: no list');
  }
  const hashmap = bytes(list[1], 'hashmap');
  if (
    hashmap.length === 0 ||
    hashmap.length % mapHashLength !== 0 ||
    hashmap.length > mapSegmentLength * mapHashLength
  ) {
    throw new GatewayError('wire/malformed', `hashmap update: hashmap of ${hashmap.length} bytes`);
  }
  return { hash, mapSegment: count(list[0], 'map segment', longestTransfer), hashmap };
}

export function encodeHashmapUpdate(update: HashmapUpdate): Uint8Array {
  return concat(update.hash, encode([update.mapSegment, update.hashmap]));
}

export function decodeResourceProof(data: Uint8Array): ResourceProof {
  const reader = new Reader(data);
  const hash = reader.take(resourceHashLength, 'resource hash');
  const proof = reader.take(resourceHashLength, 'proof');
  reader.end('resource proof');
  return { hash, proof };
}

export function encodeResourceProof(proof: ResourceProof): Uint8Array {
  return concat(proof.hash, proof.proof);
}

/** The hash (32 B) in the body of a cancel of either side. */
export function decodeCancel(body: Uint8Array): Uint8Array {
  return new Reader(body).take(resourceHashLength, 'resource hash');
}

/** What stands before the content of a first segment with metadata. Throws `mesh/too-large`. */
export function encodeMetadata(metadata: MsgpackValue): Uint8Array {
  const packed = encode(metadata);
  if (packed.length > metadataLongest) {
    throw new GatewayError(
      'mesh/too-large',
      `metadata of ${packed.length} bytes, at most ${metadataLongest}`,
    );
  }
  return concat(
    Uint8Array.of(packed.length >> 16, (packed.length >> 8) & 0xff, packed.length & 0xff),
    packed,
  );
}

/** Metadata and what follows it, as a view; throws `wire/*`. */
export function splitMetadata(data: Uint8Array): { metadata: MsgpackValue; content: Uint8Array } {
  const reader = new Reader(data);
  const length = (reader.u8('metadata length') << 16) | reader.u16('metadata length');
  const metadata = decode(reader.take(length, 'metadata'), { maxDepth: 32 });
  return { metadata, content: reader.rest() };
}

function flagBits(flags: ResourceFlags): number {
  return (
    (flags.encrypted ? 0x01 : 0) |
    (flags.compressed ? 0x02 : 0) |
    (flags.split ? 0x04 : 0) |
    (flags.request ? 0x08 : 0) |
    (flags.response ? 0x10 : 0) |
    (flags.metadata ? 0x20 : 0)
  );
}

function count(value: unknown, field: string, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) {
    throw new GatewayError('wire/malformed', `${field}: not a number from 0 to ${most}`);
  }
  return value;
}

function bytes(value: unknown, field: string, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) {
    throw new GatewayError(
      'wire/malformed',
      length === undefined ? `${field}: no bytes` : `${field}: not ${length} bytes`,
    );
  }
  return value;
}
