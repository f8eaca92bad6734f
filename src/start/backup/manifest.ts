import { z } from 'zod';

/** Files that open and close a backup. */
export const headName = 'kos-backup.json';
export const manifestName = 'manifest.json';

/** The only format so far. */
export const backupFormat = 1;

/** The first file: what follows, so that whoever cannot take it says so at once. */
export const headSchema = z.object({
  format: z.int().min(1),
  /** Of the program that made it. */
  version: z.string().max(100),
  /** Identity hash of the hub, hex. */
  hub: z.string().regex(/^[0-9a-f]{32}$/),
  name: z.string().max(1024),
  /** ms epoch of the state it holds. */
  at: z.int().min(0),
  blobs: z.boolean(),
});
export type BackupHead = z.output<typeof headSchema>;

/** The last file: what must have been there. */
export const manifestSchema = z.object({
  files: z
    .array(
      z.object({
        name: z.string().max(100),
        size: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .max(10_000),
  /** Blobs are named by their SHA-256. */
  blobs: z.object({ count: z.int().min(0), bytes: z.int().min(0) }),
});
export type BackupManifest = z.output<typeof manifestSchema>;

/** Files in the data folder that are no part of the hub's state, or are made again. */
const leftOut =
  /^(?:lock\.db|ballast|logins\.json|kosctl\.sock|compile-cache|blobs|restore|backup\.tmp|before-restore-.*|replica-cache.*|.*\.(?:new|sock)|.*-(?:wal|shm|journal|mark)|.*\.(?:damaged|lost)-.*)$/;

/** Whether a file of the data folder belongs into a backup. */
export function belongs(name: string): boolean {
  return /^[\w.-]{1,90}$/.test(name) && !leftOut.test(name);
}

/** A name that may be in a backup: a file of the data folder, or a blob in its place. */
export function isBackupName(name: string): boolean {
  return belongs(name) || blobName.test(name);
}

/** `blobs/ab/cd/<sha256>`, with the hash as the first group. */
export const blobName = /^blobs\/[0-9a-f]{2}\/[0-9a-f]{2}\/([0-9a-f]{64})$/;

/**
 * The databases in the order in which their states are taken. What moves from one to the other is in both then, which is
 * known as a repeat, and never in neither: an event of a homeserver goes from matrix.db to gateway.db. Keys of ratchets are the newest of all.
 */
export function databasesFirst(names: readonly string[]): readonly string[] {
  const rank = (name: string) => ['matrix.db', 'gateway.db', 'mesh.db'].indexOf(name);
  const place = (name: string) => (rank(name) === -1 ? 0.5 : rank(name));
  return names.filter(name => name.endsWith('.db')).toSorted((a, b) => place(a) - place(b));
}
