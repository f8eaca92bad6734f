import type { Cancel, Clock } from '../../lib/clock.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { MeshStorage, StorageKind } from '../storage.ts';

export interface WriteBehindOptions {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly kind: StorageKind;
  /** The stored form of what is under a key now; undefined where nothing is, which removes it. */
  readonly encode: (key: string) => Uint8Array | undefined;
}

/** How long a change may lie unwritten, ms: so much is heard again anyway if the process dies. */
const delay = 2000;
/** Writes under way at once. */
const batchSize = 256;

/**
 * Writes a table to storage a little later and many entries at a time, each at most once per batch
 * however often it changed. What could not be written is tried again with the next change.
 */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #dirty = new Set<string>();
  #cancel: Cancel | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
  }

  /** Keys whose change is not written yet. */
  get size(): number {
    return this.#dirty.size;
  }

  /** Something under the key changed. */
  mark(key: string): void {
    this.#dirty.add(key);
    this.#cancel ??= this.#options.clock.after(delay, () => {
      this.#cancel = undefined;
      void this.flush();
    });
  }

  /** Resolves when everything marked so far was written or could not be. */
  async flush(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    await this.#writing;
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { storage, kind, encode, log } = this.#options;
    const keys = [...this.#dirty];
    this.#dirty.clear();
    for (let at = 0; at < keys.length; at += batchSize) {
      const batch = keys.slice(at, at + batchSize);
      const written = await Promise.allSettled(
        batch.map(key =>
          Promise.try(() => {
            const value = encode(key);
            return value === undefined ? storage.remove(kind, key) : storage.save(kind, key, value);
          }),
        ),
      );
      const failed = batch.filter((_, i) => written[i]?.status === 'rejected');
      for (const key of failed) {
        this.#dirty.add(key);
      }
      const first = written.find(result => result.status === 'rejected');
      if (first) {
        log.warn(
          { kind, count: failed.length, code: codeOf(first.reason) },
          'could not be written, kept for later',
        );
      }
    }
  }
}
