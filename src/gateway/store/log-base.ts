import { closeSync, openSync, readSync } from 'node:fs';

/*
 * A log begins anew only when all of it is in its database, so the file alone has at least all commits before the first of
 * the log. One that has fewer is an older file under a newer log, which SQLite reads as one: a mixture. Only two pages are
 * looked at, that in which the commits are counted, in the file and where it comes first in the log.
 *
 * Source: SQLite file format, 1.6 (pages of tables), 2.1 (records), 4.1 (the log).
 */

export interface LogBase {
  /** Commits in the file without its log. */
  readonly inFile: number;
  /** Of the first commit of the log, or of the last before it. */
  readonly atBegin: number;
}

const leafOfTable = 13;
const logHeader = 32;
const frameHeader = 24;
/** Frames looked through: the first commit has changed the page. */
const frames = 4096;
const rows = 256;

/** What the count was where the log begins, by the page it is in; undefined where that cannot be said. */
export function baseOfLog(path: string, page: number): LogBase | undefined {
  let file: number | undefined;
  let log: number | undefined;
  try {
    file = openSync(path, 'r');
    log = openSync(`${path}-wal`, 'r');
    const size = sizeOf(bytesAt(file, 16, 2).readUInt16BE());
    const inFile = countIn(bytesAt(file, (page - 1) * size, size));
    const first = firstInLog(log, page, size);
    const atBegin = first && countIn(first);
    return inFile === undefined || atBegin === undefined ? undefined : { inFile, atBegin };
  } catch {
    // A file that ends early, or bytes that are no page: whoever opens it says so.
    return undefined;
  } finally {
    for (const one of [file, log]) {
      if (one !== undefined) {
        closeSync(one);
      }
    }
  }
}

function sizeOf(given: number): number {
  return given === 1 ? 65_536 : given;
}

function firstInLog(log: number, page: number, size: number): Buffer | undefined {
  const salts = bytesAt(log, 16, 8);
  for (let n = 0; n < frames; n++) {
    const at = logHeader + n * (frameHeader + size);
    const header = bytesAt(log, at, 16);
    if (!header.subarray(8).equals(salts)) {
      return undefined;
    }
    if (header.readUInt32BE() === page) {
      return bytesAt(log, at + frameHeader, size);
    }
  }
  return undefined;
}

function bytesAt(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}

/** The count in a page of `commits` (its key, the number) or of `sqlite_sequence` (a name, the number). Throws `RangeError`. */
function countIn(page: Buffer): number | undefined {
  if (page.readUInt8() !== leafOfTable) {
    return undefined;
  }
  const count = Math.min(page.readUInt16BE(3), rows);
  for (let n = 0; n < count; n++) {
    const [key, number] = recordAt(page, page.readUInt16BE(8 + 2 * n));
    if ((key === null || key === 'commits') && typeof number === 'number') {
      return number;
    }
  }
  return undefined;
}

/** The first two columns of a row. Other kinds than numbers and text are `null`. */
function recordAt(page: Buffer, cell: number): readonly (number | string | null)[] {
  let at = cell;
  const varint = () => {
    let value = 0;
    for (let n = 0; n < 8; n++) {
      const byte = page.readUInt8(at);
      at += 1;
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) {
        break;
      }
    }
    return value;
  };
  varint();
  varint();
  const header = at;
  const length = varint();
  const kinds: number[] = [];
  while (at < header + length && kinds.length < 2) {
    kinds.push(varint());
  }
  at = header + length;
  return kinds.map(kind => {
    if (kind === 8 || kind === 9) {
      return kind - 8;
    }
    const bytes = [0, 1, 2, 3, 4, 6, 8][kind] ?? (kind < 12 ? 8 : Math.floor((kind - 12) / 2));
    const start = at;
    at += bytes;
    if (kind > 0 && kind < 6) {
      return page.readIntBE(start, bytes);
    }
    if (kind === 6) {
      return Number(page.readBigInt64BE(start));
    }
    if (kind === 7) {
      // SQLite's own table takes a number as it is given.
      return page.readDoubleBE(start);
    }
    return kind > 12 && kind % 2 === 1 ? page.toString('latin1', start, at) : null;
  });
}
