import type { MeshStorage, StorageKind, StoredEntry } from '../../../src/mesh/storage.ts';

/** Storage that forgets with the process; what is written can be counted, delayed and refused. */
export class MemoryStorage implements MeshStorage {
  readonly #entries = new Map<string, Map<string, Uint8Array>>();
  /** `kind key`, in the order they were written. */
  readonly writes: string[] = [];
  /** Writes wait for this. */
  hold: Promise<void> = Promise.resolve();
  /** Writes fail with this. */
  refuse: Error | undefined;

  *load(kind: StorageKind): Iterable<StoredEntry> {
    for (const [key, value] of this.#kind(kind)) {
      yield { key, value };
    }
  }

  async save(kind: StorageKind, key: string, value: Uint8Array): Promise<void> {
    const bytes = new Uint8Array(value);
    await this.hold;
    if (this.refuse) {
      throw this.refuse;
    }
    this.writes.push(`${kind} ${key}`);
    this.#kind(kind).set(key, bytes);
  }

  async remove(kind: StorageKind, key: string): Promise<void> {
    await this.hold;
    if (this.refuse) {
      throw this.refuse;
    }
    this.#kind(kind).delete(key);
  }

  #kind(kind: string): Map<string, Uint8Array> {
    return this.#entries.getOrInsertComputed(kind, () => new Map());
  }
}
