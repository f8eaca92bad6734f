import { GatewayError } from './errors.ts';

/**
 * Reads a structure from bytes that are not trusted. Every read names its field, so that
 * `wire/truncated` says where the bytes ended. What it gives are views into the input.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Offset of the next byte. */
  get offset(): number {
    return this.#at;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#advance(1, field));
  }

  i8(field: string): number {
    return this.#view.getInt8(this.#advance(1, field));
  }

  u16(field: string): number {
    return this.#view.getUint16(this.#advance(2, field));
  }

  i16(field: string): number {
    return this.#view.getInt16(this.#advance(2, field));
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#advance(4, field));
  }

  i32(field: string): number {
    return this.#view.getInt32(this.#advance(4, field));
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(8, field));
  }

  i64(field: string): bigint {
    return this.#view.getBigInt64(this.#advance(8, field));
  }

  f32(field: string): number {
    return this.#view.getFloat32(this.#advance(4, field));
  }

  f64(field: string): number {
    return this.#view.getFloat64(this.#advance(8, field));
  }

  /** The next `length` bytes as a view. */
  take(length: number, field: string): Uint8Array {
    const start = this.#advance(length, field);
    return this.#bytes.subarray(start, start + length);
  }

  /** Everything not read yet, possibly nothing, as a view. */
  rest(): Uint8Array {
    const start = this.#at;
    this.#at = this.#bytes.length;
    return this.#bytes.subarray(start);
  }

  /** Throws `wire/malformed` if bytes are left over. */
  end(what: string): void {
    if (this.left > 0) {
      throw new GatewayError('wire/malformed', `${what}: ${this.left} bytes too many`);
    }
  }

  #advance(length: number, field: string): number {
    if (!(length <= this.left)) {
      throw new GatewayError('wire/truncated', `${field}: needs ${length} bytes, ${this.left} left`, {
        detail: { field, offset: this.#at },
      });
    }
    const start = this.#at;
    this.#at += length;
    return start;
  }
}

/** Writes a structure into bytes of its own; grows as needed, big-endian like everything on this wire. */
export class Writer {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 64) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  i8(value: number): this {
    const at = this.#grow(1);
    this.#view.setInt8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }

  i16(value: number): this {
    const at = this.#grow(2);
    this.#view.setInt16(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }

  i32(value: number): this {
    const at = this.#grow(4);
    this.#view.setInt32(at, value);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value);
    return this;
  }

  i64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigInt64(at, value);
    return this;
  }

  f32(value: number): this {
    const at = this.#grow(4);
    this.#view.setFloat32(at, value);
    return this;
  }

  f64(value: number): this {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** What was written. The writer must not be used afterwards: the bytes change owner. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(length: number): number {
    const start = this.#length;
    const need = start + length;
    if (need > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(need, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = need;
    return start;
  }
}

/** One fresh array with all parts in order. */
export function concat(...parts: Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) {
    length += part.length;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether two arrays hold the same bytes. Not for secrets: use `timingSafeEqual` there. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) {
    return false;
  }
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) {
      return false;
    }
  }
  return true;
}

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** Bytes of a hex text; `wire/malformed` if it is none, or not of `length` bytes. */
export function fromHex(text: string, length?: number): Uint8Array {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(text) || (length !== undefined && text.length !== length * 2)) {
    throw new GatewayError('wire/malformed', length === undefined ? 'not hex' : `not ${length} bytes of hex`);
  }
  return Uint8Array.fromHex(text);
}

/** Bytes as a text of as many characters, which takes less memory than an array where there are few of them. */
export function toLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** Fresh bytes of such a text. */
export function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = text.charCodeAt(at);
  }
  return bytes;
}

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text of UTF-8 bytes; `wire/malformed` if they are not UTF-8. */
export function fromUtf8(bytes: Uint8Array, field: string): string {
  try {
    return strictDecoder.decode(bytes);
  } catch (cause) {
    throw new GatewayError('wire/malformed', `${field}: not UTF-8`, { cause });
  }
}
