import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../../lib/errors.ts';
import { folderSynced } from './synced.ts';

export const checksumAlgorithms = ['sha256', 'sha1', 'md5'] as const;

/** What a piece must hash to. */
export interface Checksum {
  readonly algorithm: (typeof checksumAlgorithms)[number];
  readonly digest: Uint8Array;
}

/** What is written down of an upload. */
export interface UploadEntry {
  readonly client: string;
  readonly length: number;
  readonly metadata?: string;
  /** ms epoch. */
  readonly expiresAt: number;
  /** It is a part of another, and becomes no blob by itself. */
  readonly partial?: true;
  /** The ids of those that it was joined from, in order. */
  readonly parts?: readonly string[];
  /** The blob it has become. */
  readonly sha256?: string;
}

export interface UploadState {
  entry: UploadEntry;
  /** Bytes that are on disk. */
  offset: number;
}

export interface Piece {
  /** Bytes the upload has at most. */
  readonly length: number;
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly stopped: AbortSignal;
  readonly checksum: Checksum | undefined;
  /** So much is on disk and will be after a kill. */
  readonly counted: (offset: number) => void;
}

/** The files of uploads that are not whole yet. Errors are those of the file system, but for what a piece does wrong. */
export interface UploadFiles {
  /** What was there when the folder was opened. */
  readonly found: ReadonlyMap<string, UploadState>;
  keep(id: string, entry: UploadEntry): Promise<void>;
  /**
   * Writes a piece at an offset; false where it is not what its checksum says, and then nothing of it counts. What came of
   * one that breaks counts, unless it has a checksum. `request/too-large`, `request/conflict` when it was stopped.
   */
  write(id: string, from: number, piece: Piece): Promise<boolean>;
  /** The first bytes. */
  read(id: string, length: number): AsyncIterable<Uint8Array>;
  /** Removes the bytes, or all of it. */
  drop(id: string, what: 'bytes' | 'all'): Promise<void>;
}

/**
 * One file of bytes (`<id>.part`), one that says how many of them are synced (`<id>.at`, 16 digits, written after the sync),
 * and one that says whose it is (`<id>.json`), which is there first and goes last. What is beyond the count after a kill is
 * cut off. `step`: bytes that are lost at most when the process dies.
 */
export async function openUploadFiles(directory: string, step: number): Promise<UploadFiles> {
  const file = (id: string, kind: 'json' | 'part' | 'at') => join(directory, `${id}.${kind}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const names = await readdir(directory);
  const found = new Map<string, UploadState>();
  for (const name of names) {
    const id = /^([0-9a-f]{32})\.json$/.exec(name)?.[1];
    const entry =
      id === undefined ? undefined : entryOf(await readFile(file(id, 'json'), 'utf8').catch(() => ''));
    if (id !== undefined && entry !== undefined) {
      const at = Number(await readFile(file(id, 'at'), 'utf8').catch(() => '0'));
      const size = (await stat(file(id, 'part')).catch(() => undefined))?.size ?? 0;
      const offset =
        entry.sha256 === undefined ? Math.min(Number.isSafeInteger(at) ? at : 0, size) : entry.length;
      found.set(id, { entry, offset });
    }
  }
  // Joined, and killed before they were removed.
  for (const { entry } of [...found.values()]) {
    for (const part of entry.parts ?? []) {
      found.delete(part);
    }
  }
  // What a kill left of one that was being made or removed.
  for (const name of names) {
    if (!found.has(name.split('.', 1)[0] ?? '') || name.endsWith('.new')) {
      await rm(join(directory, name), { force: true });
    }
  }

  return {
    found,
    async keep(id, entry) {
      const temporary = `${file(id, 'json')}.new`;
      const handle = await open(temporary, 'w', 0o600);
      try {
        await handle.writeFile(JSON.stringify(entry));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file(id, 'json'));
      await folderSynced(directory);
    },
    async write(id, from, { length, bytes, stopped, checksum, counted }) {
      const hash = checksum === undefined ? undefined : createHash(checksum.algorithm);
      // Closed whatever fails: one that is left to the garbage collector ends the process.
      await using part = await open(file(id, 'part'), 'r+').catch(() => open(file(id, 'part'), 'wx+', 0o600));
      await using at = await open(file(id, 'at'), 'r+').catch(() => open(file(id, 'at'), 'wx+', 0o600));
      let [end, synced] = [from, from];
      let isGood = true;
      const count = async () => {
        await part.sync();
        await mark(at, end);
        synced = end;
        counted(end);
      };
      try {
        await part.truncate(from);
        for await (const chunk of bytes) {
          if (stopped.aborted) {
            throw new GatewayError('request/conflict', 'another piece of this upload has come');
          }
          if (end + chunk.length > length) {
            throw new GatewayError('request/too-large', `the upload has ${length} bytes`);
          }
          hash?.update(chunk);
          await writeAll(part, chunk, end);
          end += chunk.length;
          if (hash === undefined && end - synced >= step) {
            await count();
          }
        }
        isGood = checksum === undefined || hash?.digest().equals(checksum.digest) === true;
      } catch (error) {
        isGood = checksum === undefined;
        throw error;
      } finally {
        if (isGood) {
          await count();
        }
      }
      return isGood;
    },
    async *read(id, length) {
      if (length > 0) {
        yield* createReadStream(file(id, 'part'), { end: length - 1 });
      }
    },
    async drop(id, what) {
      for (const kind of what === 'all' ? (['part', 'at', 'json'] as const) : (['part', 'at'] as const)) {
        await rm(file(id, kind), { force: true });
      }
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}

async function mark(file: FileHandle, offset: number): Promise<void> {
  await file.write(Buffer.from(String(offset).padStart(16, '0')), 0, 16, 0);
  await file.sync();
}

function entryOf(text: string): UploadEntry | undefined {
  try {
    const entry = JSON.parse(text) as UploadEntry;
    return typeof entry.client === 'string' && Number.isSafeInteger(entry.length) && entry.expiresAt > 0
      ? entry
      : undefined;
  } catch {
    return undefined;
  }
}
