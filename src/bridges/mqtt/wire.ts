import { GatewayError } from '../../lib/errors.ts';

/**
 * The few bytes of MQTT this bridge reads and writes itself.
 *
 *     fixed header: type 4 bits | flags 4 bits | remaining length, 1..4 bytes of 7 bits, low first | rest …
 *     CONNECT rest: name length 2 | name "MQTT" or "MQIsdp" | level 1 | …
 *     PUBLISH rest: topic length 2 | topic | packet id 2 (QoS 1, 2) | payload
 *     PUBACK, PUBREC, PUBREL, PUBCOMP rest: packet id 2
 *
 * Source: OASIS MQTT 3.1.1 §2, §3.1, §3.3; OASIS MQTT 5.0 §3.2.
 */
export const packetTypes = { connect: 1, puback: 4, pubcomp: 7, disconnect: 14 } as const;

/** What the first bytes of a connection say. */
export type Opening =
  | { readonly kind: 'more' }
  | { readonly kind: 'connect'; readonly level: number }
  | { readonly kind: 'garbage' };

/** Enough for any CONNECT up to its level. */
export const openingBytes = 14;

/** Looks at the first bytes of a connection; never asks for more than `openingBytes`. */
export function readOpening(bytes: Uint8Array, largest: number): Opening {
  if (bytes.length === 0) {
    return { kind: 'more' };
  }
  if (bytes[0] !== packetTypes.connect << 4) {
    return { kind: 'garbage' };
  }
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) {
      return { kind: 'more' };
    }
    at += 1;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      break;
    }
    if (shift === 21) {
      return { kind: 'garbage' };
    }
  }
  const name = ['MQTT', 'MQIsdp'].find(
    candidate => bytes[at + 1] === undefined || bytes[at + 1] === candidate.length,
  );
  if (length > largest || length < 7 || (bytes[at] ?? 0) !== 0 || name === undefined) {
    return { kind: 'garbage' };
  }
  const given = bytes.subarray(at + 2, at + 2 + name.length);
  if (bytes[at + 1] !== undefined && !Buffer.from(name).subarray(0, given.length).equals(given)) {
    return { kind: 'garbage' };
  }
  const level = bytes[at + 2 + name.length];
  return level === undefined ? { kind: 'more' } : { kind: 'connect', level };
}

/** CONNACK of MQTT 5 with reason 0x84 (unsupported protocol version) and a reason string. */
export function refuseVersion5(reason: string): Uint8Array {
  const text = Buffer.from(reason, 'utf8');
  const properties = Buffer.concat([Buffer.from([0x1f, text.length >> 8, text.length & 0xff]), text]);
  return Buffer.concat([
    Buffer.from([0x20, 3 + properties.length, 0x00, 0x84, properties.length]),
    properties,
  ]);
}

/** CONNACK of MQTT 3.1.1 with return code 1 (unacceptable protocol version). */
export const refuseVersion = Uint8Array.of(0x20, 0x02, 0x00, 0x01);

/** A PUBLISH, fresh bytes; `packetId` for QoS 1 only. */
export function encodePublish(topic: string, payload: Uint8Array, packetId?: number): Uint8Array {
  const name = Buffer.from(topic, 'utf8');
  const id = packetId === undefined ? Buffer.alloc(0) : Buffer.from([packetId >> 8, packetId & 0xff]);
  const header = [packetId === undefined ? 0x30 : 0x32];
  let rest = 2 + name.length + id.length + payload.length;
  do {
    header.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from([...header, name.length >> 8, name.length & 0xff]), name, id, payload]);
}

/**
 * Follows the packets of a connection without keeping them: tells of each one its type and, of an
 * acknowledgement, its packet id.
 */
export class PacketScanner {
  readonly #largest: number;
  readonly #tell: (type: number, packetId: number) => void;
  #type = 0;
  #length = 0;
  /** Bits of the length read so far; -1 between packets. */
  #shift = -1;
  #rest = 0;
  #id = 0;

  constructor(largest: number, tell: (type: number, packetId: number) => void) {
    this.#largest = largest;
    this.#tell = tell;
  }

  /** Throws `wire/malformed` for a length that is none, `request/too-large` for one beyond the largest. */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#rest > 0) {
        const taken = Math.min(this.#rest, chunk.length - at);
        for (let index = at; index < at + taken && this.#length - this.#rest + index - at < 2; index++) {
          this.#id = (this.#id << 8) | (chunk[index] ?? 0);
        }
        this.#rest -= taken;
        at += taken;
        this.#finish();
      } else {
        this.#header(chunk[at] ?? 0);
        at += 1;
      }
    }
  }

  #header(byte: number): void {
    if (this.#shift < 0) {
      this.#type = byte >> 4;
      this.#length = 0;
      this.#id = 0;
      this.#shift = 0;
      return;
    }
    this.#length |= (byte & 0x7f) << this.#shift;
    if (byte >= 0x80) {
      this.#shift += 7;
      if (this.#shift > 21) {
        throw new GatewayError('wire/malformed', 'a remaining length of more than four bytes');
      }
      return;
    }
    if (this.#length > this.#largest) {
      throw new GatewayError('request/too-large', `a packet of ${this.#length} bytes`);
    }
    this.#shift = -1;
    this.#rest = this.#length;
    this.#finish();
  }

  #finish(): void {
    if (this.#rest === 0 && this.#shift < 0) {
      this.#tell(this.#type, this.#id);
    }
  }
}
