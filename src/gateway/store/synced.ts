import { closeSync, fsyncSync, openSync, readdirSync, renameSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** What a folder lists is on disk when it returns. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** What a folder lists is on disk when it resolves: the same for whoever others wait for meanwhile. */
export async function folderSynced(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What a folder and all folders below it list is on disk when it returns. The bytes of files are not its business. */
export function syncFolders(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      syncFolders(join(path, entry.name));
    }
  }
  syncFolder(path);
}

/**
 * Writes a small file, 0600, so that after a power cut it is there whole or as it was before: the bytes are synced under
 * another name, renamed, and the folder is synced.
 */
export function writeDurably(folder: string, name: string, bytes: Uint8Array): void {
  const fresh = join(folder, `${name}.new`);
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, join(folder, name));
  syncFolder(folder);
}
