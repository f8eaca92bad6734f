import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';

/** Bytes below which a disk counts as full at a start: the databases' shared memory and logs take some of them each. */
export const neededToStart = 1024 * 1024;

/** Bytes that this process may still write beside the path, or under it; undefined where the system does not say. */
export async function freeBytes(path: string): Promise<number | undefined> {
  for (const place of [path, dirname(path)]) {
    try {
      const { bavail, bsize } = await statfs(place);
      return bavail * bsize;
    } catch {
      // The folder may not be there yet: what it is made in tells as well.
    }
  }
  return undefined;
}

/** Free room for people: `40 KiB`, `3.2 MiB`. */
export function sizeText(bytes: number): string {
  return bytes < 1024 * 1024 ? `${Math.floor(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/**
 * Why a start failed: where the disk of the data folder is full it is that, whatever SQLite or the file system made of
 * it (an I/O error, a lock that cannot be taken). Gives the error itself otherwise.
 */
export async function startError(dir: string, error: unknown): Promise<unknown> {
  const { code } = error as { code?: string };
  if (saysReadOnly(error) || (await isReadOnly(dir))) {
    return new GatewayError(
      'store/unavailable',
      `the disk of ${dir} is read-only: nothing can be stored there. A card or disk that fails is often made so by the system (see dmesg): copy the folder away first, then check the disk, mount it for writing and start again. Nothing was changed`,
      { retryable: true, cause: error },
    );
  }
  const mayBeThat =
    isGatewayError(error, 'store/unavailable', 'store/full') || code === 'ENOSPC' || code === 'EDQUOT';
  const free = mayBeThat || code === 'ERR_SQLITE_ERROR' ? await freeBytes(dir) : undefined;
  if (free === undefined || free >= neededToStart) {
    return error;
  }
  return new GatewayError(
    'store/full',
    `the disk of ${dir} is full (${sizeText(free)} free): the gateway needs ${sizeText(neededToStart)} to start. Nothing is lost; make room and start it again`,
    { retryable: true, cause: error },
  );
}

function saysReadOnly(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: unknown };
  return code === 'EROFS' || (cause !== undefined && saysReadOnly(cause));
}

/** Whether the file system of the folder is mounted read-only. */
async function isReadOnly(dir: string): Promise<boolean> {
  try {
    await access(dir, constants.W_OK);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'EROFS';
  }
}
