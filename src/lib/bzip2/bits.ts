import { GatewayError } from '../errors.ts';

/** Reads bits, high bit first. The fields are open because the Huffman loop keeps them in locals. */
export class BitReader {
  readonly bytes: Uint8Array;
  /** Next byte to load. */
  at: number;
  /** Bits loaded and not read: the low `count` ones of `window`. */
  window = 0;
  count = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.bytes = bytes;
    this.at = start;
  }

  /** The next `width` bits, 24 at most. Throws `wire/truncated`. */
  read(width: number): number {
    while (this.count < width) {
      if (this.at >= this.bytes.length) {
        throw truncated();
      }
      this.window = (this.window << 8) | (this.bytes[this.at++] as number);
      this.count += 8;
    }
    this.count -= width;
    return (this.window >>> this.count) & ((1 << width) - 1);
  }

  /** The next 32 bits as an unsigned number. */
  read32(): number {
    return this.read(16) * 0x10000 + this.read(16);
  }

  /** Drops the bits up to the next whole byte and gives its offset. */
  align(): number {
    this.at -= this.count >> 3;
    this.count = 0;
    return this.at;
  }
}

/** Writes bits, high bit first, into bytes of its own. */
export class BitWriter {
  #bytes: Uint8Array;
  #at = 0;
  #window = 0;
  #count = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** The low `width` bits of `value`, 24 at most. */
  write(width: number, value: number): void {
    this.#window = (this.#window << width) | value;
    this.#count += width;
    while (this.#count >= 8) {
      if (this.#at === this.#bytes.length) {
        this.#grow();
      }
      this.#count -= 8;
      this.#bytes[this.#at++] = this.#window >>> this.#count;
    }
  }

  write32(value: number): void {
    this.write(16, value >>> 16);
    this.write(16, value & 0xffff);
  }

  /** What was written, filled up with zeros to a whole byte. The writer must not be used afterwards. */
  finish(): Uint8Array {
    if (this.#count > 0) {
      this.write(8 - this.#count, 0);
    }
    return this.#bytes.subarray(0, this.#at);
  }

  #grow(): void {
    const larger = new Uint8Array(Math.max(64, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

export function truncated(): GatewayError {
  return new GatewayError('wire/truncated', 'bzip2: the stream ends too early');
}

export function malformed(why: string): GatewayError {
  return new GatewayError('wire/malformed', `bzip2: ${why}`);
}
