import { Readable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { BlobStore } from './bridge.ts';
import type { Limits } from './limits.ts';
import { roomOf } from './store/blobs.ts';
import type { Store } from './store/store.ts';

/** Blobs of clients that no message names yet: nobody's keep out those of all others. */
export interface WaitingBlobs {
  /**
   * Puts bytes there for a client, counted as they come. Throws `request/rate-limited` where the client has too much there
   * that no message names, `request/too-large`, `store/full`.
   */
  put(
    client: string,
    bytes: Uint8Array | Readable,
    most: number,
  ): Promise<{ readonly sha256: string; readonly size: number }>;
  /** Throws `request/rate-limited` where so many bytes more would be too much of this client. */
  check(client: string, bytes: number): Promise<void>;
  /** Counts a blob that is there already, of a client that put it there. */
  add(client: string, sha256: string): Promise<void>;
  /** A message names these now. */
  named(sha256s: readonly string[]): void;
}

interface Waiting {
  readonly room: number;
  /** ms epoch after which the sweep removes it. */
  readonly until: number;
}

/** Of one client. */
interface Account {
  /** By hash, the oldest first. */
  readonly blobs: Map<string, Waiting>;
  /** Bytes of them, and of those that are coming. */
  room: number;
}

export function createWaitingBlobs(options: {
  readonly store: Pick<Store, 'blobs' | 'read'>;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'unnamedBlobs' | 'orphanAge'>;
}): WaitingBlobs {
  const { clock, limits } = options;
  const { blobs, read } = options.store;
  const accounts = new Map<string, Account>();
  let found: Promise<void> | undefined;

  const accountOf = (client: string) =>
    accounts.getOrInsertComputed(client, () => ({ blobs: new Map(), room: 0 }));

  function drop(account: Account, sha256: string): void {
    account.room -= account.blobs.get(sha256)?.room ?? 0;
    account.blobs.delete(sha256);
  }

  function note(account: Account, sha256: string, size: number, since: number): void {
    drop(account, sha256);
    if (!read.isBlobCarried(sha256)) {
      const room = roomOf(size);
      account.blobs.set(sha256, { room, until: since + limits.orphanAge });
      account.room += room;
    }
  }

  /** What there is of a client, those of before the start among it: they are looked for when somebody first puts one. */
  async function open(client: string): Promise<Account> {
    found ??= find(blobs).catch(error => {
      found = undefined;
      throw error;
    });
    await found;
    const account = accountOf(client);
    for (const [sha256, { until }] of account.blobs) {
      if (until > clock.now()) {
        break;
      }
      drop(account, sha256);
    }
    return account;
  }

  async function find({ size }: Pick<BlobStore, 'size'>): Promise<void> {
    for (const { sha256, client, at } of read.blobsUncarried(clock.now() - limits.orphanAge)) {
      const bytes = await size(sha256);
      if (bytes !== undefined) {
        note(accountOf(client), sha256, bytes, at);
      }
    }
  }

  function admit(account: Account, bytes: number): void {
    if (account.room + bytes > limits.unnamedBlobs) {
      throw new GatewayError(
        'request/rate-limited',
        `blobs of a client that no message names may have ${limits.unnamedBlobs} bytes together`,
        { retryable: true },
      );
    }
  }

  return {
    async put(client, bytes, most) {
      const account = await open(client);
      let size = 0;
      let coming = 0;
      const reserve = (room: number) => {
        admit(account, room - coming);
        account.room += room - coming;
        coming = room;
      };
      async function* counted() {
        for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
          size += (chunk as Uint8Array).length;
          reserve(roomOf(Math.min(size, most)));
          yield chunk as Uint8Array;
        }
      }
      try {
        reserve(roomOf(0));
        const kept = await blobs.put(Readable.from(counted(), { highWaterMark: 1 }), most);
        note(account, kept.sha256, kept.size, clock.now());
        return kept;
      } finally {
        account.room -= coming;
      }
    },
    async check(client, bytes) {
      admit(await open(client), roomOf(bytes));
    },
    async add(client, sha256) {
      const account = await open(client);
      const size = await blobs.size(sha256);
      if (size !== undefined) {
        note(account, sha256, size, clock.now());
      }
    },
    named(sha256s) {
      for (const account of sha256s.length === 0 ? [] : accounts.values()) {
        for (const sha256 of sha256s) {
          drop(account, sha256);
        }
      }
    },
  };
}
