import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, rmSync, statSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { GatewayError } from '../../lib/errors.ts';
import type { BlobStore } from '../bridge.ts';
import { storeError } from './database.ts';
import { folderSynced } from './synced.ts';

export interface BlobLimits {
  readonly blobBytes: number;
  readonly blobsTotal: number;
}

/** Bytes a blob counts for at least: what a file takes on disk, however small it is. */
const leastRoom = 4096;
/** Bytes that a blob of this size counts for. */
export const roomOf = (size: number) => Math.max(size, leastRoom);

export interface BlobFiles extends BlobStore {
  /** Bytes of all blobs together, each counted with 4096 at least. */
  readonly total: number;
  /** Nothing is collected until it is disposed of. */
  hold(): Disposable;
  /** Removes blobs older than `before` (ms epoch) that `isNamed` denies; gives how many. */
  collect(before: number, isNamed: (sha256: string) => boolean): Promise<number>;
}

/**
 * Bytes by SHA-256 under two levels of folders. A blob is written beside its place, synced, moved there
 * and its folder synced, before anything names it.
 */
export async function openBlobs(directory: string, limits: BlobLimits): Promise<BlobFiles> {
  const incoming = join(directory, 'incoming');
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  for (const name of await readdir(incoming)) {
    await rm(join(incoming, name), { recursive: true, force: true });
  }
  let total = 0;
  let holds = 0;
  for await (const blob of every(directory)) {
    total += roomOf(blob.size);
  }

  const place = (sha256: string) => {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      throw new GatewayError('request/not-found', 'no such blob');
    }
    return join(directory, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  };
  const about = async (sha256: string) => {
    try {
      const { size, mtimeMs } = await stat(place(sha256));
      return { size, storedAt: mtimeMs };
    } catch (error) {
      if (isMissing(error) || error instanceof GatewayError) {
        return undefined;
      }
      throw storeError(error);
    }
  };

  async function syncFolders(target: string): Promise<void> {
    await folderSynced(join(target, '..'));
    await folderSynced(join(target, '..', '..'));
    await folderSynced(directory);
  }

  /** Makes a blob that is there already young again, so that nobody removes it now; false where it is not there. */
  async function refresh(sha256: string): Promise<boolean> {
    const target = place(sha256);
    const now = new Date();
    try {
      await utimes(target, now, now);
    } catch (error) {
      if (isMissing(error)) {
        return false;
      }
      throw error;
    }
    // Whoever put it there may have died before it synced the folder.
    await syncFolders(target);
    return true;
  }

  return {
    get total() {
      return total;
    },
    async put(bytes, limit = limits.blobBytes) {
      const temporary = join(incoming, randomUUID());
      const most = Math.min(limit, limits.blobBytes);
      let size = 0;
      let reserved = 0;
      const reserve = (room: number) => {
        if (total + room - reserved > limits.blobsTotal) {
          throw new GatewayError('store/full', `all blobs together may hold ${limits.blobsTotal} bytes`, {
            retryable: true,
          });
        }
        total += room - reserved;
        reserved = room;
      };
      try {
        reserve(roomOf(0));
        const hash = createHash('sha256');
        const file = await open(temporary, 'wx', 0o600);
        try {
          for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
            const part = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array);
            if (size + part.length > most) {
              throw new GatewayError('request/too-large', `larger than ${most} bytes`);
            }
            size += part.length;
            reserve(roomOf(size));
            hash.update(part);
            await file.writeFile(part);
          }
          await file.sync();
        } finally {
          await file.close();
        }
        const sha256 = hash.digest('hex');
        if (await refresh(sha256)) {
          return { sha256, size };
        }
        const target = place(sha256);
        await mkdir(join(target, '..'), { recursive: true, mode: 0o700 });
        await rename(temporary, target);
        await syncFolders(target);
        reserved = 0;
        return { sha256, size };
      } catch (error) {
        throw storeError(error);
      } finally {
        total -= reserved;
        await rm(temporary, { force: true });
      }
    },
    size: async sha256 => (await about(sha256))?.size,
    about,
    async read(sha256) {
      try {
        return await readFile(place(sha256));
      } catch (error) {
        throw missing(error);
      }
    },
    async open(sha256, range) {
      const path = place(sha256);
      try {
        await stat(path);
      } catch (error) {
        throw missing(error);
      }
      return createReadStream(path, range) satisfies Readable;
    },
    hold() {
      holds += 1;
      return {
        [Symbol.dispose]() {
          holds -= 1;
        },
      };
    },
    async collect(before, isNamed) {
      let removed = 0;
      if (holds > 0) {
        return removed;
      }
      for await (const blob of every(directory)) {
        if (blob.changed < before && !isNamed(blob.sha256)) {
          const path = place(blob.sha256);
          // Nothing may come between this look and the removal, and so both are made at once.
          const again = statSync(path, { throwIfNoEntry: false });
          if (again !== undefined && again.mtimeMs < before && !isNamed(blob.sha256)) {
            rmSync(path, { force: true });
            total -= roomOf(blob.size);
            removed += 1;
          }
        }
      }
      return removed;
    },
  };
}

async function* every(directory: string): AsyncGenerator<{ sha256: string; size: number; changed: number }> {
  for (const first of await readdir(directory)) {
    if (first.length !== 2) {
      continue;
    }
    for (const second of await readdir(join(directory, first))) {
      for (const sha256 of await readdir(join(directory, first, second))) {
        const { size, mtimeMs } = await stat(join(directory, first, second, sha256));
        yield { sha256, size, changed: mtimeMs };
      }
    }
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function missing(error: unknown): unknown {
  return isMissing(error) ? new GatewayError('request/not-found', 'no such blob') : storeError(error);
}
