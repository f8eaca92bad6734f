import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import { storeError } from '../../gateway/store/database.ts';
import { lockDirectory } from '../../gateway/store/lock.ts';
import { decideRestore, finishRestore, restoreFolder } from '../../gateway/store/restored.ts';
import { syncFolder, syncFolders } from '../../gateway/store/synced.ts';
import { GatewayError } from '../../lib/errors.ts';
import {
  type BackupHead,
  type BackupManifest,
  backupFormat,
  belongs,
  blobName,
  headName,
  headSchema,
  isBackupName,
  manifestName,
  manifestSchema,
} from './manifest.ts';
import { inspect, type Marked, mark } from './mark.ts';
import { readTar, type TarEntry } from './tar.ts';
import { type BackupSource, unseal } from './unseal.ts';

export interface RestoreOptions extends BackupSource {
  readonly dir: string;
  /** Move what is in the folder aside. */
  readonly force: boolean;
  readonly resend: boolean;
  /** ms epoch. */
  readonly now: number;
  /** Told of each step before it is made: a test stops there. */
  readonly onStep?: (step: string) => void;
}

export interface Restored extends Marked {
  readonly head: BackupHead;
  readonly files: number;
  readonly blobs: number;
  /** Where the old files are now, below the folder. */
  readonly aside: string | undefined;
}

/** Bytes of head and manifest that are read. */
const largestText = 16 * 1024 * 1024;

/**
 * Makes a data folder out of a backup. Everything is read, decrypted and looked through before the first old file moves; where
 * that fails, nothing is changed. Throws what `unseal` throws, `wire/*`, `request/conflict` for a folder that is not empty,
 * `store/unavailable` for one that a running gateway has, or for a database that is not whole, `store/full`.
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { dir, now, onStep = () => {} } = options;
  const made = mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (made !== undefined) {
    syncFolder(dirname(made));
  }
  using _lock = lockDirectory(dir);
  finishRestore(dir);
  const old = readdirSync(dir).filter(name => belongs(name) || name === 'blobs');
  if (old.length > 0 && !options.force) {
    throw new GatewayError(
      'request/conflict',
      `${dir} is not empty. With --force what is there is moved into a folder before-restore-… inside it`,
    );
  }
  const staging = join(dir, restoreFolder);
  const files = join(staging, 'files');
  mkdirSync(files, { recursive: true, mode: 0o700 });
  let isDecided = false;
  try {
    const { head, names, blobs } = await unpack(options, files, onStep);
    for (const name of names.filter(one => one.endsWith('.db'))) {
      inspect(files, name);
    }
    onStep('mark');
    const marked = mark({ dir: files, at: head.at, now, resend: options.resend });
    onStep('sync');
    for (const name of names) {
      await syncFile(join(files, name));
    }
    syncFolders(files);
    const aside = `before-restore-${now}`;
    onStep('decide');
    decideRestore(dir, aside);
    isDecided = true;
    onStep('decided');
    finishRestore(dir, onStep);
    return { ...marked, head, files: names.length, blobs, aside: old.length > 0 ? aside : undefined };
  } catch (error) {
    // Once it is decided it is gone on with; before that nothing of it stays.
    if (!isDecided) {
      rmSync(staging, { recursive: true, force: true });
    }
    throw error;
  }
}

/** Reads a backup to its end without keeping anything. Throws as `restoreBackup` does. */
export async function checkBackup(source: BackupSource): Promise<Unpacked> {
  return await unpack(source, undefined);
}

interface Unpacked {
  readonly head: BackupHead;
  /** Of the files that are no blobs. */
  readonly names: readonly string[];
  readonly blobs: number;
}

async function unpack(
  source: BackupSource,
  target: string | undefined,
  onStep: (step: string) => void = () => {},
): Promise<Unpacked> {
  const there = new Map<string, { size: number; sha256: string }>();
  const blobs = { count: 0, bytes: 0 };
  let head: BackupHead | undefined;
  let manifest: BackupManifest | undefined;
  for await (const entry of readTar(unseal(source))) {
    if (head === undefined) {
      head = await readHead(entry);
    } else if (entry.name === manifestName) {
      manifest = await jsonOf(entry, manifestSchema);
    } else if (!isBackupName(entry.name) || there.has(entry.name) || manifest !== undefined) {
      throw new GatewayError('wire/malformed', `the backup holds what does not belong there: ${entry.name}`);
    } else {
      onStep(`read ${entry.name}`);
      const sha256 = await keep(entry, target);
      const [, blob] = blobName.exec(entry.name) ?? [];
      if (blob === undefined) {
        there.set(entry.name, { size: entry.size, sha256 });
      } else if (blob === sha256) {
        blobs.count += 1;
        blobs.bytes += entry.size;
      } else {
        throw new GatewayError('wire/malformed', `a blob in the backup is not what its name says: ${blob}`);
      }
    }
  }
  if (head === undefined || manifest === undefined) {
    throw new GatewayError('wire/truncated', 'the backup ends early');
  }
  for (const { name, size, sha256 } of manifest.files) {
    const found = there.get(name);
    if (found?.size !== size || found.sha256 !== sha256) {
      throw new GatewayError('wire/malformed', `${name} in the backup is not what its manifest says`);
    }
  }
  const needed = ['identity', 'gateway.db', 'mesh.db'].filter(name => !there.has(name));
  if (needed.length > 0 || there.size !== manifest.files.length || blobs.count !== manifest.blobs.count) {
    throw new GatewayError(
      'wire/malformed',
      `the backup is not whole: ${needed.join(', ') || 'its manifest says otherwise'}`,
    );
  }
  return { head, names: [...there.keys()], blobs: blobs.count };
}

async function readHead(entry: TarEntry): Promise<BackupHead> {
  if (entry.name !== headName) {
    throw new GatewayError('wire/malformed', 'not a backup of a kOS gateway');
  }
  const head = await jsonOf(entry, headSchema);
  if (head.format > backupFormat) {
    throw new GatewayError(
      'wire/unsupported',
      `the backup was made by a newer version of this program (${head.version})`,
    );
  }
  return head;
}

/** What a small file of the backup says. Throws `wire/malformed` for anything else. */
async function jsonOf<T>({ name, size, bytes }: TarEntry, schema: z.ZodType<T>): Promise<T> {
  if (size > largestText) {
    throw new GatewayError('wire/malformed', `${name} in the backup is too large`);
  }
  const text = Buffer.concat(await Array.fromAsync(bytes)).toString('utf8');
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new GatewayError('wire/malformed', `${name} in the backup is not what it should be`, { cause });
  }
}

/** Its SHA-256; written below `target` where there is one. */
async function keep(entry: TarEntry, target: string | undefined): Promise<string> {
  const hash = createHash('sha256');
  const path = target && join(target, entry.name);
  if (path !== undefined) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  }
  const file = path === undefined ? undefined : await open(path, 'wx', 0o600);
  try {
    for await (const part of entry.bytes) {
      hash.update(part);
      await file?.writeFile(part);
    }
    await file?.sync();
  } catch (error) {
    throw storeError(error);
  } finally {
    await file?.close();
  }
  return hash.digest('hex');
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  await file.sync();
  await file.close();
}
