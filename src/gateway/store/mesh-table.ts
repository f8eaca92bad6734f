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

/** Every entry of a kind, read at once: an open cursor would keep the WAL from being checkpointed. */
export function meshEntries(database: DatabaseSync, kind: string): StoredEntry[] {
  return database
    .prepare('SELECT key, value FROM entries WHERE kind = ?')
    .all(kind) as unknown as StoredEntry[];
}
