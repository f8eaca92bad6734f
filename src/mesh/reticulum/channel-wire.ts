import { Reader } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';

/**
 * What a Channel carries over a link, each in one sealed packet of context channel, and what a Buffer
 * puts into it.
 *
 *     envelope   message type 2 | sequence 2 | length 2 | data …
 *     stream     end 1 bit, compressed 1 bit, stream id 14 bits | data …        message type 0xff00
 *
 * The length is that of the data, and says nothing that the packet does not say: whatever it is, the
 * data goes up to the end, as the reference reads it.
 *
 * Source: SPEC.md §11; checked against RNS 1.5.7 (test/vectors/channel.json).
 */
export interface Envelope {
  /** 0 … 0xffff; from 0xf000 on it belongs to the protocol. */
  readonly type: number;
  /** 0 … 0xffff, each one more than the one before, starting over after the last. */
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** A piece of a stream. */
export interface StreamChunk {
  /** 0 … 0x3fff: the receiver's name for the stream. */
  readonly streamId: number;
  /** Nothing follows. */
  readonly end: boolean;
  /** The data is a bzip2 stream. */
  readonly compressed: boolean;
  readonly data: Uint8Array;
}

export const envelopeOverhead = 6;
export const streamOverhead = 2;
export const streamMessageType = 0xff00;
/** Message types from here on are the protocol's own. */
export const systemMessageTypes = 0xf000;
export const messageTypeLargest = 0xffff;
export const streamIdLargest = 0x3fff;
/** Bytes of a stream that one chunk may hold, however small they are compressed. */
export const streamChunkLargest = 16_384;
const endBit = 0x8000;
const compressedBit = 0x4000;

/** As a view; throws `wire/truncated`. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const reader = new Reader(bytes);
  const type = reader.u16('message type');
  const sequence = reader.u16('sequence');
  reader.u16('length');
  return { type, sequence, data: bytes.subarray(reader.offset) };
}

export function isMessageType(type: number): boolean {
  return Number.isInteger(type) && type >= 0 && type <= messageTypeLargest;
}

/** Throws `config/invalid` for what is no message type, `mesh/too-large` where the length has no room in its field. */
export function encodeEnvelope({ type, sequence, data }: Envelope): Uint8Array {
  if (!isMessageType(type)) {
    throw new GatewayError('config/invalid', `no message type: ${type}`);
  }
  if (data.length > 0xffff) {
    throw new GatewayError('mesh/too-large', `message of ${data.length} bytes, at most 65535`);
  }
  const bytes = new Uint8Array(envelopeOverhead + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint16(2, sequence);
  view.setUint16(4, data.length);
  bytes.set(data, envelopeOverhead);
  return bytes;
}

/** As a view, still compressed; throws `wire/truncated`. */
export function decodeStreamChunk(bytes: Uint8Array): StreamChunk {
  const header = new Reader(bytes).u16('stream header');
  return {
    streamId: header & streamIdLargest,
    end: (header & endBit) !== 0,
    compressed: (header & compressedBit) !== 0,
    data: bytes.subarray(streamOverhead),
  };
}

export function encodeStreamChunk({ streamId, end, compressed, data }: StreamChunk): Uint8Array {
  const bytes = new Uint8Array(streamOverhead + data.length);
  const header = (streamId & streamIdLargest) | (end ? endBit : 0) | (compressed ? compressedBit : 0);
  new DataView(bytes.buffer).setUint16(0, header);
  bytes.set(data, streamOverhead);
  return bytes;
}
