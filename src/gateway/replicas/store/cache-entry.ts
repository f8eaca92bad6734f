import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EntryHead } from './cache-job.ts';

/** A stored answer: its head, and the way to its body. */
export interface CacheEntry extends EntryHead {
  /** The row; undefined while it waits to be written. */
  readonly id?: number;
  /** The whole body, or undefined where it has gone since. */
  body(): Uint8Array | Promise<Uint8Array | undefined>;
}

/** A stored answer as its row has it. */
export interface Row {
  readonly id: number;
  readonly service: string;
  readonly partition: string;
  readonly path: string;
  readonly vary: string;
  readonly status: number;
  readonly headers: string;
  readonly request_time: number;
  readonly response_time: number;
  readonly invalid: number;
  readonly size: number;
  readonly first: number | null;
  readonly total: number | null;
  readonly pinned: number;
  readonly body: Uint8Array | null;
  readonly file: string | null;
}

/** The answer in a row; its body may be a file in the folder. */
export function entryOf(row: Row, folder: string): CacheEntry {
  const { body, file } = row;
  return {
    id: row.id,
    service: row.service,
    partition: row.partition,
    path: row.path,
    vary: row.vary,
    status: row.status,
    headers: JSON.parse(row.headers) as EntryHead['headers'],
    requestTime: row.request_time,
    responseTime: row.response_time,
    invalid: row.invalid !== 0,
    size: row.size,
    ...(row.first !== null && { first: row.first }),
    ...(row.total !== null && { total: row.total }),
    pinned: row.pinned !== 0,
    body() {
      if (body !== null) {
        return body;
      }
      return readFile(join(folder, file ?? '')).then(
        bytes => (bytes.length === row.size ? bytes : undefined),
        () => undefined,
      );
    },
  };
}
