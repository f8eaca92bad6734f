/** How a record is kept while nobody uses it. */
export interface Packing<T, P> {
  pack(record: T): P;
  /** A fresh record, the same as was packed. */
  unpack(key: string, packed: P): T;
}

/**
 * Records by key, most of which are hardly ever looked at: those are kept packed, in a fraction of the memory, and
 * unpacked each time they are asked for. Whatever is in use is opened and stays so.
 */
export class Shelf<T, P> {
  readonly #packing: Packing<T, P>;
  readonly #packed = new Map<string, P>();
  readonly #open = new Map<string, T>();

  constructor(packing: Packing<T, P>) {
    this.#packing = packing;
  }

  get size(): number {
    return this.#packed.size + this.#open.size;
  }

  /** The key that was put first of those that are packed or, where none is, of all. */
  oldest(): string | undefined {
    const from = this.#packed.size > 0 ? this.#packed : this.#open;
    return from.keys().next().value;
  }

  get(key: string): T | undefined {
    const open = this.#open.get(key);
    if (open !== undefined) {
      return open;
    }
    const packed = this.#packed.get(key);
    return packed === undefined ? undefined : this.#packing.unpack(key, packed);
  }

  /** A record as it is packed; undefined for one that is open. */
  packed(key: string): P | undefined {
    return this.#packed.get(key);
  }

  /** The record itself, which may be changed, and is kept open from now on. */
  open(key: string): T | undefined {
    const record = this.get(key);
    if (record !== undefined) {
      this.setOpen(key, record);
    }
    return record;
  }

  /** Puts a record in place of the one there was, open if that one was. */
  set(key: string, record: T): void {
    if (this.#open.has(key)) {
      this.#open.set(key, record);
    } else {
      this.#packed.set(key, this.#packing.pack(record));
    }
  }

  /** The same for one that is packed already and was not there before. */
  setPacked(key: string, packed: P): void {
    this.#packed.set(key, packed);
  }

  /** Puts a record in place of the one there was, and keeps it open. */
  setOpen(key: string, record: T): void {
    this.#packed.delete(key);
    this.#open.set(key, record);
  }

  delete(key: string): boolean {
    return this.#open.delete(key) || this.#packed.delete(key);
  }

  /** Every record that may be wanted by its key, unpacked one after the other. */
  *values(may: (key: string) => boolean = () => true): Iterable<T> {
    for (const [key, record] of this.#open) {
      if (may(key)) {
        yield record;
      }
    }
    for (const [key, packed] of this.#packed) {
      if (may(key)) {
        yield this.#packing.unpack(key, packed);
      }
    }
  }

  /** Every record as it is kept. */
  *kept(): Iterable<readonly [string, T | P]> {
    yield* this.#open;
    yield* this.#packed;
  }
}
