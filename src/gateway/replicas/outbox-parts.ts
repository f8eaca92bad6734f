import type { Counters } from '../../lib/counters.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { OutboxParts } from '../store/outbox-table.ts';
import type { Store } from '../store/store.ts';
import type { Operation } from './outbox-operation.ts';
import type { Part, Seal } from './outbox-seal.ts';

export type PartName = keyof OutboxParts;
export type Parts = { readonly [N in PartName]?: Part };

const partNames: readonly PartName[] = ['request', 'base', 'answer', 'outcome', 'theirs'];

/** Bytes of opened bodies kept in memory. */
const openedBytes = 8 * 1024 * 1024;

export interface PartShelfOptions {
  readonly store: Pick<Store, 'outbox'>;
  readonly seal: Seal;
  readonly log: Log;
  readonly counters: Counters;
}

/** The parts of operations, which lie sealed on disk: opened on demand, the latest kept in memory. */
export class PartShelf {
  readonly #options: PartShelfOptions;
  readonly #opened = new Map<string, { readonly part: Part | undefined; readonly bytes: number }>();
  #total = 0;

  constructor(options: PartShelfOptions) {
    this.#options = options;
  }

  /** undefined where there is none, and where nobody can open it. */
  read(operation: Operation, name: PartName): Part | undefined {
    const key = `${operation.seq} ${name}`;
    const known = this.#opened.get(key);
    if (known !== undefined) {
      return known.part;
    }
    const part = this.#open(operation, name);
    this.#keep(key, part);
    return part;
  }

  /** They are others now, or gone. */
  forget(seq: number): void {
    for (const name of partNames) {
      const key = `${seq} ${name}`;
      this.#total -= this.#opened.get(key)?.bytes ?? 0;
      this.#opened.delete(key);
    }
  }

  /** As they go to disk; null takes one away. */
  sealed(id: string, parts: { readonly [N in PartName]?: Part | null }): Partial<OutboxParts> {
    return Object.fromEntries(
      Object.entries(parts).map(([name, part]) => [
        name,
        part === null || part === undefined
          ? name === 'request'
            ? new Uint8Array()
            : null
          : this.#options.seal.seal(part, `${id} ${name}`),
      ]),
    );
  }

  #open({ seq, id }: Operation, name: PartName): Part | undefined {
    const { store, seal, log, counters } = this.#options;
    const bytes = store.outbox.parts(seq)?.[name];
    if (bytes === undefined || bytes === null || bytes.length === 0) {
      return undefined;
    }
    try {
      return seal.open(bytes, `${id} ${name}`);
    } catch (error) {
      // It is shown and held like any other, but for what nobody can read.
      counters.add('replica/outbox/unreadable');
      log.error({ operation: id.slice(-8), code: codeOf(error) }, 'a queued write cannot be opened');
      return undefined;
    }
  }

  #keep(key: string, part: Part | undefined): void {
    const bytes = (part?.body.length ?? 0) + 512;
    this.#opened.set(key, { part, bytes });
    this.#total += bytes;
    for (const [oldest, { bytes: freed }] of this.#opened) {
      if (this.#total <= openedBytes) {
        break;
      }
      this.#opened.delete(oldest);
      this.#total -= freed;
    }
  }
}
