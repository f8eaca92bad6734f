/** Remainders of every byte for polynomial 04c11db7, high bit first: bzip2's CRC, the mirror of zlib's. */
const table = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte << 24;
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder < 0 ? (remainder << 1) ^ 0x04c11db7 : remainder << 1;
  }
  table[byte] = remainder;
}

/** The checksum of `bytes` from `start` to `end`, unsigned. */
export function blockCrc(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let i = start; i < end; i++) {
    crc = (crc << 8) ^ (table[(crc >>> 24) ^ (bytes[i] as number)] as number);
  }
  return ~crc >>> 0;
}

/** The checksum of a stream so far, once a block with `crc` follows. */
export function streamCrc(before: number, crc: number): number {
  return (((before << 1) | (before >>> 31)) ^ crc) >>> 0;
}
