import type { Fields } from '../fields.ts';

/*
 * What passes between the cache and its writer thread. Everything here is disposable: it can be asked for again.
 */

/** Bodies up to so many bytes lie in the row, larger ones in a file of their own. */
export const inlineBytes = 64 * 1024;

/** A stored answer without its body. Times are ms epoch. */
export interface EntryHead {
  readonly service: string;
  readonly partition: string;
  readonly path: string;
  /** Which requests select it: see `rfc9111/vary.ts`. */
  readonly vary: string;
  readonly status: number;
  readonly headers: Fields;
  readonly requestTime: number;
  readonly responseTime: number;
  readonly invalid: boolean;
  /** Bytes of the body that is stored. */
  readonly size: number;
  /** Of a part: where it begins, and how long the whole is. */
  readonly first?: number;
  readonly total?: number;
  readonly pinned: boolean;
}

export type CacheOp =
  | { readonly do: 'put'; readonly head: EntryHead; readonly body: Uint8Array }
  /** New head, same body. */
  | { readonly do: 'update'; readonly head: EntryHead }
  | { readonly do: 'invalidate'; readonly service: string; readonly partition: string; readonly path: string }
  | { readonly do: 'remove'; readonly service: string; readonly partition: string; readonly path: string }
  | { readonly do: 'touch'; readonly ids: readonly number[]; readonly at: number }
  | { readonly do: 'shift'; readonly since: number; readonly by: number }
  | {
      readonly do: 'token';
      readonly service: string;
      readonly hash: string;
      readonly partition: string;
      /** 0 where it is good no more. */
      readonly goodAt: number;
    };

/** Budgets of a service, bytes. */
export interface Budget {
  readonly service: string;
  readonly bytes: number;
  readonly partitionBytes: number;
  readonly entries: number;
}

export interface CacheWriterData {
  readonly file: string;
  /** Folder of the large bodies. */
  readonly folder: string;
  readonly ballast: string;
  readonly ballastBytes: number;
  readonly budgets: readonly Budget[];
}

export interface CacheBatch {
  readonly seq: number;
  readonly ops: readonly CacheOp[];
}

export interface Usage {
  readonly entries: number;
  readonly bytes: number;
}

/** What the thread says. */
export type CacheWord =
  | { readonly say: 'ready'; readonly usage: Readonly<Record<string, Usage>> }
  | {
      readonly say: 'done';
      readonly seq: number;
      readonly usage: Readonly<Record<string, Usage>>;
      readonly evicted: number;
      /** Ops that found no room even so. */
      readonly refused: number;
    }
  /** The file is of no use any more: it is to be made anew. */
  | { readonly say: 'broken'; readonly reason: string };

export const cacheSchema = `
  CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    partition TEXT NOT NULL,
    path TEXT NOT NULL,
    vary TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    request_time INTEGER NOT NULL,
    response_time INTEGER NOT NULL,
    invalid INTEGER NOT NULL,
    size INTEGER NOT NULL,
    first INTEGER,
    total INTEGER,
    pinned INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    body BLOB,
    file TEXT,
    UNIQUE (service, partition, path, vary)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS entry_used ON entry (service, pinned, last_used);
  CREATE INDEX IF NOT EXISTS entry_used_of ON entry (service, partition, pinned, last_used);
  CREATE TABLE IF NOT EXISTS token (
    service TEXT NOT NULL,
    hash TEXT NOT NULL,
    partition TEXT NOT NULL,
    good_at INTEGER NOT NULL,
    PRIMARY KEY (service, hash)
  ) STRICT, WITHOUT ROWID;
`;
/** Of the tables above; a file of another one is made anew. */
export const cacheVersion = 1;
