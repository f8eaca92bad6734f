import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { BlobStore } from '../bridge.ts';
import { defaultLimits } from '../limits.ts';
import { storeError } from './database.ts';

/** Bounds of what is half there; bytes and ms. */
export const uploadLimits = {
  blobBytes: defaultLimits.blobBytes,
  /** Unfinished ones of a client, and the bytes that all of everybody may come to have. */
  perClient: 8,
  total: 256 * 1024 * 1024,
  /** Of these, what one client may have: nobody's unfinished uploads keep out those of all others. */
  clientTotal: 128 * 1024 * 1024,
  /** Whole ones of a client that still say which blob they became: the oldest are forgotten first, their blobs are not. */
  wholePerClient: 64,
  /** Since the last byte came. */
  lifetime: 24 * 60 * 60 * 1000,
  /** What is lost at most when the process dies: so much is written before it is synced and counted. */
  step: 1024 * 1024,
};
export type UploadLimits = Readonly<typeof uploadLimits>;

export const checksumAlgorithms = ['sha256', 'sha1', 'md5'] as const;

/** What a piece must hash to. */
export interface Checksum {
  readonly algorithm: (typeof checksumAlgorithms)[number];
  readonly digest: Uint8Array;
}

/** Bytes that come in pieces, until they are a blob. */
export interface Upload {
  readonly id: string;
  readonly length: number;
  /** Bytes that are on disk. */
  readonly offset: number;
  /** ms epoch after which it is forgotten. */
  readonly expiresAt: number;
  /** As its client gave it. */
  readonly metadata?: string;
  /** Once it is a blob. */
  readonly sha256?: string;
}

/** Uploads that can be gone on with after any break, also of the hub itself. All of one client's own: for others they are not there. */
export interface Uploads {
  /** Throws `request/too-large`, `request/rate-limited` (too many or too much of this client), `store/full`. */
  create(client: string, length: number, metadata?: string): Promise<Upload>;
  /** Ends a piece that is still coming: its connection is dead, or its client would not ask. `request/not-found`. */
  find(client: string, id: string): Promise<Upload>;
  /**
   * Adds a piece at `offset`, which must be where the upload stands; what came of a piece that breaks stays, unless it has a
   * checksum. A piece that is still coming is ended. The last one makes the blob. Throws `request/not-found`, `request/conflict`,
   * `request/too-large`; `ChecksumMismatch` is told by `undefined`.
   */
  append(
    client: string,
    id: string,
    offset: number,
    bytes: AsyncIterable<Uint8Array>,
    checksum?: Checksum,
  ): Promise<Upload | undefined>;
  remove(client: string, id: string): Promise<void>;
  /** Forgets what is too old; gives how many. */
  expire(): Promise<number>;
}

interface Entry {
  readonly client: string;
  readonly length: number;
  readonly metadata?: string;
  readonly expiresAt: number;
  readonly sha256?: string;
}

interface Live {
  entry: Entry;
  offset: number;
  /** Ends the piece that is coming, and resolves when what it wrote is counted. */
  running?: { readonly stop: () => void; readonly ended: Promise<void> };
}

export interface UploadParts {
  readonly directory: string;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: Partial<UploadLimits>;
}

/**
 * One file of bytes (`<id>.part`), one that says how many of them are synced (`<id>.at`, 16 digits, written after the sync),
 * and one that says whose it is (`<id>.json`), which is there first and goes last. What is beyond the count after a kill is
 * cut off.
 */
export async function openUploads({
  directory,
  blobs,
  clock,
  random,
  ...parts
}: UploadParts): Promise<Uploads> {
  const limits: UploadLimits = { ...uploadLimits, ...parts.limits };
  const uploads = new Map<string, Live>();
  const file = (id: string, kind: 'json' | 'part' | 'at') => join(directory, `${id}.${kind}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const names = await readdir(directory);
  for (const name of names) {
    const id = /^([0-9a-f]{32})\.json$/.exec(name)?.[1];
    const entry =
      id === undefined ? undefined : entryOf(await readFile(file(id, 'json'), 'utf8').catch(() => ''));
    if (id !== undefined && entry !== undefined) {
      const at = Number(await readFile(file(id, 'at'), 'utf8').catch(() => '0'));
      const size = (await stat(file(id, 'part')).catch(() => undefined))?.size ?? 0;
      const offset =
        entry.sha256 === undefined ? Math.min(Number.isSafeInteger(at) ? at : 0, size) : entry.length;
      uploads.set(id, { entry, offset });
    }
  }
  // What a kill left of one that was being made or removed.
  for (const name of names) {
    if (!uploads.has(name.split('.', 1)[0] ?? '') || name.endsWith('.new')) {
      await rm(join(directory, name), { force: true });
    }
  }

  const shown = (id: string, { entry, offset }: Live): Upload => ({
    id,
    length: entry.length,
    offset,
    expiresAt: entry.expiresAt,
    ...(entry.metadata !== undefined && { metadata: entry.metadata }),
    ...(entry.sha256 !== undefined && { sha256: entry.sha256 }),
  });

  async function keep(id: string, entry: Entry): Promise<void> {
    const temporary = `${file(id, 'json')}.new`;
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(entry));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file(id, 'json'));
    const folder = await open(directory, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  async function forget(id: string): Promise<void> {
    uploads.delete(id);
    for (const kind of ['part', 'at', 'json'] as const) {
      await rm(file(id, kind), { force: true });
    }
  }

  async function expire(): Promise<number> {
    let gone = 0;
    for (const [id, live] of uploads) {
      if (live.entry.expiresAt <= clock.now() && live.running === undefined) {
        await forget(id);
        gone += 1;
      }
    }
    return gone;
  }

  /** The upload, with nobody writing to it. */
  async function own(client: string, id: string): Promise<Live> {
    for (;;) {
      const live = uploads.get(id);
      if (live === undefined || live.entry.client !== client || live.entry.expiresAt <= clock.now()) {
        throw new GatewayError('request/not-found', 'no such upload');
      }
      if (live.running === undefined) {
        return live;
      }
      live.running.stop();
      await live.running.ended;
    }
  }

  /** Keeps the uploads of a client that are whole few. */
  async function tidy(client: string): Promise<void> {
    const whole = [...uploads].filter(
      ([, { entry, running }]) =>
        entry.client === client && entry.sha256 !== undefined && running === undefined,
    );
    whole.sort(([, a], [, b]) => a.entry.expiresAt - b.entry.expiresAt);
    for (const [id] of whole.slice(0, Math.max(0, whole.length - limits.wholePerClient))) {
      await forget(id);
    }
  }

  /** Makes the blob of an upload that is whole; what was killed between that and telling so does it again. */
  async function finish(id: string, live: Live): Promise<void> {
    if (live.offset === live.entry.length && live.entry.sha256 === undefined) {
      const bytes =
        live.entry.length === 0
          ? new Uint8Array(0)
          : createReadStream(file(id, 'part'), { end: live.offset - 1 });
      const { sha256 } = await blobs.put(bytes, limits.blobBytes);
      live.entry = { ...live.entry, sha256 };
      await keep(id, live.entry);
      await rm(file(id, 'part'), { force: true });
      await rm(file(id, 'at'), { force: true });
    }
  }

  /** Writes a piece, counting what is synced as it goes. */
  async function write(
    id: string,
    live: Live,
    bytes: AsyncIterable<Uint8Array>,
    stopped: AbortSignal,
    checksum: Checksum | undefined,
  ): Promise<boolean> {
    const from = live.offset;
    const hash = checksum === undefined ? undefined : createHash(checksum.algorithm);
    // Closed whatever fails: one that is left to the garbage collector ends the process.
    await using part = await open(file(id, 'part'), 'r+').catch(() => open(file(id, 'part'), 'wx+', 0o600));
    await using at = await open(file(id, 'at'), 'r+').catch(() => open(file(id, 'at'), 'wx+', 0o600));
    let end = from;
    let isGood = true;
    const count = async () => {
      await part.sync();
      await mark(at, end);
      live.offset = end;
    };
    try {
      await part.truncate(from);
      for await (const chunk of bytes) {
        if (stopped.aborted) {
          throw new GatewayError('request/conflict', 'another piece of this upload has come');
        }
        if (end + chunk.length > live.entry.length) {
          throw new GatewayError('request/too-large', `the upload has ${live.entry.length} bytes`);
        }
        hash?.update(chunk);
        await writeAll(part, chunk, end);
        end += chunk.length;
        if (hash === undefined && end - live.offset >= limits.step) {
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
  }

  return {
    async create(client, length, metadata) {
      if (length > limits.blobBytes) {
        throw new GatewayError('request/too-large', `at most ${limits.blobBytes} bytes`);
      }
      await expire();
      await tidy(client);
      const open = [...uploads.values()].filter(({ entry }) => entry.sha256 === undefined);
      const bytesOf = (some: readonly Live[]) => some.reduce((sum, { entry }) => sum + entry.length, length);
      const mine = open.filter(({ entry }) => entry.client === client);
      if (mine.length >= limits.perClient) {
        throw new GatewayError('request/rate-limited', `${limits.perClient} unfinished uploads at most`, {
          retryable: true,
        });
      }
      if (bytesOf(mine) > limits.clientTotal) {
        throw new GatewayError(
          'request/rate-limited',
          `unfinished uploads of a client may have ${limits.clientTotal} bytes together`,
          { retryable: true },
        );
      }
      if (bytesOf(open) > limits.total) {
        throw new GatewayError('store/full', `unfinished uploads may have ${limits.total} bytes together`, {
          retryable: true,
        });
      }
      const id = random.bytes(16).toHex();
      const entry: Entry = {
        client,
        length,
        expiresAt: clock.now() + limits.lifetime,
        ...(metadata !== undefined && { metadata }),
      };
      const live: Live = { entry, offset: 0 };
      uploads.set(id, live);
      try {
        await keep(id, entry);
        await finish(id, live);
      } catch (error) {
        await forget(id);
        throw storeError(error);
      }
      return shown(id, live);
    },
    async find(client, id) {
      const live = await own(client, id);
      try {
        await finish(id, live);
      } catch (error) {
        throw storeError(error);
      }
      return shown(id, live);
    },
    async append(client, id, offset, bytes, checksum) {
      let live = await own(client, id);
      // Others may have waited for the same end: nothing may come between this look and the mark below.
      while (live.running !== undefined) {
        live = await own(client, id);
      }
      if (offset !== live.offset) {
        throw new GatewayError('request/conflict', `the upload stands at ${live.offset}`, {
          detail: { offset: live.offset },
        });
      }
      const stopped = new AbortController();
      const { promise, resolve } = Promise.withResolvers<void>();
      live.running = { stop: () => stopped.abort(), ended: promise };
      try {
        if (live.entry.sha256 === undefined) {
          if (!(await write(id, live, untilStopped(bytes, stopped.signal), stopped.signal, checksum))) {
            return undefined;
          }
          live.entry = { ...live.entry, expiresAt: clock.now() + limits.lifetime };
          await keep(id, live.entry);
          await finish(id, live);
        }
        return shown(id, live);
      } catch (error) {
        throw storeError(error);
      } finally {
        delete live.running;
        resolve();
      }
    },
    async remove(client, id) {
      await own(client, id);
      await forget(id);
    },
    expire,
  };
}

/** The bytes until somebody else goes on with the upload: a dead connection may never say another word. */
async function* untilStopped(
  bytes: AsyncIterable<Uint8Array>,
  stopped: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = bytes[Symbol.asyncIterator]();
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  stopped.addEventListener('abort', () =>
    reject(new GatewayError('request/conflict', 'another piece of this upload has come')),
  );
  for (;;) {
    const next = source.next();
    next.catch(() => {});
    const { done, value } = await Promise.race([next, promise]);
    if (done === true) {
      return;
    }
    yield value;
  }
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

function entryOf(text: string): Entry | undefined {
  try {
    const entry = JSON.parse(text) as Entry;
    return typeof entry.client === 'string' && Number.isSafeInteger(entry.length) && entry.expiresAt > 0
      ? entry
      : undefined;
  } catch {
    return undefined;
  }
}
