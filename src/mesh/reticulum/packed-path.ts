import { fromLatin1, toLatin1 } from '../../lib/bytes.ts';
import { decodePath, encodePath } from './path-codec.ts';
import type { PathEntry } from './path-table.ts';

/** When a path was heard, used and is over: of one that nobody uses, `used` is left out. */
export interface PathTimes {
  readonly heard: number;
  readonly expires: number;
  readonly used?: number;
}

/** A path that nobody uses: 100 000 of them are to have room. */
export interface PackedPath extends PathTimes {
  readonly interfaceName: string;
  /** As it is stored, as text. */
  readonly stored: string;
}

/** Of one that is used, or unresponsive, that is lost. */
export function packPath(entry: PathEntry): PackedPath {
  const { interfaceName, heard, expires } = entry;
  return { interfaceName, heard, expires, stored: toLatin1(encodePath(entry)) };
}

/** The same as it is stored, in fresh bytes. */
export function storedPath({ stored }: PackedPath): Uint8Array {
  return fromLatin1(stored);
}

/** A fresh entry, of a path that nobody uses. */
export function unpackPath(key: string, { interfaceName, heard, expires, stored }: PackedPath): PathEntry {
  return { ...decodePath(key, fromLatin1(stored)), interfaceName, heard, expires, used: heard };
}
