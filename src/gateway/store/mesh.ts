import type { MeshStorage } from '../../mesh/storage.ts';
import type { Committer } from './committer.ts';
import { openReadable } from './database.ts';
import { meshEntries } from './mesh-table.ts';

/** What the mesh asks to be remembered, in mesh.db, by the same writer thread as everything else. */
export function createMeshStorage(path: string, committer: Committer): MeshStorage {
  return {
    *load(kind) {
      const database = openReadable(path);
      try {
        yield* meshEntries(database, kind);
      } finally {
        database.close();
      }
    },
    async save(kind, key, value) {
      await committer.commit('mesh.save', { kind, key, value });
    },
    async remove(kind, key) {
      await committer.commit('mesh.remove', { kind, key });
    },
  };
}
