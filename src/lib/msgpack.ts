import { fromUtf8, Reader, utf8, Writer } from './bytes.ts';
import { GatewayError } from './errors.ts';
import { narrow, writeBigInteger, writeInteger, writeLength } from './msgpack-integer.ts';

/**
 * MessagePack as the mesh speaks it: every value has one canonical form, the narrowest, and
 * `encode(decode(bytes))` gives canonical bytes back unchanged. Hence floats are `Float`, never
 * plain numbers (1.0 and 1 differ on the wire and in every hash over it), and texts and bytes are
 * kept apart.
 *
 *     nil c0 | false c2, true c3 | int 00…7f, e0…ff, cc…d3 | float ca, cb | text a0…bf, d9…db
 *     bytes c4…c6 | list 90…9f, dc, dd | map 80…8f, de, df | extension d4…d8, c7…c9 | never c1
 *
 * Decoding takes wider forms than needed. Bytes are views into the input. A text that is not UTF-8,
 * a key that appears twice and a map used as a key are `wire/malformed`, because the reference
 * refuses the whole value too.
 *
 * Source: the MessagePack specification; checked against umsgpack of RNS 1.5.7 (test/vectors/msgpack.json).
 */
export type MsgpackValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Float
  | Extension
  | readonly MsgpackValue[]
  | ReadonlyMap<MsgpackValue, MsgpackValue>;

/** A number that is a float on the wire even where it is integral; `width` in bits. */
export class Float {
  readonly value: number;
  readonly width: 32 | 64;

  constructor(value: number, width: 32 | 64 = 64) {
    this.value = value;
    this.width = width;
  }
}

/** An application's own type, kept as it came; `type` is -128…127. A timestamp (-1) is one of them. */
export class Extension {
  readonly type: number;
  readonly data: Uint8Array;

  constructor(type: number, data: Uint8Array) {
    this.type = type;
    this.data = data;
  }
}

export interface DecodeLimits {
  /** Lists and maps inside each other; a value that is neither has depth 0. Default 32. */
  readonly maxDepth?: number;
  /** Values altogether, each key and each element counted. Default 262144. */
  readonly maxItems?: number;
  /** Largest input, bytes. Default 64 MiB. */
  readonly maxBytes?: number;
}

const defaultDepth = 32;
const defaultItems = 262_144;
const defaultBytes = 64 * 1024 * 1024;

/** The one value these bytes hold. Throws `wire/truncated`, or `wire/malformed` also where bytes are left over. */
export function decode(bytes: Uint8Array, limits: DecodeLimits = {}): MsgpackValue {
  const decoder = new Decoder(bytes, limits);
  const value = decoder.value(0);
  decoder.reader.end('msgpack');
  return value;
}

/** The value at the start of these bytes and the bytes it took; what follows is not looked at. Throws `wire/*`. */
export function decodePrefix(
  bytes: Uint8Array,
  limits: DecodeLimits = {},
): { readonly value: MsgpackValue; readonly length: number } {
  const decoder = new Decoder(bytes, limits);
  const value = decoder.value(0);
  return { value, length: decoder.reader.offset };
}

/** Canonical bytes. Throws `wire/unsupported` for an integer over 64 bits or something nested beyond reason. */
export function encode(value: MsgpackValue): Uint8Array {
  const writer = new Writer(128);
  write(writer, value, 0);
  return writer.finish();
}

/** Reads one value after another under limits that hold for all of them together. */
class Decoder {
  readonly reader: Reader;
  readonly #maxDepth: number;
  #itemsLeft: number;

  constructor(bytes: Uint8Array, limits: DecodeLimits) {
    const maxBytes = limits.maxBytes ?? defaultBytes;
    if (bytes.length > maxBytes) {
      throw malformed(`${bytes.length} bytes, ${maxBytes} allowed`);
    }
    this.reader = new Reader(bytes);
    this.#maxDepth = limits.maxDepth ?? defaultDepth;
    this.#itemsLeft = limits.maxItems ?? defaultItems;
  }

  value(depth: number): MsgpackValue {
    if (this.#itemsLeft-- <= 0) {
      throw malformed('too many values');
    }
    const { reader } = this;
    const kind = reader.u8('msgpack kind');
    if (kind < 0x80) {
      return kind;
    }
    if (kind < 0x90) {
      return this.#map(kind & 0x0f, depth);
    }
    if (kind < 0xa0) {
      return this.#list(kind & 0x0f, depth);
    }
    if (kind < 0xc0) {
      return this.#text(kind & 0x1f);
    }
    if (kind >= 0xe0) {
      return kind - 0x100;
    }
    switch (kind) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#bytes(reader.u8('byte count'));
      case 0xc5:
        return this.#bytes(reader.u16('byte count'));
      case 0xc6:
        return this.#bytes(reader.u32('byte count'));
      case 0xc7:
        return this.#extension(reader.u8('extension length'));
      case 0xc8:
        return this.#extension(reader.u16('extension length'));
      case 0xc9:
        return this.#extension(reader.u32('extension length'));
      case 0xca:
        return new Float(reader.f32('float'), 32);
      case 0xcb:
        return new Float(reader.f64('float'));
      case 0xcc:
        return reader.u8('integer');
      case 0xcd:
        return reader.u16('integer');
      case 0xce:
        return reader.u32('integer');
      case 0xcf:
        return narrow(reader.u64('integer'));
      case 0xd0:
        return reader.i8('integer');
      case 0xd1:
        return reader.i16('integer');
      case 0xd2:
        return reader.i32('integer');
      case 0xd3:
        return narrow(reader.i64('integer'));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (kind - 0xd4));
      case 0xd9:
        return this.#text(reader.u8('text length'));
      case 0xda:
        return this.#text(reader.u16('text length'));
      case 0xdb:
        return this.#text(reader.u32('text length'));
      case 0xdc:
        return this.#list(reader.u16('list length'), depth);
      case 0xdd:
        return this.#list(reader.u32('list length'), depth);
      case 0xde:
        return this.#map(reader.u16('map length'), depth);
      case 0xdf:
        return this.#map(reader.u32('map length'), depth);
      default:
        throw malformed(`no kind 0x${kind.toString(16)}`);
    }
  }

  #bytes(length: number): Uint8Array {
    return this.reader.take(length, 'bytes');
  }

  #text(length: number): string {
    return fromUtf8(this.reader.take(length, 'text'), 'text');
  }

  #extension(length: number): Extension {
    const type = this.reader.i8('extension type');
    return new Extension(type, this.reader.take(length, 'extension'));
  }

  #list(length: number, depth: number): MsgpackValue[] {
    this.#enter(length, depth, 'list');
    const list: MsgpackValue[] = [];
    for (let i = 0; i < length; i++) {
      list.push(this.value(depth + 1));
    }
    return list;
  }

  #map(length: number, depth: number): Map<MsgpackValue, MsgpackValue> {
    this.#enter(length * 2, depth, 'map');
    const map = new Map<MsgpackValue, MsgpackValue>();
    const seen = new Set<string>();
    for (let i = 0; i < length; i++) {
      const key = this.value(depth + 1);
      const name = keyName(key);
      if (name !== undefined) {
        if (seen.has(name)) {
          throw malformed('a key appears twice');
        }
        seen.add(name);
      }
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  /** Every value takes a byte at least, so a length that cannot be true is refused before anything is read. */
  #enter(values: number, depth: number, what: string): void {
    if (depth >= this.#maxDepth) {
      throw malformed(`nested deeper than ${this.#maxDepth}`);
    }
    if (values > this.reader.left) {
      throw new GatewayError('wire/truncated', `${what}: ${values} values in ${this.reader.left} bytes`);
    }
  }
}

/** A name equal for keys the reference holds equal (1, 1.0 and true are one key there); undefined for a list. */
function keyName(key: MsgpackValue): string | undefined {
  if (typeof key === 'string') {
    return `s${key}`;
  }
  if (key instanceof Uint8Array) {
    return `b${key.toHex()}`;
  }
  if (key instanceof Float) {
    const { value } = key;
    return Number.isNaN(value) ? undefined : `n${Number.isInteger(value) ? BigInt(value) : value}`;
  }
  if (key instanceof Extension) {
    return `e${key.type}:${key.data.toHex()}`;
  }
  if (key === null) {
    return 'z';
  }
  if (typeof key === 'object') {
    refuseMaps(key);
    return undefined;
  }
  return `n${BigInt(key)}`;
}

function refuseMaps(key: readonly MsgpackValue[] | ReadonlyMap<MsgpackValue, MsgpackValue>): void {
  if (!isList(key)) {
    throw malformed('a map as a key');
  }
  for (const item of key) {
    if (Array.isArray(item) || item instanceof Map) {
      refuseMaps(item);
    }
  }
}

/** Deeper than any value of the wire; only a value that holds itself gets there. */
const encodeDepth = 128;

function write(writer: Writer, value: MsgpackValue, depth: number): void {
  if (typeof value === 'string') {
    const text = utf8(value);
    if (text.length < 32) {
      writer.u8(0xa0 | text.length);
    } else {
      writeLength(writer, text.length, 0xd9, 0xda, 0xdb);
    }
    writer.raw(text);
  } else if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      writeInteger(writer, value);
    } else {
      writer.u8(0xcb).f64(value);
    }
  } else if (typeof value === 'bigint') {
    writeBigInteger(writer, value);
  } else if (typeof value === 'boolean') {
    writer.u8(value ? 0xc3 : 0xc2);
  } else if (value === null) {
    writer.u8(0xc0);
  } else if (value instanceof Uint8Array) {
    writeLength(writer, value.length, 0xc4, 0xc5, 0xc6);
    writer.raw(value);
  } else if (value instanceof Float) {
    if (value.width === 32) {
      writer.u8(0xca).f32(value.value);
    } else {
      writer.u8(0xcb).f64(value.value);
    }
  } else if (value instanceof Extension) {
    writeExtension(writer, value);
  } else {
    writeContainer(writer, value, depth);
  }
}

function writeContainer(
  writer: Writer,
  value: readonly MsgpackValue[] | ReadonlyMap<MsgpackValue, MsgpackValue>,
  depth: number,
): void {
  if (depth >= encodeDepth) {
    throw new GatewayError('wire/unsupported', `msgpack: nested deeper than ${encodeDepth}`);
  }
  if (isList(value)) {
    if (value.length < 16) {
      writer.u8(0x90 | value.length);
    } else {
      writeLength(writer, value.length, undefined, 0xdc, 0xdd);
    }
    for (const item of value) {
      write(writer, item, depth + 1);
    }
    return;
  }
  if (value.size < 16) {
    writer.u8(0x80 | value.size);
  } else {
    writeLength(writer, value.size, undefined, 0xde, 0xdf);
  }
  for (const [key, item] of value) {
    write(writer, key, depth + 1);
    write(writer, item, depth + 1);
  }
}

function writeExtension(writer: Writer, { type, data }: Extension): void {
  const fixed = [1, 2, 4, 8, 16].indexOf(data.length);
  if (fixed >= 0) {
    writer.u8(0xd4 + fixed);
  } else {
    writeLength(writer, data.length, 0xc7, 0xc8, 0xc9);
  }
  writer.i8(type).raw(data);
}

function isList(
  value: readonly MsgpackValue[] | ReadonlyMap<MsgpackValue, MsgpackValue>,
): value is readonly MsgpackValue[] {
  return Array.isArray(value);
}

function malformed(why: string): GatewayError {
  return new GatewayError('wire/malformed', `msgpack: ${why}`);
}
