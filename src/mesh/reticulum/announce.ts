import { concat, equal, Reader } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import { destinationHash, type LocalDestination, nameHashLength } from './destination.ts';
import { type PublicIdentity, publicKeyLength } from './identity.ts';
import { keyLength, signatureLength } from './keys.ts';
import { contexts, header2Length, type Packet, packetMtu } from './packet.ts';

/**
 * The announce: a destination says that it is there, with its keys and something of its app's. Every
 * node that hears it learns the way back.
 *
 *     public key 64 | name hash 10 | random blob 10 | [ratchet 32] | signature 64 | app data …
 *     random blob: random 5 | when it was made, s epoch 5
 *     signed: destination hash | public key | name hash | random blob | [ratchet] | app data
 *
 * The ratchet is there if the packet's context flag is set. Context `pathResponse` marks the answer to
 * a path request: it is for who asked and travels no further.
 *
 * Source: SPEC.md §4, §4.5; checked against RNS 1.5.7 (test/vectors/announce.json).
 */
export interface Announce {
  /** 64 B. */
  readonly publicKey: Uint8Array;
  /** 10 B. */
  readonly nameHash: Uint8Array;
  /** 10 B: tells one announce from the next. */
  readonly randomBlob: Uint8Array;
  /** 32 B. */
  readonly ratchet: Uint8Array | undefined;
  /** 64 B. */
  readonly signature: Uint8Array;
  /**
   * Undefined where there is none, which cannot be told from an empty one on the wire; with a ratchet it is empty then,
   * as the reference reads it.
   */
  readonly appData: Uint8Array | undefined;
}

export const randomBlobLength = 10;
const randomLength = 5;

const randomBlobAt = publicKeyLength + nameHashLength;
/** Bytes of an announce's data before the app data, without a ratchet. */
const fixedLength = publicKeyLength + nameHashLength + randomBlobLength + signatureLength;

/** Longest app data of an announce that still fits once a transport node has added its header: 317, with a ratchet 285. */
export function appDataLimit(withRatchet: boolean): number {
  return packetMtu - header2Length - fixedLength - (withRatchet ? keyLength : 0);
}

/** The announce in a packet, as views into it. Throws `wire/truncated`. The signature is not checked here. */
export function decodeAnnounce(packet: Packet): Announce {
  return readAnnounce(packet.data, packet.contextFlag);
}

/** What the data of an announce holds, as views into it; whether a ratchet is in it is said outside. Throws `wire/truncated`. */
export function readAnnounce(data: Uint8Array, hasRatchet: boolean): Announce {
  const reader = new Reader(data);
  const publicKey = reader.take(publicKeyLength, 'public key');
  const nameHash = reader.take(nameHashLength, 'name hash');
  const randomBlob = reader.take(randomBlobLength, 'random blob');
  const ratchet = hasRatchet ? reader.take(keyLength, 'ratchet') : undefined;
  const signature = reader.take(signatureLength, 'signature');
  const appData = reader.left > 0 || hasRatchet ? reader.rest() : undefined;
  return { publicKey, nameHash, randomBlob, ratchet, signature, appData };
}

/** The random blob of the announce in a packet, as a view into it: what most are dropped by. Throws as `decodeAnnounce`. */
export function randomBlobIn({ data, contextFlag }: Packet): Uint8Array {
  const isWhole = data.length >= fixedLength + (contextFlag ? keyLength : 0);
  return isWhole
    ? data.subarray(randomBlobAt, randomBlobAt + randomBlobLength)
    : readAnnounce(data, contextFlag).randomBlob;
}

/** Whether the announce belongs to the destination it is addressed to and `identity`, whose key it carries, signed it. */
export function verifyAnnounce(packet: Packet, announce: Announce, identity: PublicIdentity): boolean {
  return (
    belongs(packet, announce, identity) &&
    identity.verify(announce.signature, signedPart(packet.destinationHash, announce))
  );
}

/** The same by threads. */
export function verifyAnnounceBeside(
  threads: SignatureThreads,
  packet: Packet,
  announce: Announce,
  identity: PublicIdentity,
  done: (valid: boolean) => void,
): void {
  if (belongs(packet, announce, identity)) {
    const signed = signedPart(packet.destinationHash, announce);
    identity.verifyBeside(threads, announce.signature, signed, done);
  } else {
    done(false);
  }
}

function belongs({ destinationHash: to }: Packet, { nameHash }: Announce, { hash }: PublicIdentity): boolean {
  return equal(destinationHash(nameHash, hash), to);
}

/** When the announce was made, s epoch, by its sender's clock: later ones replace earlier ones. */
export function emittedAt(randomBlob: Uint8Array): number {
  let seconds = 0;
  for (let at = randomLength; at < randomBlobLength; at++) {
    seconds = seconds * 256 + randomBlob[at]!;
  }
  return seconds;
}

/** A random blob (10 B) from 5 random bytes and a time, s epoch. */
export function encodeRandomBlob(random: Uint8Array, emitted: number): Uint8Array {
  const blob = new Uint8Array(randomBlobLength);
  blob.set(random.subarray(0, randomLength));
  let rest = Math.floor(emitted);
  for (let at = randomBlobLength - 1; at >= randomLength; at--) {
    blob[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return blob;
}

export interface AnnounceContent {
  /** 10 B. */
  readonly randomBlob: Uint8Array;
  readonly ratchet?: Uint8Array | undefined;
  readonly appData?: Uint8Array | undefined;
  readonly pathResponse?: boolean;
}

/**
 * The packet that announces a destination of ours. Throws `mesh/too-large` where the app data would
 * be lost on the way, `config/invalid` for a plain destination or a group, which cannot be announced.
 */
export function signAnnounce(destination: LocalDestination, content: AnnounceContent): Packet {
  const { identity, kind } = destination;
  const { randomBlob, ratchet, appData } = content;
  if (identity === undefined || kind !== 'single') {
    throw new GatewayError('config/invalid', `${destination.name} is ${kind} and cannot be announced`);
  }
  const limit = appDataLimit(ratchet !== undefined);
  if (appData !== undefined && appData.length > limit) {
    throw new GatewayError(
      'mesh/too-large',
      `app data of ${appData.length} bytes, an announce carries ${limit}`,
    );
  }
  const announce = {
    publicKey: identity.publicKey,
    nameHash: destination.nameHash,
    randomBlob,
    ratchet,
    appData,
  };
  const signature = identity.sign(signedPart(destination.hash, announce));
  return {
    hops: 0,
    transportId: undefined,
    contextFlag: ratchet !== undefined,
    propagation: 'broadcast',
    destinationType: 'single',
    packetType: 'announce',
    destinationHash: destination.hash,
    context: content.pathResponse ? contexts.pathResponse : contexts.none,
    data: concat(
      announce.publicKey,
      announce.nameHash,
      randomBlob,
      ratchet ?? nothing,
      signature,
      appData ?? nothing,
    ),
  };
}

function signedPart(destination: Uint8Array, announce: Omit<Announce, 'signature'>): Uint8Array {
  const { publicKey, nameHash, randomBlob, ratchet, appData } = announce;
  return concat(destination, publicKey, nameHash, randomBlob, ratchet ?? nothing, appData ?? nothing);
}

const nothing = new Uint8Array(0);
