import { Readable } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { BlobStore } from '../bridge.ts';
import { defaultLimits } from '../limits.ts';
import { storeError } from './database.ts';
import { type Checksum, openUploadFiles, type UploadEntry, type UploadState } from './upload-files.ts';

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
  /** It is a part of another, and becomes no blob by itself. */
  readonly partial?: true;
  /** The ids of those that it was joined from, in order. */
  readonly parts?: readonly string[];
  /** Once it is a blob. */
  readonly sha256?: string;
}

/** Uploads that can be gone on with after any break, also of the hub itself. All of one client's own: for others they are not there. */
export interface Uploads {
  /** Throws `request/too-large`, `request/rate-limited` (too many or too much of this client), `store/full`. */
  create(client: string, length: number, metadata?: string, kind?: 'whole' | 'partial'): Promise<Upload>;
  /**
   * Makes a blob of partial uploads, in this order. They are gone then; asked for again, it is the same upload. Throws
   * `request/not-found`, `request/invalid` for what is no partial one, `request/conflict` for one that is not whole,
   * `request/too-large`.
   */
  join(client: string, parts: readonly string[], metadata?: string): Promise<Upload>;
  /** Ends a piece that is still coming: its connection is dead, or its client would not ask. `request/not-found`. */
  find(client: string, id: string): Promise<Upload>;
  /**
   * Adds a piece at `offset`, which must be where the upload stands; what came of a piece that breaks stays, unless it has a
   * checksum. A piece that is still coming is ended. The last one makes the blob. Throws `request/not-found`, `request/conflict`,
   * `request/too-large`, `request/forbidden` for one that was joined; a wrong checksum is told by `undefined`.
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

interface Live extends UploadState {
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

/** Those of `directory`, which is made if it is not there. */
export async function openUploads({
  directory,
  blobs,
  clock,
  random,
  ...parts
}: UploadParts): Promise<Uploads> {
  const limits: UploadLimits = { ...uploadLimits, ...parts.limits };
  const files = await openUploadFiles(directory, limits.step);
  const uploads = new Map<string, Live>(files.found);

  const shown = (id: string, { entry: { client: _, ...entry }, offset }: Live): Upload => ({
    id,
    offset,
    ...entry,
  });

  /** What is written down of one that begins now. */
  function begun(client: string, length: number, metadata: string | undefined): UploadEntry {
    const expiresAt = clock.now() + limits.lifetime;
    return { client, length, expiresAt, ...(metadata !== undefined && { metadata }) };
  }

  async function forget(id: string): Promise<void> {
    uploads.delete(id);
    await files.drop(id, 'all');
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
    const { entry, offset } = live;
    if (offset === entry.length && entry.sha256 === undefined && entry.partial === undefined) {
      const { sha256 } = await blobs.put(Readable.from(files.read(id, offset)), limits.blobBytes);
      live.entry = { ...live.entry, sha256 };
      await files.keep(id, live.entry);
      await files.drop(id, 'bytes');
    }
  }

  /** Throws where there is no room for so many bytes of a client. */
  function admit(client: string, length: number): void {
    const unfinished = [...uploads.values()].filter(({ entry }) => entry.sha256 === undefined);
    const bytesOf = (some: readonly Live[]) => some.reduce((sum, { entry }) => sum + entry.length, length);
    const mine = unfinished.filter(({ entry }) => entry.client === client);
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
    if (bytesOf(unfinished) > limits.total) {
      throw new GatewayError('store/full', `unfinished uploads may have ${limits.total} bytes together`, {
        retryable: true,
      });
    }
  }

  /** What these were joined to already. */
  function joinedFrom(client: string, ids: readonly string[]): [string, Live] | undefined {
    const key = ids.join(' ');
    return [...uploads].find(([, { entry }]) => entry.client === client && entry.parts?.join(' ') === key);
  }

  /** The parts, as they are once nobody writes to them; undefined where they have been joined meanwhile. */
  async function ownAll(client: string, ids: readonly string[]): Promise<Live[] | undefined> {
    const found: Live[] = [];
    for (const id of ids) {
      try {
        found.push(await own(client, id));
      } catch (error) {
        if (joinedFrom(client, ids) !== undefined) {
          return undefined;
        }
        throw error;
      }
    }
    return found;
  }

  return {
    async create(client, length, metadata, kind = 'whole') {
      if (length > limits.blobBytes) {
        throw new GatewayError('request/too-large', `at most ${limits.blobBytes} bytes`);
      }
      await expire();
      await tidy(client);
      admit(client, length);
      const id = random.bytes(16).toHex();
      const entry: UploadEntry = {
        ...begun(client, length, metadata),
        ...(kind === 'partial' && { partial: true }),
      };
      const live: Live = { entry, offset: 0 };
      uploads.set(id, live);
      try {
        await files.keep(id, entry);
        await finish(id, live);
      } catch (error) {
        await forget(id);
        throw storeError(error);
      }
      return shown(id, live);
    },
    async join(client, ids, metadata) {
      if (new Set(ids).size !== ids.length) {
        throw new GatewayError('request/invalid', 'a part is named twice');
      }
      await tidy(client);
      let found: Live[] | undefined;
      // Others may have waited for the same end: nothing may come between this look and the mark below.
      while (
        found === undefined ||
        found.some((live, n) => live.running || uploads.get(ids[n] ?? '') !== live)
      ) {
        const made = joinedFrom(client, ids);
        if (made !== undefined) {
          return shown(...made);
        }
        found = await ownAll(client, ids);
      }
      const length = found.reduce((sum, { entry }) => sum + entry.length, 0);
      if (found.some(({ entry }) => entry.partial === undefined)) {
        throw new GatewayError('request/invalid', 'only partial uploads can be joined');
      }
      if (found.some(({ entry, offset }) => offset < entry.length)) {
        throw new GatewayError('request/conflict', 'a part is not whole yet');
      }
      if (length > limits.blobBytes) {
        throw new GatewayError('request/too-large', `at most ${limits.blobBytes} bytes`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      for (const live of found) {
        live.running = { stop: () => {}, ended: promise };
      }
      try {
        const { sha256 } = await blobs.put(
          Readable.from(joined(ids.map(id => files.read(id, uploads.get(id)?.offset ?? 0)))),
          length,
        );
        const id = random.bytes(16).toHex();
        const entry: UploadEntry = { ...begun(client, length, metadata), parts: ids, sha256 };
        await files.keep(id, entry);
        const live: Live = { entry, offset: length };
        uploads.set(id, live);
        for (const part of ids) {
          await forget(part);
        }
        return shown(id, live);
      } catch (error) {
        throw storeError(error);
      } finally {
        for (const live of found) {
          delete live.running;
        }
        resolve();
      }
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
      if (live.entry.parts !== undefined) {
        throw new GatewayError('request/forbidden', 'nothing is added to what was joined');
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
          const isGood = await files.write(id, offset, {
            length: live.entry.length,
            bytes: untilStopped(bytes, stopped.signal),
            stopped: stopped.signal,
            checksum,
            counted: end => {
              live.offset = end;
            },
          });
          if (!isGood) {
            return undefined;
          }
          live.entry = { ...live.entry, expiresAt: clock.now() + limits.lifetime };
          await files.keep(id, live.entry);
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

async function* joined(parts: readonly AsyncIterable<Uint8Array>[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    yield* part;
  }
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
