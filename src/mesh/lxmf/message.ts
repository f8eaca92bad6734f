import { concat, Reader, utf8, Writer } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { decode, encode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import type { Identity, PublicIdentity } from '../reticulum/identity.ts';
import { signatureLength } from '../reticulum/keys.ts';
import { encryptedMdu, hashLength, sha256 } from '../reticulum/packet.ts';
import { rawList, rawMap, rawValue } from './raw-value.ts';

/**
 * The LXMF message: what two delivery destinations write to each other.
 *
 *     destination hash 16 | source hash 16 | signature 64 | payload …
 *     payload: msgpack [timestamp float64 s, title bin, content bin, fields map, (stamp bin)]
 *     id = SHA-256(destination hash | source hash | payload without the stamp)
 *     signed: destination hash | source hash | payload without the stamp | id
 *
 * In a single packet the destination hash is left out, because the packet's header has it. A payload
 * without a stamp is hashed as it came; one with a stamp is packed again without it, in canonical form,
 * because that is how the reference does it: another form gives another id.
 *
 * Source: SPEC.md §5.1–§5.6; checked against LXMF 1.2.1 (test/vectors/lxmf*.json).
 */
export interface LxmfMessage {
  /** 16 B: hash of the delivery destination it is for. */
  readonly destination: Uint8Array;
  /** 16 B: hash of the sender's delivery destination. */
  readonly source: Uint8Array;
  /** s since 1970 by the sender's clock, with fractions; any float a sender liked. */
  readonly timestamp: number;
  /** UTF-8 by agreement, but nobody checks. */
  readonly title: Uint8Array;
  readonly content: Uint8Array;
  readonly fields: LxmfFields;
  /** Proof of work or of a ticket; it is not signed. */
  readonly stamp?: Uint8Array | undefined;
}

/** By field number, or by whatever text a sender used instead: the msgpack bytes of the value, as they came. */
export type LxmfFields = ReadonlyMap<number | string, Uint8Array>;

/** A message that came, with what is needed to check who signed it. */
export interface SignedMessage extends LxmfMessage {
  /** 32 B. */
  readonly id: Uint8Array;
  /** 64 B. */
  readonly signature: Uint8Array;
  /** The payload's bytes that id and signature cover. */
  readonly covered: Uint8Array;
}

/** A message ready to leave: the same bytes at every attempt, or it is another message. */
export interface PackedMessage {
  /** With the destination hash in front, as it goes over a link. */
  readonly packed: Uint8Array;
  /** 32 B. */
  readonly id: Uint8Array;
}

/** Bytes of a message's parts before the payload. */
export const messageHeaderLength = 2 * hashLength + signatureLength;
/** Longest packed message that goes into a single packet: 287 B of content and 112 B around it. */
export const opportunisticLimit = encryptedMdu + hashLength;
/** Longest packed message that is read. */
export const messageLimit = 16 * 1024 * 1024;
/** Most fields a message may have. */
export const fieldLimit = 256;
/** Deepest nesting of a field that must be packed again because of a stamp. */
const maxDepth = 64;
const elementLimit = 16;

/**
 * The message in `packed`, as views into it. Throws `wire/truncated` where it ends early and
 * `wire/malformed` where it is none or too large. The signature is not checked here.
 */
export function decodeMessage(packed: Uint8Array): SignedMessage {
  if (packed.length > messageLimit) {
    throw new GatewayError('wire/malformed', `message of ${packed.length} bytes, at most ${messageLimit}`);
  }
  const reader = new Reader(packed);
  const destination = reader.take(hashLength, 'destination hash');
  const source = reader.take(hashLength, 'source hash');
  const signature = reader.take(signatureLength, 'signature');
  const payload = reader.rest();
  const [timestamp, title, content, fields, stamp] = elementsOf(payload);
  const stamped = stamp !== undefined;
  const covered = stamped
    ? concat(Uint8Array.of(0x94), ...[timestamp, title, content, fields].map(canonical))
    : payload;
  return {
    destination,
    source,
    signature,
    timestamp: seconds(timestamp),
    title: bytesOf(title, 'title'),
    content: bytesOf(content, 'content'),
    fields: decodeFields(fields),
    stamp: stamped ? stampOf(stamp) : undefined,
    covered,
    id: sha256(concat(destination, source, covered)),
  };
}

/** Packs and signs a message: `identity` is the one behind its source. */
export function encodeMessage(message: LxmfMessage, identity: Identity): PackedMessage {
  const covered = encodePayload(message);
  const hashed = concat(message.destination, message.source, covered);
  const id = sha256(hashed);
  const signature = identity.sign(concat(hashed, id));
  const { stamp } = message;
  const payload =
    stamp === undefined ? covered : concat(Uint8Array.of(0x95), covered.subarray(1), encode(stamp));
  return { packed: concat(message.destination, message.source, signature, payload), id };
}

/** Whether the Identity signed the message; whether its destination is the source is the caller's to know. */
export function verifyMessage(message: SignedMessage, identity: PublicIdentity): boolean {
  const { destination, source, covered, id, signature } = message;
  return identity.verify(signature, concat(destination, source, covered, id));
}

/** A packed message as it goes into a single packet; a view. */
export function withoutDestination(packed: Uint8Array): Uint8Array {
  return packed.subarray(hashLength);
}

/** A packed message from a single packet's plaintext and the destination it came to. */
export function withDestination(destination: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return concat(destination, plaintext);
}

function encodePayload(message: LxmfMessage): Uint8Array {
  const parts: Uint8Array[] = [
    Uint8Array.of(0x94),
    encode(new Float(message.timestamp)),
    encode(message.title),
    encode(message.content),
    mapHead(message.fields.size),
  ];
  for (const [key, value] of message.fields) {
    parts.push(encode(key), value);
  }
  return concat(...parts);
}

function mapHead(size: number): Uint8Array {
  return size < 16 ? Uint8Array.of(0x80 | size) : new Writer(3).u8(0xde).u16(size).finish();
}

type Elements = [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array | undefined];

/** The payload's elements in raw form. The reference reads past a fifth one; so do we, within reason. */
function elementsOf(payload: Uint8Array): Elements {
  const list = rawList(payload, 0, 'payload');
  if (list === undefined || list.count < 4 || list.count > elementLimit) {
    throw new GatewayError('wire/malformed', 'payload: no list of four or five elements');
  }
  const elements: Uint8Array[] = [];
  let at = list.end;
  for (let i = 0; i < list.count; i++) {
    const element = rawValue(payload, at, elementNames[i] ?? 'payload');
    elements.push(element);
    at += element.length;
  }
  if (at !== payload.length) {
    throw new GatewayError('wire/malformed', `payload: ${payload.length - at} bytes too many`);
  }
  return elements as unknown as Elements;
}

const elementNames = ['timestamp', 'title', 'content', 'fields', 'stamp'];

function decodeFields(raw: Uint8Array): LxmfFields {
  const fields = new Map<number | string, Uint8Array>();
  if (raw[0] === 0xc0) {
    return fields;
  }
  const map = rawMap(raw, 0, 'fields');
  if (map === undefined || map.count > fieldLimit) {
    throw new GatewayError('wire/malformed', `fields: no map of at most ${fieldLimit}`);
  }
  let at = map.end;
  for (let i = 0; i < map.count; i++) {
    const rawKey = rawValue(raw, at, 'field number');
    const key = decode(rawKey, { maxDepth: 1 });
    if ((typeof key !== 'number' && typeof key !== 'string') || fields.has(key)) {
      throw new GatewayError('wire/malformed', 'fields: a key that is no number or text, or is there twice');
    }
    const value = rawValue(raw, at + rawKey.length, 'field');
    fields.set(key, value);
    at += rawKey.length + value.length;
  }
  return fields;
}

function seconds(raw: Uint8Array): number {
  const value = decode(raw, { maxDepth: 1 });
  const number = value instanceof Float ? value.value : typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number') {
    throw new GatewayError('wire/malformed', 'timestamp: no number');
  }
  return number;
}

/** Bytes of a bin, or of a str as some implementations write it. */
function bytesOf(raw: Uint8Array, field: string): Uint8Array {
  const value = decode(raw, { maxDepth: 1 });
  if (value instanceof Uint8Array) {
    return value;
  }
  if (typeof value === 'string') {
    return utf8(value);
  }
  throw new GatewayError('wire/malformed', `${field}: neither bytes nor text`);
}

function stampOf(raw: Uint8Array): Uint8Array | undefined {
  const value = decode(raw, { maxDepth });
  return value instanceof Uint8Array ? value : undefined;
}

function canonical(raw: Uint8Array): Uint8Array {
  return encode(widened(decode(raw, { maxDepth })));
}

/** The reference knows floats of one width only: what came narrow is packed wide. */
function widened(value: MsgpackValue): MsgpackValue {
  if (value instanceof Float) {
    return new Float(value.value);
  }
  if (Array.isArray(value)) {
    return value.map(widened);
  }
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [widened(key), widened(item)]));
  }
  return value;
}
