import { GatewayError } from '../../lib/errors.ts';

/*
 * The little of tar that a backup needs: plain files, in order, so that any tar opens what age has decrypted. Source: POSIX.1-1988
 * ustar: a header of 512 bytes, the bytes, padding to 512; two empty blocks at the end.
 */

const block = 512;
/** Largest file that its header can say: eleven octal digits. */
const largest = 8 ** 11 - 1;
const decoder = new TextDecoder();

/** Bytes that a file of this size takes in the archive. */
export function tarSize(size: number): number {
  return block + Math.ceil(size / block) * block;
}

/** The header of a plain file, 0600. Throws `store/unavailable` for what no header can say. */
export function tarHeader(name: string, size: number, at: number): Uint8Array {
  const header = new Uint8Array(block);
  const put = (text: string, offset: number) => header.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  if (name.length > 100 || size > largest) {
    throw new GatewayError('store/unavailable', `${name} cannot be put into a backup`);
  }
  put(name, 0);
  put(`${octal(0o600, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0`, 100);
  put(`${octal(Math.floor(at / 1000), 11)}\0        0`, 136);
  put('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${octal(sum, 6)}\0 `, 148);
  return header;
}

/** What fills a file up to the next block. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((block - (size % block)) % block);
}

/** The end of an archive. */
export const tarEnd = new Uint8Array(2 * block);

/** A file of an archive; its bytes must be read to their end before the next one is asked for. */
export interface TarEntry {
  readonly name: string;
  readonly size: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Reads the files of an archive in their order. Throws `wire/malformed`, and `wire/truncated` where it ends early. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const chunks = source[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  const more = async (): Promise<void> => {
    const { done, value } = await chunks.next();
    if (done === true) {
      throw new GatewayError('wire/truncated', 'the backup ends early');
    }
    rest = rest.length === 0 ? value : Buffer.concat([rest, value]);
  };
  /** Up to `most` bytes, as they come. */
  const some = async (most: number): Promise<Uint8Array> => {
    while (rest.length === 0) {
      await more();
    }
    const part = rest.subarray(0, most);
    rest = rest.subarray(part.length);
    return part;
  };
  const exactly = async (length: number): Promise<Uint8Array> => {
    while (rest.length < length) {
      await more();
    }
    const part = rest.subarray(0, length);
    rest = rest.subarray(length);
    return part;
  };
  for (;;) {
    const header = new Uint8Array(await exactly(block));
    if (header.every(byte => byte === 0)) {
      // The very last bytes tell that none is missing.
      for (let end = await chunks.next(); end.done !== true; ) {
        end = await chunks.next();
      }
      return;
    }
    const { name, size } = readHeader(header);
    let left = size;
    yield {
      name,
      size,
      bytes: (async function* () {
        while (left > 0) {
          const part = await some(left);
          left -= part.length;
          yield part;
        }
      })(),
    };
    while (left > 0) {
      left -= (await some(left)).length;
    }
    await exactly(tarPadding(size).length);
  }
}

function readHeader(header: Uint8Array): { name: string; size: number } {
  const text = (from: number, length: number) =>
    decoder.decode(header.subarray(from, from + length)).replace(/\0.*$/s, '');
  const number = (from: number, length: number) => {
    const digits = text(from, length).trim();
    return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  };
  const said = number(148, 8);
  const sum = header.reduce((total, byte, place) => total + (place >= 148 && place < 156 ? 0x20 : byte), 0);
  const size = number(124, 12);
  if (said !== sum || Number.isNaN(size) || header[156] !== 0x30) {
    throw new GatewayError('wire/malformed', 'not a backup of a kOS gateway: it holds no archive of files');
  }
  return { name: text(0, 100), size };
}
