import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why there is none, with what to type. */
export const noSmallDisk =
  'needs root, to mount a small file system of its own: sudo env "PATH=$PATH" npm test';

/** A little file system of its own, where this machine lets us have one. */
export async function smallDisk(): Promise<({ dir: string } & AsyncDisposable) | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dir]).status === 0;
  const close = async () => {
    if (mounted) {
      spawnSync('umount', ['-l', dir]);
    }
    await rm(dir, { recursive: true, force: true });
  };
  if (!mounted) {
    await close();
    return undefined;
  }
  return { dir, [Symbol.asyncDispose]: close };
}

/** Fills the file system that holds the folder but for `left` bytes; returns the way to make room again. */
export async function fillDisk(dir: string, left: number): Promise<() => Promise<void>> {
  const ballast = join(dir, 'ballast');
  await writeFile(ballast, new Uint8Array(16 * 1024 * 1024)).catch(() => undefined);
  await truncate(ballast, (await stat(ballast)).size - left);
  return () => rm(ballast);
}
