import { rmSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { openReadable } from '../../store/database.ts';
import type { CacheWord, CacheWriterData, Usage } from './cache-job.ts';

/** One life of the thread and of the connection that reads beside it. */
export interface Life {
  readonly worker: Worker;
  readonly database: DatabaseSync;
  readonly select: StatementSync;
  readonly below: StatementSync;
  readonly token: StatementSync;
  readonly usage: Readonly<Record<string, Usage>>;
}

/** Starts the thread and opens the connection, or says why that cannot be. */
export async function openLife(data: CacheWriterData): Promise<Life | { readonly reason: string }> {
  const worker = new Worker(new URL('./cache-writer.ts', import.meta.url), {
    workerData: data,
    name: 'replica cache',
  });
  const first = await new Promise<CacheWord>(resolve => {
    worker.once('message', resolve);
    worker.once('error', error => resolve({ say: 'broken', reason: String(error) }));
  });
  if (first.say !== 'ready') {
    await worker.terminate();
    return { reason: first.say === 'broken' ? first.reason : 'the writer did not start' };
  }
  let database: DatabaseSync | undefined;
  try {
    database = openReadable(data.file);
    const columns =
      'id, vary, status, headers, request_time, response_time, invalid, size, first, total, pinned, body, file';
    return {
      worker,
      database,
      usage: first.usage,
      select: database.prepare(
        `SELECT ?1 AS service, ?2 AS partition, ?3 AS path, ${columns} FROM entry
         WHERE service = ?1 AND partition = ?2 AND path = ?3`,
      ),
      below: database.prepare(
        `SELECT path FROM entry WHERE service = ? AND partition = ? AND path >= ? AND path < ?
         GROUP BY path ORDER BY max(response_time) DESC LIMIT ?`,
      ),
      token: database.prepare('SELECT partition, good_at FROM token WHERE service = ? AND hash = ?'),
    };
  } catch (error) {
    database?.close();
    await worker.terminate();
    return { reason: (error as Error).message };
  }
}

/** Resolves when the thread is gone and has written what it was given. */
export async function endLife({ worker, database }: Life): Promise<void> {
  database.close();
  const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()));
  worker.postMessage('close');
  await ended;
}

/** Takes everything away that the cache has on disk. Between two lives. */
export function deleteFiles({ file, folder }: CacheWriterData): void {
  for (const name of [file, `${file}-wal`, `${file}-shm`]) {
    rmSync(name, { force: true });
  }
  rmSync(folder, { recursive: true, force: true });
}
