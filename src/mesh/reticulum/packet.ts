import { hash } from 'node:crypto';
import { fromLatin1 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';

/**
 * The Reticulum packet: the unit every Interface carries.
 *
 *     flags 1 | hops 1 | [transport id 16] | destination hash 16 | context 1 | data …
 *     flags, high bit first: ifac 1, header type 1, context flag 1, propagation 1, destination type 2, packet type 2
 *
 * The header type says whether the transport id is there: header 2 carries the next hop's identity hash.
 *
 * Source: Reticulum manual, “Understanding Reticulum › Wire Format”; SPEC.md §2; checked against RNS 1.5.7
 * (test/vectors/packet.json).
 */
export interface Packet {
  /** 0 when it leaves its sender; 128 and more is invalid. */
  readonly hops: number;
  /** Identity hash (16 B) of the transport node that is to carry it on; absent on a header 1 packet. */
  readonly transportId?: Uint8Array | undefined;
  /** On an announce: a ratchet is in it. */
  readonly contextFlag: boolean;
  readonly propagation: Propagation;
  readonly destinationType: DestinationType;
  readonly packetType: PacketType;
  /** 16 bytes. */
  readonly destinationHash: Uint8Array;
  /** One byte of `contexts`, or one that this version does not know. */
  readonly context: number;
  /** At least one byte. */
  readonly data: Uint8Array;
}

export type Propagation = 'broadcast' | 'transport';
export type DestinationType = 'single' | 'group' | 'plain' | 'link';
export type PacketType = 'data' | 'announce' | 'link-request' | 'proof';

/** What a packet is about; together with packet type and destination type it picks who reads it. */
export const contexts = {
  none: 0x00,
  resource: 0x01,
  resourceAdvertisement: 0x02,
  resourceRequest: 0x03,
  resourceHashmapUpdate: 0x04,
  resourceProof: 0x05,
  resourceInitiatorCancel: 0x06,
  resourceReceiverCancel: 0x07,
  cacheRequest: 0x08,
  request: 0x09,
  response: 0x0a,
  pathResponse: 0x0b,
  command: 0x0c,
  commandStatus: 0x0d,
  channel: 0x0e,
  keepalive: 0xfa,
  linkIdentify: 0xfb,
  linkClose: 0xfc,
  linkProof: 0xfd,
  linkRtt: 0xfe,
  linkRequestProof: 0xff,
} as const;

/**
 * Whether a data packet about this is never encrypted: parts of a Resource are encrypted as a whole, a cache request
 * says nothing that its packet did not.
 */
export function travelsClear(
  context: number,
): context is typeof contexts.resource | typeof contexts.cacheRequest {
  return context === contexts.resource || context === contexts.cacheRequest;
}

/** Bytes of the largest packet that every medium carries. Both ends assume it: it cannot be configured. */
export const packetMtu = 500;
/** Data that fits a packet whatever its header: 500 less the longest header and one byte for the smallest access code. */
export const packetMdu = 464;
/** Plaintext that fits one encrypted packet: what is left of 464 after key, token and padding. */
export const encryptedMdu = 383;
export const hashLength = 16;
export const header1Length = 2 + hashLength + 1;
export const header2Length = header1Length + hashLength;
/** A packet that has come this far is going round in circles. */
export const maxHops = 128;

const propagations: readonly Propagation[] = ['broadcast', 'transport'];
const destinationTypes: readonly DestinationType[] = ['single', 'group', 'plain', 'link'];
const packetTypes: readonly PacketType[] = ['data', 'announce', 'link-request', 'proof'];

/**
 * The packet in `bytes`, as views into them; `over`: hops to count for the way it came. Throws `wire/truncated` where it
 * ends before its data, `wire/unsupported` where an access code seals it, `wire/malformed` where it has too many hops or
 * is an announce longer than 500 B.
 */
export function decodePacket(bytes: Uint8Array, over = 0): Packet {
  if (bytes.length <= header1Length) {
    throw truncated(bytes);
  }
  const flags = bytes[0]!;
  if ((flags & 0x80) !== 0) {
    throw new GatewayError(
      'wire/unsupported',
      'packet sealed with an access code on an interface without one',
    );
  }
  const hops = bytes[1]!;
  if (hops >= maxHops) {
    throw new GatewayError('wire/malformed', `hops: ${hops}, at most ${maxHops - 1}`);
  }
  const isInTransport = (flags & 0x40) !== 0;
  const dataAt = isInTransport ? header2Length : header1Length;
  if (bytes.length <= dataAt) {
    throw truncated(bytes);
  }
  const packetType = packetTypes[flags & 0x03]!;
  if (packetType === 'announce' && bytes.length > packetMtu) {
    throw new GatewayError('wire/malformed', `announce of ${bytes.length} bytes, at most ${packetMtu}`);
  }
  return {
    hops: hops + over,
    transportId: isInTransport ? bytes.subarray(2, 2 + hashLength) : undefined,
    contextFlag: (flags & 0x20) !== 0,
    propagation: propagations[(flags >> 4) & 0x01]!,
    destinationType: destinationTypes[(flags >> 2) & 0x03]!,
    packetType,
    destinationHash: bytes.subarray(dataAt - 1 - hashLength, dataAt - 1),
    context: bytes[dataAt - 1]!,
    data: bytes.subarray(dataAt),
  };
}

function truncated(bytes: Uint8Array): GatewayError {
  return new GatewayError(
    'wire/truncated',
    `${bytes.length} bytes hold no packet: header and a byte of data`,
  );
}

/**
 * Fresh bytes of a packet. Says nothing about the MTU, which is the interface's or the link's, nor of whether there is
 * data, without which no peer takes it; refuses with `wire/malformed` too many hops, a hash of another length.
 */
export function encodePacket(packet: Packet): Uint8Array {
  const { transportId, destinationHash, data } = packet;
  if (packet.hops >= maxHops) {
    throw new GatewayError('wire/malformed', `hops: ${packet.hops}, at most ${maxHops - 1}`);
  }
  if (destinationHash.length !== hashLength || (transportId && transportId.length !== hashLength)) {
    throw new GatewayError('wire/malformed', `a packet's hashes have ${hashLength} bytes`);
  }
  const headerLength = transportId ? header2Length : header1Length;
  const bytes = new Uint8Array(headerLength + data.length);
  bytes[0] =
    (transportId ? 0x40 : 0) |
    (packet.contextFlag ? 0x20 : 0) |
    (propagations.indexOf(packet.propagation) << 4) |
    (destinationTypes.indexOf(packet.destinationType) << 2) |
    packetTypes.indexOf(packet.packetType);
  bytes[1] = packet.hops;
  if (transportId) {
    bytes.set(transportId, 2);
  }
  bytes.set(destinationHash, headerLength - 1 - hashLength);
  bytes[headerLength - 1] = packet.context;
  bytes.set(data, headerLength);
  return bytes;
}

/**
 * SHA-256 (32 B) of what does not change on the way: the low half of the flags and everything after
 * the hops but the transport id. Duplicates, receipts and link ids are known by it. `bytes` must hold
 * a whole header.
 *
 * Source: SPEC.md §6.5; checked against RNS 1.5.7 (test/vectors/packet.json).
 */
export function packetHash(bytes: Uint8Array): Uint8Array {
  // What is hashed lies together but for the flags, which take the place before it meanwhile: packets are many and long.
  const from = ((bytes[0]! & 0x40) === 0 ? 2 : 2 + hashLength) - 1;
  const there = bytes[from]!;
  bytes[from] = bytes[0]! & 0x0f;
  const found = sha256(bytes.subarray(from));
  bytes[from] = there;
  return found;
}

/**
 * What `packetHash` hashes. A view of memory that the next call reuses: hash it or copy it at once.
 * A link id is the hash of it without the signalling bytes at its end.
 */
export function hashablePart(bytes: Uint8Array): Uint8Array {
  const from = (bytes[0]! & 0x40) === 0 ? 2 : 2 + hashLength;
  const length = 1 + bytes.length - from;
  const part = length <= scratch.length ? scratch.subarray(0, length) : new Uint8Array(length);
  part[0] = bytes[0]! & 0x0f;
  part.set(bytes.subarray(from), 1);
  return part;
}

const scratch = new Uint8Array(65_536);

/** The 16 bytes of a hash that packets carry; a view. */
export function truncatedHash(whole: Uint8Array): Uint8Array {
  return whole.subarray(0, hashLength);
}

/** SHA-256 of bytes, in one step. */
export function sha256(bytes: Uint8Array): Uint8Array {
  // As text and back, it takes half the time that it takes as a Buffer.
  return fromLatin1(hash('sha256', bytes, 'latin1'));
}

/** The same bytes as no Buffer, whose `slice` would not copy and which compares as another kind of thing. */
export function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
