import { Reader } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';

/**
 * The bytes of one msgpack value, found without making anything of it: how fields that nobody here
 * understands are kept byte for byte, and how large ones wait undecoded until somebody asks.
 *
 * Source: the MessagePack specification (formats and lengths).
 */
export function rawValue(bytes: Uint8Array, start: number, field: string): Uint8Array {
  const reader = new Reader(bytes.subarray(start));
  let wanted = 1;
  while (wanted > 0) {
    wanted -= 1;
    const more = skipHead(reader, field);
    if (more > reader.left) {
      throw new GatewayError('wire/truncated', `${field}: says ${more} values, ${reader.left} bytes left`);
    }
    wanted += more;
  }
  return bytes.subarray(start, start + reader.offset);
}

/** Head of a list or a map: how many elements or pairs, and where they begin. */
export interface RawHead {
  readonly count: number;
  readonly end: number;
}

/** The head of a list at `start`, or undefined where another kind of value stands there. */
export function rawList(bytes: Uint8Array, start: number, field: string): RawHead | undefined {
  return head(bytes, start, field, 0x90, 0xdc);
}

/** The head of a map at `start`, or undefined where another kind of value stands there. */
export function rawMap(bytes: Uint8Array, start: number, field: string): RawHead | undefined {
  return head(bytes, start, field, 0x80, 0xde);
}

function head(
  bytes: Uint8Array,
  start: number,
  field: string,
  short: number,
  long: number,
): RawHead | undefined {
  const reader = new Reader(bytes.subarray(start));
  const kind = reader.u8(field);
  if ((kind & 0xf0) === short) {
    return { count: kind & 0x0f, end: start + 1 };
  }
  if (kind === long) {
    return { count: reader.u16(field), end: start + 3 };
  }
  return kind === long + 1 ? { count: reader.u32(field), end: start + 5 } : undefined;
}

/** Bytes that follow a kind of fixed size, from 0xca on; the holes have a length of their own. */
const fixedLengths: Readonly<Record<number, number>> = {
  192: 0,
  194: 0,
  195: 0,
  202: 4,
  203: 8,
  204: 1,
  205: 2,
  206: 4,
  207: 8,
  208: 1,
  209: 2,
  210: 4,
  211: 8,
  212: 2,
  213: 3,
  214: 5,
  215: 9,
  216: 17,
};

/** Reads past one value but for what a list or map holds, and says how many values that is. */
function skipHead(reader: Reader, field: string): number {
  const kind = reader.u8(field);
  if (kind <= 0x7f || kind >= 0xe0) {
    return 0;
  }
  if (kind <= 0x8f) {
    return (kind & 0x0f) * 2;
  }
  if (kind <= 0x9f) {
    return kind & 0x0f;
  }
  if (kind <= 0xbf) {
    reader.take(kind & 0x1f, field);
    return 0;
  }
  const fixed = fixedLengths[kind];
  if (fixed !== undefined) {
    reader.take(fixed, field);
    return 0;
  }
  switch (kind) {
    case 0xc4:
    case 0xd9:
      reader.take(reader.u8(field), field);
      return 0;
    case 0xc5:
    case 0xda:
      reader.take(reader.u16(field), field);
      return 0;
    case 0xc6:
    case 0xdb:
      reader.take(reader.u32(field), field);
      return 0;
    case 0xc7:
      reader.take(reader.u8(field) + 1, field);
      return 0;
    case 0xc8:
      reader.take(reader.u16(field) + 1, field);
      return 0;
    case 0xc9:
      reader.take(reader.u32(field) + 1, field);
      return 0;
    case 0xdc:
      return reader.u16(field);
    case 0xdd:
      return reader.u32(field);
    case 0xde:
      return reader.u16(field) * 2;
    case 0xdf:
      return reader.u32(field) * 2;
    default:
      throw new GatewayError(
        'wire/malformed',
        `${field}: no msgpack value begins with 0x${kind.toString(16)}`,
      );
  }
}
