import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { type Log, silentLog } from '../../lib/log.ts';
import { type Random, systemRandom } from '../../lib/random.ts';
import type { MeshStorage } from '../../mesh/storage.ts';
import { defaultLimits } from '../limits.ts';
import { auditReads } from './audit-table.ts';
import { keepBallast, makeRoomToStart } from './ballast.ts';
import { blobReads } from './blob-table.ts';
import { type BlobFiles, type BlobLimits, openBlobs } from './blobs.ts';
import { clientReads } from './client-table.ts';
import { type Committer, startCommitter } from './committer.ts';
import { isDamage, openReadable, readError } from './database.ts';
import { deliveryReads } from './delivery-table.ts';
import { eventReads } from './event-table.ts';
import { inboxReads } from './inbox-table.ts';
import { lockDirectory } from './lock.ts';
import { createMeshStorage } from './mesh.ts';
import { messageReads } from './message-table.ts';
import { noteReads } from './note-table.ts';
import { type OutboxReads, outboxReads } from './outbox-table.ts';
import { peerReads } from './peer-table.ts';
import { residentReads } from './resident-table.ts';
import { type FoundRestore, finishRestore } from './restored.ts';
import { freeBytes } from './room.ts';
import { roomReads } from './room-table.ts';
import { timeReads } from './time-table.ts';
import { openUploads, type Uploads } from './uploads.ts';
import { webhookReads } from './webhook-table.ts';

export interface StoreOptions {
  /** The data directory; made where it is not there, 0700. */
  readonly dir: string;
  /** Bytes each database may grow to. */
  readonly databaseLimit?: number;
  readonly blobs?: Partial<BlobLimits>;
  /** For the way back of a writer that died; the machine's own without it. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
  /** Told of each writer thread: a test ends one. */
  readonly onWriter?: (worker: Worker) => void;
}

/** Everything the gateway keeps: writes go through `committer`, reads see what is committed. */
export interface Store extends AsyncDisposable {
  /** How many times this directory has been opened, this one included. */
  readonly boot: number;
  /** Four hex digits made with the database: cursors carry them. */
  readonly epoch: string;
  readonly committer: Committer;
  readonly read: Reads;
  readonly mesh: MeshStorage;
  /** What the replicas' writes wait in; written by the `outbox.` verbs. */
  readonly outbox: OutboxReads;
  readonly blobs: BlobFiles;
  readonly uploads: Uploads;
  /** Bytes free on the disk of the data directory; undefined where the system does not say. */
  freeBytes(): Promise<number | undefined>;
  /** Takes back the room that the next start on a full disk needs, where there is any. */
  keepBallast(): Promise<void>;
  /** Databases that were damaged and lie aside, or have lost something, until somebody takes the file away that says so. */
  asides(): readonly Aside[];
  /** Called when a read or a write meets a database that is damaged, with the name of its file and what SQLite says. */
  onDamage(listener: (file: string, reason: string) => void): () => void;
}

/** What is wrong with a database since a start. */
export interface Aside {
  /** Name of the database. */
  readonly database: string;
  /** Name of the file that lies beside it. */
  readonly file: string;
  /** For people. */
  readonly reason: string;
}

export type Reads = ReturnType<typeof openReads>;

/** 2 GiB: weeks of a busy hub's messages, and little enough for a 16 GB card. */
const databaseLimit = 2 * 1024 * 1024 * 1024;

/**
 * Opens the data directory, alone. Throws `store/unavailable` where another process has it (its pid is in
 * the message), where a newer version wrote it, or where it cannot be written.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { dir } = options;
  await using stack = new AsyncDisposableStack();
  makeFolder(dir);
  stack.use(lockDirectory(dir));
  const log = options.log ?? silentLog;
  tellOfRestore(finishRestore(dir), log);
  if (!(await makeRoomToStart(dir))) {
    log.warn(
      { folder: dir },
      'the disk of the data folder is full, and there is nothing left to make room with',
    );
  }
  const gatewayPath = join(dir, 'gateway.db');
  const meshPath = join(dir, 'mesh.db');
  const outboxPath = join(dir, 'replica-outbox.db');
  const limit = options.databaseLimit ?? databaseLimit;
  const { clock = systemClock, random = systemRandom, onWriter } = options;
  const committer = await startCommitter({
    gatewayPath,
    meshPath,
    outboxPath,
    gatewayLimit: limit,
    meshLimit: limit,
    outboxLimit: limit,
    clock,
    random,
    log,
    ...(onWriter === undefined ? {} : { onWriter }),
  });
  stack.defer(() => committer.close());
  const database = openReadable(gatewayPath);
  stack.defer(() => database.close());
  const outbox = openReadable(outboxPath);
  stack.defer(() => outbox.close());
  const blobs = await openBlobs(join(dir, 'blobs'), { ...defaultLimits, ...options.blobs });
  const uploads = await openUploads({ directory: join(dir, 'blobs', 'uploads'), blobs, clock, random });
  const { boot, epoch, lost } = committer.ready;
  for (const { file, commits, note } of lost) {
    log.error(
      { file, commits, note },
      'commits that were acknowledged are missing: the database is of an earlier state',
    );
  }
  const listeners = new Set<(file: string, reason: string) => void>();
  const onDamage = (path: string, reason: string) => {
    for (const listener of [...listeners]) {
      listener(basename(path), reason);
    }
  };
  committer.onDamage(onDamage);
  const resources = stack.move();
  return {
    boot,
    epoch,
    committer,
    read: openReads(database, reason => onDamage(gatewayPath, reason)),
    mesh: createMeshStorage(meshPath, committer),
    outbox: guarded(outboxReads(outbox), reason => onDamage(outboxPath, reason)),
    blobs,
    uploads,
    freeBytes: () => freeBytes(dir),
    keepBallast: () => keepBallast(dir),
    asides: () => asidesIn(dir),
    onDamage(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function tellOfRestore(restore: FoundRestore, log: Log): void {
  if (restore.found === 'finished') {
    log.warn(
      { folder: restore.aside },
      'a restore that had been stopped was finished: this is the hub of the backup, and what was here before lies in that folder',
    );
  } else if (restore.found === 'dropped') {
    log.warn({}, 'a restore that had been stopped before it was decided was taken away: nothing was changed');
  }
}

function asideReason(file: string): string {
  return `it was damaged and lies aside as ${file}: what it holds is not used. Put a backup back (kosctl restore), or take that file away`;
}

/** What the note of a loss says, and what to do. */
function lossOf(note: string): string {
  const text = readFileSync(note, 'utf8').slice(0, 500).trim();
  return `${text}. Put what is missing or a backup back (kosctl restore), or take ${basename(note)} away`;
}

function asidesIn(dir: string): readonly Aside[] {
  try {
    return readdirSync(dir).flatMap(file => {
      const [, database, what] = /^(.+)\.(damaged|lost)-\d+$/.exec(file) ?? [];
      return database === undefined
        ? []
        : { database, file, reason: what === 'lost' ? lossOf(join(dir, file)) : asideReason(file) };
    });
  } catch {
    return [];
  }
}

function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    chmodSync(dir, 0o700);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new GatewayError('store/unavailable', `${dir} cannot be used as the data folder: ${why}`, {
      cause,
    });
  }
}

/** What is committed, as it is asked for. */
export function openReads(database: ReturnType<typeof openReadable>, onDamage: (reason: string) => void) {
  const reads = {
    ...messageReads(database),
    ...deliveryReads(database),
    ...inboxReads(database),
    ...eventReads(database),
    ...clientReads(database),
    ...peerReads(database),
    ...residentReads(database),
    ...roomReads(database),
    ...noteReads(database),
    ...timeReads(database),
    ...blobReads(database),
    ...auditReads(database),
    ...webhookReads(database),
  };
  return guarded(reads, onDamage);
}

/** Reads whose failure says that the store is at fault for now, and not the one who asked. */
function guarded<R extends object>(reads: R, onDamage: (reason: string) => void): R {
  const safe = Object.entries(reads).map(([name, read]: [string, (...args: unknown[]) => unknown]) => [
    name,
    (...args: unknown[]) => {
      try {
        return read(...args);
      } catch (error) {
        if (isDamage(error)) {
          onDamage((error as Error).message);
        }
        throw readError(error);
      }
    },
  ]);
  return Object.fromEntries(safe) as R;
}
