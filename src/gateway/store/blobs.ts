import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { GatewayError } from '../../lib/errors.ts';
import type { BlobStore } from '../bridge.ts';
import { storeError } from './database.ts';

export interface BlobLimits {
  readonly blobBytes: number;
  readonly blobsTotal: number;
}

export interface BlobFiles extends BlobStore {
  /** Bytes of all blobs together. */
  readonly total: number;
  /** Removes blobs older than `before` (ms epoch) that `isNamed` denies; gives how many. */
  collect(before: number, isNamed: (sha256: string) => boolean): Promise<number>;
}

/**
 * Bytes by SHA-256 under two levels of folders. A blob is written beside its place, synced, moved there
 * and its folder synced, before anything names it.
 */
export async function openBlobs(directory: string, limits: BlobLimits): Promise<BlobFiles> {
  const incoming = join(directory, 'incoming');
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  let total = 0;
  for await (const blob of every(directory)) {
    total += blob.size;
  }

  const place = (sha256: string) => {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      throw new GatewayError('request/not-found', 'no such blob');
    }
    return join(directory, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  };
  const sizeOf = async (sha256: string) => {
    try {
      return (await stat(place(sha256))).size;
    } catch (error) {
      if (isMissing(error) || error instanceof GatewayError) {
        return undefined;
      }
      throw storeError(error);
    }
  };

  return {
    get total() {
      return total;
    },
    async put(bytes, limit = limits.blobBytes) {
      const temporary = join(incoming, randomUUID());
      const most = Math.min(limit, limits.blobBytes);
      let reserved = 0;
      try {
        const hash = createHash('sha256');
        const file = await open(temporary, 'wx', 0o600);
        try {
          for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
            const part = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array);
            if (reserved + part.length > most) {
              throw new GatewayError('request/too-large', `larger than ${most} bytes`);
            }
            if (total + part.length > limits.blobsTotal) {
              throw new GatewayError('store/full', `all blobs together may hold ${limits.blobsTotal} bytes`, {
                retryable: true,
              });
            }
            total += part.length;
            reserved += part.length;
            hash.update(part);
            await file.writeFile(part);
          }
          await file.sync();
        } finally {
          await file.close();
        }
        const sha256 = hash.digest('hex');
        const size = reserved;
        if ((await sizeOf(sha256)) !== undefined) {
          return { sha256, size };
        }
        const target = place(sha256);
        await mkdir(join(target, '..'), { recursive: true, mode: 0o700 });
        await rename(temporary, target);
        await syncFolder(join(target, '..'));
        await syncFolder(join(target, '..', '..'));
        await syncFolder(directory);
        reserved = 0;
        return { sha256, size };
      } catch (error) {
        throw storeError(error);
      } finally {
        total -= reserved;
        await rm(temporary, { force: true });
      }
    },
    size: sizeOf,
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
    async collect(before, isNamed) {
      let removed = 0;
      for await (const blob of every(directory)) {
        if (blob.changed < before && !isNamed(blob.sha256)) {
          await rm(place(blob.sha256), { force: true });
          total -= blob.size;
          removed += 1;
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

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function missing(error: unknown): unknown {
  return isMissing(error) ? new GatewayError('request/not-found', 'no such blob') : storeError(error);
}
