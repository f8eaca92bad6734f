import type { Writer } from './bytes.ts';
import { GatewayError } from './errors.ts';

/** Kind and length in 1, 2 or 4 bytes; lists and maps have no kind with one. Throws `wire/unsupported` for a longer one. */
export function writeLength(
  writer: Writer,
  length: number,
  one: number | undefined,
  two: number,
  four: number,
): void {
  if (length < 0x100 && one !== undefined) {
    writer.u8(one).u8(length);
  } else if (length < 0x10000) {
    writer.u8(two).u16(length);
  } else if (length < 0x1_0000_0000) {
    writer.u8(four).u32(length);
  } else {
    throw new GatewayError('wire/unsupported', `msgpack: a length of ${length}`);
  }
}

/** The narrowest form of a safe integer. */
export function writeInteger(writer: Writer, value: number): void {
  if (value >= 0) {
    if (value < 0x80) {
      writer.u8(value);
    } else if (value < 0x100) {
      writer.u8(0xcc).u8(value);
    } else if (value < 0x10000) {
      writer.u8(0xcd).u16(value);
    } else if (value < 0x1_0000_0000) {
      writer.u8(0xce).u32(value);
    } else {
      writer.u8(0xcf).u64(BigInt(value));
    }
  } else if (value >= -0x20) {
    writer.i8(value);
  } else if (value >= -0x80) {
    writer.u8(0xd0).i8(value);
  } else if (value >= -0x8000) {
    writer.u8(0xd1).i16(value);
  } else if (value >= -0x8000_0000) {
    writer.u8(0xd2).i32(value);
  } else {
    writer.u8(0xd3).i64(BigInt(value));
  }
}

/** Throws `wire/unsupported` for an integer over 64 bits. */
export function writeBigInteger(writer: Writer, value: bigint): void {
  const narrowed = narrow(value);
  if (typeof narrowed === 'number') {
    writeInteger(writer, narrowed);
  } else if (value >= 0n && value < 1n << 64n) {
    writer.u8(0xcf).u64(value);
  } else if (value < 0n && value >= -(1n << 63n)) {
    writer.u8(0xd3).i64(value);
  } else {
    throw new GatewayError('wire/unsupported', 'msgpack: an integer over 64 bits');
  }
}

/** A number where it is exact as one. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
