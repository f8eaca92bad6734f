import type { DatabaseSync } from 'node:sqlite';
import type { StoredEntry } from '../../mesh/storage.ts';

export interface MeshJobs {
  'mesh.save': { args: { kind: string; key: string; value: Uint8Array }; result: undefined };
  'mesh.remove': { args: { kind: string; key: string }; result: undefined };
}

/** The writing side of mesh.db. */
export function meshVerbs(database: DatabaseSync) {
  const save = database.prepare('INSERT OR REPLACE INTO entries (kind, key, value) VALUES (?, ?, ?)');
  const remove = database.prepare('DELETE FROM entries WHERE kind = ? AND key = ?');
  return {
    'mesh.save'({ kind, key, value }: MeshJobs['mesh.save']['args']): undefined {
      save.run(kind, key, value);
    },
    'mesh.remove'({ kind, key }: MeshJobs['mesh.remove']['args']): undefined {
      remove.run(kind, key);
    },
  };
}

/** Entries read at once. */
const pageSize = 1000;

/**
 * Every entry of a kind, by key, a page at a time: an open cursor would keep the WAL from being checkpointed, and all of
 * them at once take more memory than what is made of them.
 */
export function* meshEntries(database: DatabaseSync, kind: string): Iterable<StoredEntry> {
  const read = database.prepare(
    `SELECT key, value FROM entries WHERE kind = ? AND key > ? ORDER BY key LIMIT ${pageSize}`,
  );
  let after = '';
  for (;;) {
    const page = read.all(kind, after) as unknown as StoredEntry[];
    yield* page;
    if (page.length < pageSize) {
      return;
    }
    after = page.at(-1)!.key;
  }
}
