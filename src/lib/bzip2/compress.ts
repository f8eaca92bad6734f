import { BitWriter } from './bits.ts';
import { blockCrc, streamCrc } from './crc.ts';
import { writeSymbols } from './entropy.ts';
import { leastRotation, suffixOrder } from './sort.ts';

/**
 * bytes as one bzip2 stream with blocks of 900 kB, which every bzip2 reads; its time is linear in the
 * input, whatever that holds. The format is drawn in decompress.ts.
 */
export function compress(bytes: Uint8Array): Uint8Array {
  const writer = new BitWriter(Math.max(64, bytes.length >> 1));
  writer.write(24, 0x425a68);
  writer.write(8, 0x39);
  const block = new Uint8Array(Math.min(blockLimit, Math.ceil(bytes.length * 1.25)) + 5);
  let crc = 0;
  let at = 0;
  while (at < bytes.length) {
    const { end, length } = runs(bytes, at, block);
    const checksum = blockCrc(bytes, at, end);
    crc = streamCrc(crc, checksum);
    writeBlock(writer, block.subarray(0, length), checksum);
    at = end;
  }
  writer.write(24, 0x177245);
  writer.write(24, 0x385090);
  writer.write32(crc);
  return writer.finish();
}

/** Bytes after run-length coding; a decoder has room for 900000 and some leave the last ones unused. */
const blockLimit = 900_000 - 19;
const longestRun = 255;

/** Fills a block from `start`, four or more equal bytes as four and a count; says where in the input it ended. */
function runs(bytes: Uint8Array, start: number, block: Uint8Array): { end: number; length: number } {
  const { length: total } = bytes;
  let at = start;
  let length = 0;
  while (at < total && length < blockLimit) {
    const byte = bytes[at]!;
    block[length++] = byte;
    at += 1;
    if (at >= total || bytes[at] !== byte) {
      continue;
    }
    const most = Math.min(total, at - 1 + longestRun);
    let end = at + 1;
    while (end < most && bytes[end] === byte) {
      end += 1;
    }
    const run = end - at + 1;
    const plain = Math.min(run, 4) - 1;
    block.fill(byte, length, length + plain);
    length += plain;
    if (run >= 4) {
      block[length++] = run - 4;
    }
    at = end;
  }
  return { end: at, length };
}

function writeBlock(writer: BitWriter, block: Uint8Array, checksum: number): void {
  const { last, origin } = sortRotations(block);
  writer.write(24, 0x314159);
  writer.write(24, 0x265359);
  writer.write32(checksum);
  writer.write(1, 0);
  writer.write(24, origin);
  writeSymbols(writer, last);
}

/**
 * The last column of all rotations in order, and the row of the block itself. Turned so that it begins
 * with its least rotation, a block has its suffixes and its rotations in the same order (where rotations
 * are equal, so are their last bytes, and any order does).
 */
function sortRotations(block: Uint8Array): { last: Uint8Array; origin: number } {
  const n = block.length;
  const least = leastRotation(block);
  const turned = new Uint8Array(n);
  turned.set(block.subarray(least));
  turned.set(block.subarray(0, least), n - least);
  const order = suffixOrder(turned, 256);
  const last = new Uint8Array(n);
  const first = (n - least) % n;
  let origin = 0;
  for (let row = 0; row < n; row++) {
    const start = order[row]!;
    last[row] = turned[start === 0 ? n - 1 : start - 1]!;
    if (start === first) {
      origin = row;
    }
  }
  return { last, origin };
}
