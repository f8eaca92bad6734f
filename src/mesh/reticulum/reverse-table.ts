import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { groupOf } from './fair-queue.ts';
import { hashLength } from './packet.ts';
import { type SlotHash, wordAt } from './slot-hash.ts';

/** The way back for the proof of a packet that was passed on. */
export interface ReverseEntry {
  /** The packet came in over it: the proof goes out there. */
  readonly receivedOn: InterfaceHandle;
  /** The packet went out over it: the proof must come in there. */
  readonly sentOn: InterfaceHandle;
  /** 16 B: who is to prove it. */
  readonly destinationHash: Uint8Array;
  /** 32 B: what a signature is over. A proof is addressed to the first half of it. */
  readonly packetHash: Uint8Array;
  /** A proof went back. Anybody could have made it, so that another may follow, but only one that is signed. */
  readonly passed: boolean;
}

/** ms that an entry is kept. Source: RNS 1.5.7. */
const lifetime = 480_000;
/** Entries at once: under a flood the time they are kept for shrinks, never the memory's bound. */
const defaultCapacity = 100_000;
const smallest = 256;
const wholeHash = 2 * hashLength;
const none = -1;

/** What came in over one interface: a list through the rows, the oldest first. */
interface Source {
  readonly iface: InterfaceHandle;
  readonly group: Group;
  first: number;
  last: number;
  count: number;
}

/** A configured interface and the peers that it found. */
interface Group {
  readonly name: string;
  readonly sources: Set<Source>;
  count: number;
}

/**
 * Ways back by truncated packet hash, bounded in number and in time. A row for each packet that is passed on is too
 * many for objects, so they lie in flat arrays, found by open addressing. When it is full, whoever has more than their
 * share gives way with their oldest: configured interfaces among each other, then the peers that one of them found, so
 * that nobody can push out what others wait for.
 */
export class ReverseTable {
  readonly #clock: Clock;
  readonly #slotHash: SlotHash;
  readonly #capacity: number;
  readonly #sources = new Map<InterfaceHandle, Source>();
  readonly #groups = new Map<string, Group>();
  #count = 0;
  #hashes = new Uint8Array(0);
  #destinations = new Uint8Array(0);
  #until = new Float64Array(0);
  #passed = new Uint8Array(0);
  /** Neighbours in the list of a source; `#after` also chains the rows that are free. */
  #before = new Int32Array(0);
  #after = new Int32Array(0);
  readonly #from: (Source | undefined)[] = [];
  readonly #sentOn: (InterfaceHandle | undefined)[] = [];
  #free = none;
  /** Row and one by its hash, at most half full; 0 where there is none. */
  #index = new Int32Array(0);

  constructor(clock: Clock, slotHash: SlotHash, capacity: number = defaultCapacity) {
    this.#clock = clock;
    this.#slotHash = slotHash;
    this.#capacity = capacity;
  }

  get size(): number {
    const now = this.#clock.monotonic();
    for (const source of this.#sources.values()) {
      this.#expire(source, now);
    }
    return this.#count;
  }

  /** Whoever sends a proof addresses it to the first 16 B of the packet's hash (32 B). */
  add(packetHash: Uint8Array, entry: Omit<ReverseEntry, 'packetHash' | 'passed'>): void {
    const { receivedOn, sentOn, destinationHash } = entry;
    const now = this.#clock.monotonic();
    const known = this.#find(packetHash);
    if (known !== none) {
      this.#remove(known);
    }
    const source = this.#sourceOf(receivedOn);
    this.#expire(source, now);
    if (this.#count >= this.#capacity) {
      this.#remove(this.#crowded(source).first);
    }
    const row = this.#take();
    this.#hashes.set(packetHash, row * wholeHash);
    this.#destinations.set(destinationHash, row * hashLength);
    this.#until[row] = now + lifetime;
    this.#passed[row] = 0;
    this.#from[row] = source;
    this.#sentOn[row] = sentOn;
    this.#before[row] = source.last;
    this.#after[row] = none;
    if (source.last === none) {
      source.first = row;
    } else {
      this.#after[source.last] = row;
    }
    source.last = row;
    source.count += 1;
    source.group.count += 1;
    // It may have lost its last row just now.
    source.group.sources.add(source);
    this.#groups.set(source.group.name, source.group);
    this.#sources.set(receivedOn, source);
    this.#count += 1;
    this.#index[this.#slotOf(packetHash)] = row + 1;
  }

  /** Its entry, which stays: a proof that came over another interface, or is nobody's, uses nothing up. */
  get(truncatedHash: Uint8Array): ReverseEntry | undefined {
    const row = this.#find(truncatedHash);
    return row === none || this.#until[row]! <= this.#clock.monotonic() ? undefined : this.#entry(row);
  }

  /** A proof of it went back. */
  pass({ packetHash }: ReverseEntry): void {
    const row = this.#find(packetHash);
    if (row !== none) {
      this.#passed[row] = 1;
    }
  }

  /** An interface is gone: nothing goes back over it. */
  dropOver(iface: InterfaceHandle): void {
    const source = this.#sources.get(iface);
    while (source !== undefined && source.count > 0) {
      this.#remove(source.first);
    }
  }

  /** By truncated packet hash, hex. */
  *entries(): Iterable<readonly [string, ReverseEntry]> {
    const now = this.#clock.monotonic();
    for (const source of this.#sources.values()) {
      this.#expire(source, now);
      for (let row = source.first; row !== none; row = this.#after[row]!) {
        const entry = this.#entry(row);
        yield [toHex(entry.packetHash.subarray(0, hashLength)), entry];
      }
    }
  }

  #entry(row: number): ReverseEntry {
    return {
      receivedOn: this.#from[row]!.iface,
      sentOn: this.#sentOn[row]!,
      destinationHash: this.#destinations.slice(row * hashLength, (row + 1) * hashLength),
      packetHash: this.#hashes.slice(row * wholeHash, (row + 1) * wholeHash),
      passed: this.#passed[row] === 1,
    };
  }

  #sourceOf(iface: InterfaceHandle): Source {
    const known = this.#sources.get(iface);
    if (known !== undefined) {
      return known;
    }
    const name = groupOf(iface.name);
    const group = this.#groups.get(name) ?? { name, sources: new Set(), count: 0 };
    return { iface, group, first: none, last: none, count: 0 };
  }

  /** Whoever gives way to a row more of `source`: it itself, unless it has less than its share. */
  #crowded(source: Source): Source {
    const group = mayGrow(source.group, this.#groups, this.#capacity)
      ? most(this.#groups.values())
      : source.group;
    const isOwn = group === source.group && !mayGrow(source, group.sources, group.count);
    return isOwn ? source : most(group.sources);
  }

  #expire(source: Source, now: number): void {
    while (source.count > 0 && this.#until[source.first]! <= now) {
      this.#remove(source.first);
    }
  }

  #remove(row: number): void {
    const source = this.#from[row]!;
    const before = this.#before[row]!;
    const after = this.#after[row]!;
    if (before === none) {
      source.first = after;
    } else {
      this.#after[before] = after;
    }
    if (after === none) {
      source.last = before;
    } else {
      this.#before[after] = before;
    }
    source.count -= 1;
    source.group.count -= 1;
    this.#count -= 1;
    if (source.count === 0) {
      this.#sources.delete(source.iface);
      source.group.sources.delete(source);
      if (source.group.sources.size === 0) {
        this.#groups.delete(source.group.name);
      }
    }
    this.#vacate(this.#slotOf(this.#hashes.subarray(row * wholeHash, (row + 1) * wholeHash)));
    this.#from[row] = undefined;
    this.#sentOn[row] = undefined;
    this.#after[row] = this.#free;
    this.#free = row;
  }

  /** A row that is free. */
  #take(): number {
    if (this.#free === none) {
      this.#grow();
    }
    const row = this.#free;
    this.#free = this.#after[row]!;
    return row;
  }

  #grow(): void {
    const had = this.#until.length;
    const length = Math.min(Math.max(smallest, had * 2), Math.max(this.#capacity, 1));
    this.#hashes = enlarged(this.#hashes, new Uint8Array(length * wholeHash));
    this.#destinations = enlarged(this.#destinations, new Uint8Array(length * hashLength));
    this.#until = enlarged(this.#until, new Float64Array(length));
    this.#passed = enlarged(this.#passed, new Uint8Array(length));
    this.#before = enlarged(this.#before, new Int32Array(length));
    this.#after = enlarged(this.#after, new Int32Array(length));
    for (let row = length - 1; row >= had; row--) {
      this.#after[row] = this.#free;
      this.#free = row;
    }
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(2 * length)));
    for (let row = 0; row < had; row++) {
      this.#index[this.#slotOf(this.#hashes.subarray(row * wholeHash, (row + 1) * wholeHash))] = row + 1;
    }
  }

  #find(hash: Uint8Array): number {
    return this.#index.length === 0 ? none : this.#index[this.#slotOf(hash)]! - 1;
  }

  /** Where a hash is in the index, or would be. */
  #slotOf(hash: Uint8Array): number {
    const mask = this.#index.length - 1;
    let slot = this.#startOf(hash, 0) & mask;
    for (let row = this.#index[slot]! - 1; row >= 0; row = this.#index[slot]! - 1) {
      if (this.#is(row, hash)) {
        break;
      }
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #startOf(bytes: Uint8Array, from: number): number {
    return this.#slotHash(wordAt(bytes, from), wordAt(bytes, from + 4));
  }

  #is(row: number, hash: Uint8Array): boolean {
    const from = row * wholeHash;
    for (let at = 0; at < hashLength; at++) {
      if (this.#hashes[from + at] !== hash[at]) {
        return false;
      }
    }
    return true;
  }

  /** Empties a slot, and moves up what was put behind it only because it was taken. */
  #vacate(slot: number): void {
    const mask = this.#index.length - 1;
    let gap = slot;
    for (let at = (slot + 1) & mask; this.#index[at] !== 0; at = (at + 1) & mask) {
      const wanted = this.#startOf(this.#hashes, (this.#index[at]! - 1) * wholeHash) & mask;
      if (((at - wanted) & mask) >= ((at - gap) & mask)) {
        this.#index[gap] = this.#index[at]!;
        gap = at;
      }
    }
    this.#index[gap] = 0;
  }
}

/** Whether one of several that share `room` has less than an even share of it, were it among them. */
function mayGrow(one: { readonly count: number }, all: { readonly size: number }, room: number): boolean {
  return one.count * (one.count === 0 ? all.size + 1 : all.size) < room;
}

function most<T extends { readonly count: number }>(all: Iterable<T>): T {
  let found: T | undefined;
  for (const one of all) {
    if (found === undefined || one.count > found.count) {
      found = one;
    }
  }
  return found!;
}

function enlarged<T extends Uint8Array | Int32Array | Float64Array>(small: T, large: T): T {
  large.set(small);
  return large;
}
