import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes a small secret file, 0600, so that after a power cut it is there whole or not at all: the bytes are
 * synced under another name, renamed, and the folder is synced.
 */
export function writeDurably(folder: string, name: string, bytes: Uint8Array): void {
  const path = join(folder, name);
  const fresh = `${path}.new`;
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, path);
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
