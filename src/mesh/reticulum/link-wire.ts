import { concat, Reader } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { decode, encode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { publicKeyLength } from './identity.ts';
import { keyLength, signatureLength } from './keys.ts';
import { hashablePart, hashLength, header1Length, packetMtu, sha256, truncatedHash } from './packet.ts';
import { tokenOverhead } from './token.ts';

/**
 * What travels to make a Link and over it, beside the packets' own headers.
 *
 *     link request        X25519 32 | Ed25519 32 | [signalling 3]                   clear
 *     link request proof  signature 64 | X25519 32 | [signalling 3]                 clear
 *     signalling          mode 3 bits | MTU 21 bits
 *     RTT                 msgpack float, seconds                                    sealed
 *     identify            public key 64 | signature 64 over link id, public key     sealed
 *     close               link id 16                                                sealed
 *     keepalive           0xFF from the initiator, 0xFE back                        clear
 *     packet proof        packet hash 32 | signature 64 over it                     clear
 *     request             msgpack [seconds, path hash 16, data]                     sealed
 *     response            msgpack [request id 16, data]                             sealed
 *
 * Source: SPEC.md §6; checked against RNS 1.5.7 (test/vectors/link.json).
 */
export interface LinkRequest {
  /** X25519, 32 B. */
  readonly encryptionKey: Uint8Array;
  /** Ed25519, 32 B: the initiator signs with it what it proves on this link. */
  readonly signingKey: Uint8Array;
  /** Largest packet of the path so far; 500 where nothing is signalled. */
  readonly mtu: number;
  /** Whether the three bytes are there. */
  readonly signalled: boolean;
}

/** What answers a link request: signed by the destination's Identity over link id, both its keys and the signalling. */
export interface LinkRequestProof {
  /** 64 B. */
  readonly signature: Uint8Array;
  /** X25519, 32 B. */
  readonly encryptionKey: Uint8Array;
  readonly mtu: number;
  readonly signalled: boolean;
}

/** What an initiator says to be known. */
export interface Identification {
  /** 64 B. */
  readonly publicKey: Uint8Array;
  /** 64 B, over link id and public key. */
  readonly signature: Uint8Array;
}

/** That a packet arrived. */
export interface PacketProof {
  /** 32 B. */
  readonly packetHash: Uint8Array;
  /** 64 B. */
  readonly signature: Uint8Array;
}

export interface RequestBody {
  /** ms since 1970, by the requester's clock. */
  readonly requestedAt: number;
  /** 16 B of the SHA-256 of the path. */
  readonly pathHash: Uint8Array;
  readonly data: MsgpackValue;
}

export interface ResponseBody {
  /** 16 B. */
  readonly requestId: Uint8Array;
  readonly data: MsgpackValue;
}

/** The one mode in use: AES-256 in CBC. Modes are a version of the link's cryptography: another one is another protocol. */
export const linkMode = 1;
export const signallingLength = 3;
export const keepaliveQuestion = 0xff;
export const keepaliveAnswer = 0xfe;
const requestKeysLength = 2 * keyLength;
const packetHashLength = 32;
const mtuMask = 0x1f_ffff;
/** Deepest nesting of a request's or response's value. */
const maxDepth = 32;

/** Plaintext that fits one packet of a link of this MTU: 431 at 500. */
export function linkMdu(mtu: number): number {
  return Math.floor((mtu - 1 - header1Length - tokenOverhead) / hashLength) * hashLength - 1;
}

/** The three signalling bytes. */
export function encodeSignalling(mtu: number): Uint8Array {
  const value = (mtu & mtuMask) | (linkMode << 21);
  return Uint8Array.of(value >> 16, (value >> 8) & 0xff, value & 0xff);
}

/** A link request or its proof with another MTU in its signalling, which stands at its end; changes the bytes. */
export function withMtu(packet: Uint8Array, mtu: number): Uint8Array {
  const at = packet.length - signallingLength;
  const mode = packet[at]! & 0xe0;
  packet.set(encodeSignalling(mtu), at);
  packet[at] = (packet[at]! & 0x1f) | mode;
  return packet;
}

/**
 * The data of a link request, as views. Throws `wire/truncated`, `wire/malformed` where bytes are left
 * over or the MTU is below what every medium carries, `wire/unsupported` for another mode.
 */
export function decodeLinkRequest(data: Uint8Array): LinkRequest {
  const reader = new Reader(data);
  const encryptionKey = reader.take(keyLength, 'X25519 key');
  const signingKey = reader.take(keyLength, 'Ed25519 key');
  return { encryptionKey, signingKey, ...readSignalling(reader, 'link request') };
}

export function encodeLinkRequest(request: LinkRequest): Uint8Array {
  return concat(request.encryptionKey, request.signingKey, ...signallingOf(request));
}

/**
 * The link id (16 B) of a link request, from the whole packet. The signalling is left out of it,
 * because transport nodes may lower the MTU on the way.
 */
export function linkIdOf(packet: Uint8Array, dataLength: number): Uint8Array {
  const part = hashablePart(packet);
  return truncatedHash(sha256(part.subarray(0, part.length - Math.max(0, dataLength - requestKeysLength))));
}

/** The data of a link request proof, as views; throws like `decodeLinkRequest`. */
export function decodeLinkRequestProof(data: Uint8Array): LinkRequestProof {
  const reader = new Reader(data);
  const signature = reader.take(signatureLength, 'signature');
  const encryptionKey = reader.take(keyLength, 'X25519 key');
  return { signature, encryptionKey, ...readSignalling(reader, 'link request proof') };
}

export function encodeLinkRequestProof(proof: LinkRequestProof): Uint8Array {
  return concat(proof.signature, proof.encryptionKey, ...signallingOf(proof));
}

/** What the destination's Identity signs; `signingKey` is that Identity's own Ed25519 key. */
export function linkRequestProofSigned(
  linkId: Uint8Array,
  signingKey: Uint8Array,
  proof: Omit<LinkRequestProof, 'signature'>,
): Uint8Array {
  return concat(linkId, proof.encryptionKey, signingKey, ...signallingOf(proof));
}

/** ms from the body of an RTT packet; throws `wire/*`. */
export function decodeRtt(body: Uint8Array): number {
  return seconds(decode(body, { maxDepth: 1 }), 'RTT') * 1000;
}

export function encodeRtt(rtt: number): Uint8Array {
  return encode(new Float(rtt / 1000));
}

export function decodeIdentification(body: Uint8Array): Identification {
  const reader = new Reader(body);
  const publicKey = reader.take(publicKeyLength, 'public key');
  const signature = reader.take(signatureLength, 'signature');
  reader.end('identify');
  return { publicKey, signature };
}

export function encodeIdentification(identification: Identification): Uint8Array {
  return concat(identification.publicKey, identification.signature);
}

/** What an initiator signs to be known on a link. */
export function identificationSigned(linkId: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return concat(linkId, publicKey);
}

export function decodePacketProof(data: Uint8Array): PacketProof {
  const reader = new Reader(data);
  const packetHash = reader.take(packetHashLength, 'packet hash');
  const signature = reader.take(signatureLength, 'signature');
  reader.end('packet proof');
  return { packetHash, signature };
}

export function encodePacketProof(proof: PacketProof): Uint8Array {
  return concat(proof.packetHash, proof.signature);
}

/** A request's body; throws `wire/*`. */
export function decodeRequest(body: Uint8Array): RequestBody {
  const [requestedAt, pathHash, data] = list(decode(body, { maxDepth }), 3, 'request');
  return {
    requestedAt: seconds(requestedAt, 'requested at') * 1000,
    pathHash: hash16(pathHash, 'path hash'),
    data: data as MsgpackValue,
  };
}

export function encodeRequest(request: RequestBody): Uint8Array {
  return encode([new Float(request.requestedAt / 1000), request.pathHash, request.data]);
}

/** A response's body; throws `wire/*`. */
export function decodeResponse(body: Uint8Array): ResponseBody {
  const [requestId, data] = list(decode(body, { maxDepth }), 2, 'response');
  return { requestId: hash16(requestId, 'request id'), data: data as MsgpackValue };
}

export function encodeResponse(response: ResponseBody): Uint8Array {
  return encode([response.requestId, response.data]);
}

function readSignalling(reader: Reader, what: string): { mtu: number; signalled: boolean } {
  if (reader.left === 0) {
    return { mtu: packetMtu, signalled: false };
  }
  const high = reader.u8('signalling');
  const low = reader.u16('signalling');
  reader.end(what);
  const mode = high >> 5;
  if (mode !== linkMode) {
    throw new GatewayError('wire/unsupported', `${what}: link mode ${mode}`, { detail: { mode } });
  }
  const mtu = ((high & 0x1f) << 16) | low;
  if (mtu !== 0 && mtu < packetMtu) {
    throw new GatewayError('wire/malformed', `${what}: MTU ${mtu}, every medium carries ${packetMtu}`);
  }
  return { mtu: mtu === 0 ? packetMtu : mtu, signalled: true };
}

function signallingOf(of: { mtu: number; signalled: boolean }): Uint8Array[] {
  return of.signalled ? [encodeSignalling(of.mtu)] : [];
}

function seconds(value: unknown, field: string): number {
  const number = value instanceof Float ? value.value : typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) {
    throw new GatewayError('wire/malformed', `${field}: no number of seconds`);
  }
  return number;
}

function list(value: unknown, length: number, what: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length < length) {
    throw new GatewayError('wire/malformed', `${what}: no list of ${length}`);
  }
  return value;
}

function hash16(value: unknown, field: string): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== hashLength) {
    throw new GatewayError('wire/malformed', `${field}: not ${hashLength} bytes`);
  }
  return value;
}
