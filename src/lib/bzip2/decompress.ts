import { GatewayError } from '../errors.ts';
import { BitReader, malformed, truncated } from './bits.ts';
import { blockCrc, streamCrc } from './crc.ts';
import { type DecodingTable, decodingTable } from './huffman.ts';

/**
 * bzip2, undone. A stream is blocks, each sorted (Burrows-Wheeler), moved to front, run-length and
 * Huffman coded; several streams may follow each other.
 *
 *     "BZh" level '1'…'9' | blocks | 17 72 45 38 50 90 | stream crc 32
 *     block: 31 41 59 26 53 59 | crc 32 | randomised 1 | origin 24 | used bytes 16 + 16 each
 *            | tables 3 | selectors 15 | selectors, unary | tables, code lengths as deltas | symbols
 *
 * Bytes after a stream that begin no other are ignored, as the reference's library does. The old
 * randomised blocks, written by nothing since 1997, are `wire/malformed`.
 *
 * Source: the format as bzip2 1.0 writes it; checked against Python's bz2 (test/vectors/bzip2.json).
 */
export function decompress(bytes: Uint8Array, { limit }: { readonly limit: number }): Uint8Array {
  const output = new Output(limit);
  const block = new BlockDecoder();
  let at = 0;
  do {
    at = decodeStream(bytes, at, block, output);
  } while (isStream(bytes, at));
  return output.finish();
}

/** Symbols that share one Huffman table. */
const groupSize = 50;
const symbolLimit = 258;
/** As many as 900000 symbols need; more may be listed, and are never used. */
const selectorLimit = 18_002;

function isStream(bytes: Uint8Array, at: number): boolean {
  const level = bytes[at + 3] ?? 0;
  return (
    bytes[at] === 0x42 && bytes[at + 1] === 0x5a && bytes[at + 2] === 0x68 && level > 0x30 && level <= 0x39
  );
}

/** Decodes the stream at `start` and gives the offset behind it. */
function decodeStream(bytes: Uint8Array, start: number, block: BlockDecoder, output: Output): number {
  if (bytes.length < start + 4) {
    throw truncated();
  }
  if (!isStream(bytes, start)) {
    throw malformed('no bzip2 stream');
  }
  const capacity = ((bytes[start + 3] as number) - 0x30) * 100_000;
  const bits = new BitReader(bytes, start + 4);
  let crc = 0;
  for (;;) {
    const high = bits.read(24);
    const low = bits.read(24);
    if (high === 0x314159 && low === 0x265359) {
      const expected = bits.read32();
      const from = output.length;
      block.decode(bits, capacity, output);
      if (output.crc(from) !== expected) {
        throw malformed('a block does not match its checksum');
      }
      crc = streamCrc(crc, expected);
    } else if (high === 0x177245 && low === 0x385090) {
      if (bits.read32() !== crc) {
        throw malformed('the stream does not match its checksum');
      }
      return bits.align();
    } else {
      throw malformed('neither a block nor an end');
    }
  }
}

/** Decodes blocks one after the other, keeping its large arrays. */
class BlockDecoder {
  /** Sorted bytes in the low 8 bits; then, in the others, where each one's successor stands. */
  #sorted = new Uint32Array(16_384);
  readonly #selectors = new Uint8Array(selectorLimit);
  readonly #front = new Uint8Array(256);
  readonly #lengths = new Uint8Array(symbolLimit);
  readonly #starts = new Uint32Array(256);

  decode(bits: BitReader, capacity: number, output: Output): void {
    if (bits.read(1) === 1) {
      throw malformed('a randomised block');
    }
    const origin = bits.read(24);
    const used = this.#readUsed(bits);
    const tableCount = bits.read(3);
    const selectorCount = bits.read(15);
    if (used === 0 || tableCount < 2 || tableCount > 6 || selectorCount < 1) {
      throw malformed('a block header makes no sense');
    }
    this.#readSelectors(bits, tableCount, selectorCount);
    const tables: DecodingTable[] = [];
    for (let i = 0; i < tableCount; i++) {
      tables.push(this.#readTable(bits, used + 2));
    }
    const length = this.#readSymbols(
      bits,
      tables,
      Math.min(selectorCount, selectorLimit),
      used + 1,
      capacity,
    );
    if (origin >= length) {
      throw malformed('the origin lies outside of its block');
    }
    output.mustHold(length);
    this.#unsort(origin, length, output);
  }

  /** The bytes that appear, in order, into `#front`; gives their number. */
  #readUsed(bits: BitReader): number {
    const groups = bits.read(16);
    let used = 0;
    for (let group = 0; group < 16; group++) {
      if ((groups >>> (15 - group)) & 1) {
        const members = bits.read(16);
        for (let member = 0; member < 16; member++) {
          if ((members >>> (15 - member)) & 1) {
            this.#front[used++] = group * 16 + member;
          }
        }
      }
    }
    return used;
  }

  #readSelectors(bits: BitReader, tableCount: number, selectorCount: number): void {
    const order = [0, 1, 2, 3, 4, 5];
    for (let i = 0; i < selectorCount; i++) {
      let position = 0;
      while (bits.read(1) === 1) {
        position += 1;
        if (position >= tableCount) {
          throw malformed('a selector of no table');
        }
      }
      const table = order[position] as number;
      order.copyWithin(1, 0, position);
      order[0] = table;
      if (i < selectorLimit) {
        this.#selectors[i] = table;
      }
    }
  }

  #readTable(bits: BitReader, symbols: number): DecodingTable {
    let length = bits.read(5);
    for (let symbol = 0; symbol < symbols; symbol++) {
      for (;;) {
        if (length < 1 || length > 20) {
          throw malformed('a code length out of range');
        }
        if (bits.read(1) === 0) {
          break;
        }
        length += bits.read(1) === 0 ? 1 : -1;
      }
      this.#lengths[symbol] = length;
    }
    return decodingTable(this.#lengths.subarray(0, symbols));
  }

  /** Huffman, run lengths and move-to-front into `#sorted`; gives how many bytes the block has. */
  #readSymbols(
    bits: BitReader,
    tables: readonly DecodingTable[],
    selectorCount: number,
    end: number,
    capacity: number,
  ): number {
    const { bytes } = bits;
    const front = this.#front;
    let sorted = this.#sorted;
    let { at, window, count } = bits;
    let table = tables[0] as DecodingTable;
    let selector = 0;
    let groupLeft = 0;
    let length = 0;
    let run = 0;
    let runBit = 1;
    for (;;) {
      if (groupLeft === 0) {
        if (selector >= selectorCount) {
          throw malformed('more symbols than its selectors are for');
        }
        table = tables[this.#selectors[selector++] as number] as DecodingTable;
        groupLeft = groupSize;
      }
      groupLeft -= 1;
      // 20 bits are the longest code. Looking ahead never passes a whole stream: its end has 80 bits.
      while (count < 20) {
        if (at >= bytes.length) {
          throw truncated();
        }
        window = (window << 8) | (bytes[at++] as number);
        count += 8;
      }
      let entry = table.quick[(window >>> (count - 10)) & 0x3ff] as number;
      if (entry === 0) {
        entry = table.slow((window >>> (count - 20)) & 0xfffff);
      }
      count -= entry & 31;
      const symbol = entry >>> 5;
      if (symbol < 2) {
        run += runBit << symbol;
        runBit <<= 1;
        if (run > capacity) {
          throw malformed('a block too long');
        }
        continue;
      }
      if (run > 0) {
        if (length + run > capacity) {
          throw malformed('a block too long');
        }
        if (length + run > sorted.length) {
          sorted = this.#grow(length + run, capacity);
        }
        sorted.fill(front[0] as number, length, length + run);
        length += run;
        run = 0;
        runBit = 1;
      }
      if (symbol === end) {
        break;
      }
      const position = symbol - 1;
      const byte = front[position] as number;
      if (position < 32) {
        for (let i = position; i > 0; i--) {
          front[i] = front[i - 1] as number;
        }
      } else {
        front.copyWithin(1, 0, position);
      }
      front[0] = byte;
      if (length >= capacity) {
        throw malformed('a block too long');
      }
      if (length === sorted.length) {
        sorted = this.#grow(length + 1, capacity);
      }
      sorted[length++] = byte;
    }
    bits.at = at;
    bits.count = count;
    bits.window = window;
    return length;
  }

  #grow(need: number, capacity: number): Uint32Array<ArrayBuffer> {
    const larger = new Uint32Array(Math.min(capacity, Math.max(need, this.#sorted.length * 4)));
    larger.set(this.#sorted);
    this.#sorted = larger;
    return larger;
  }

  /** The block in its own order, and the runs of its first coding undone. */
  #unsort(origin: number, length: number, output: Output): void {
    const sorted = this.#sorted;
    const starts = this.#starts.fill(0);
    for (let i = 0; i < length; i++) {
      const byte = sorted[i]! & 0xff;
      starts[byte] = starts[byte]! + 1;
    }
    let sum = 0;
    for (let byte = 0; byte < 256; byte++) {
      const count = starts[byte] as number;
      starts[byte] = sum;
      sum += count;
    }
    for (let i = 0; i < length; i++) {
      const byte = sorted[i]! & 0xff;
      const at = starts[byte] as number;
      starts[byte] = at + 1;
      sorted[at] = (sorted[at]! & 0xff) | (i << 8);
    }
    output.unrun(sorted, sorted[origin]! >>> 8, length);
  }
}

/** Bytes that grow up to a limit. */
class Output {
  readonly #limit: number;
  #bytes = new Uint8Array(0);
  length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  crc(from: number): number {
    return blockCrc(this.#bytes, from, this.length);
  }

  finish(): Uint8Array {
    return this.#bytes.length === this.length ? this.#bytes : this.#bytes.slice(0, this.length);
  }

  /** Refuses a block of so many symbols before the work on it: five of them are four bytes at least. */
  mustHold(symbols: number): void {
    if (Math.floor(symbols / 5) * 4 > this.#limit - this.length) {
      throw this.#tooLarge();
    }
  }

  /** Follows `sorted` from `next`; after four equal bytes stands how many more there are. */
  unrun(sorted: Uint32Array, first: number, length: number): void {
    let next = first;
    let bytes = this.#reserve(this.length + length);
    let at = this.length;
    let last = -1;
    let equal = 0;
    for (let i = 0; i < length; i++) {
      const entry = sorted[next] as number;
      next = entry >>> 8;
      const byte = entry & 0xff;
      if (equal === 4) {
        if (at + byte > bytes.length) {
          bytes = this.#reserve(at + byte);
        }
        if (at + byte > bytes.length) {
          throw this.#tooLarge();
        }
        bytes.fill(last, at, at + byte);
        at += byte;
        equal = 0;
        last = -1;
        continue;
      }
      if (at === bytes.length) {
        bytes = this.#reserve(at + 1);
        if (at === bytes.length) {
          throw this.#tooLarge();
        }
      }
      bytes[at++] = byte;
      equal = byte === last ? equal + 1 : 1;
      last = byte;
    }
    this.length = at;
  }

  /** At least `need` bytes of room, or the limit where that is less. */
  #reserve(need: number): Uint8Array<ArrayBuffer> {
    if (need > this.#bytes.length && this.#bytes.length < this.#limit) {
      const larger = new Uint8Array(Math.min(this.#limit, Math.max(need, this.#bytes.length * 2)));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return this.#bytes;
  }

  #tooLarge(): GatewayError {
    return new GatewayError('mesh/too-large', `bzip2: more than ${this.#limit} bytes`);
  }
}
