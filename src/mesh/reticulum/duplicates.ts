import type { HashJournal } from './hash-journal.ts';
import { type SlotHash, wordAt } from './slot-hash.ts';

/**
 * Which packet hashes were heard, in two generations: when the younger is full, the elder is dropped
 * and a new one begun. Keeps 64 bits of each hash in flat arrays that grow with use, 8 MB a
 * generation at the most; to hide a packet behind a false repeat takes 2^64 tries.
 */
export class Duplicates {
  readonly #capacity: number;
  readonly #slotHash: SlotHash;
  readonly #journal: HashJournal | undefined;
  #young: HashSet;
  #old: HashSet;

  /** Remembers at least the last `capacity` hashes and at most twice as many; the newest over a restart, with a journal. */
  constructor(capacity: number, slotHash: SlotHash, journal?: HashJournal) {
    this.#capacity = capacity;
    this.#slotHash = slotHash;
    this.#young = new HashSet(this.#slotHash);
    this.#old = new HashSet(this.#slotHash);
    for (const hash of journal?.load() ?? []) {
      this.#put(hash);
    }
    this.#journal = journal;
  }

  /** Hashes remembered now. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Slots that its tables take, 8 B each. */
  get slots(): number {
    return this.#young.slots + this.#old.slots;
  }

  /** `hash` has at least 8 bytes that nobody can choose. */
  has(hash: Uint8Array): boolean {
    return this.#young.has(hash) || this.#old.has(hash);
  }

  add(hash: Uint8Array): void {
    this.#put(hash);
    this.#journal?.note(hash);
  }

  #put(hash: Uint8Array): void {
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new HashSet(this.#slotHash);
    }
    this.#young.add(hash);
  }

  /** As if it had never been heard. */
  delete(hash: Uint8Array): void {
    this.#young.delete(hash);
    this.#old.delete(hash);
  }
}

/** In both words: a slot never used, and one whose hash was deleted. Hashes that look so are moved. */
const empty = 0;
const deleted = 1;
const smallestTable = 1024;

/** Open addressing over the first 64 bits of a hash; at most half full. */
class HashSet {
  readonly #slotHash: SlotHash;
  #low = new Uint32Array(smallestTable);
  #high = new Uint32Array(smallestTable);
  /** Slots that are not empty, and those of them whose hash was deleted. */
  #used = 0;
  #deleted = 0;

  constructor(slotHash: SlotHash) {
    this.#slotHash = slotHash;
  }

  get size(): number {
    return this.#used - this.#deleted;
  }

  get slots(): number {
    return this.#low.length;
  }

  has(hash: Uint8Array): boolean {
    return this.#high[this.#find(wordAt(hash, 0), highOf(hash))] !== empty;
  }

  add(hash: Uint8Array): void {
    if (this.#used * 2 >= this.#low.length) {
      this.#grow();
    }
    this.#put(wordAt(hash, 0), highOf(hash));
  }

  delete(hash: Uint8Array): void {
    const at = this.#find(wordAt(hash, 0), highOf(hash));
    if (this.#high[at] !== empty) {
      this.#high[at] = deleted;
      this.#deleted += 1;
    }
  }

  #put(low: number, high: number): void {
    const at = this.#find(low, high);
    if (this.#high[at] === empty) {
      this.#low[at] = low;
      this.#high[at] = high;
      this.#used += 1;
    }
  }

  #find(low: number, high: number): number {
    const mask = this.#low.length - 1;
    let at = this.#slotHash(low, high) & mask;
    while (this.#high[at] !== empty && (this.#high[at] !== high || this.#low[at] !== low)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #grow(): void {
    const low = this.#low;
    const high = this.#high;
    // What was deleted leaves its slots behind: whoever has packets forgotten without end must not make it grow.
    const length = this.size * 4 >= low.length ? low.length * 2 : low.length;
    this.#low = new Uint32Array(length);
    this.#high = new Uint32Array(length);
    this.#used = 0;
    this.#deleted = 0;
    for (let at = 0; at < low.length; at++) {
      if (high[at]! > deleted) {
        this.#put(low[at]!, high[at]!);
      }
    }
  }
}

function highOf(hash: Uint8Array): number {
  const high = wordAt(hash, 4);
  return high > deleted ? high : high + 2;
}
