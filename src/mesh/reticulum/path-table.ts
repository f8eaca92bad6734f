import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { MeshStorage } from '../storage.ts';
import { emittedAt } from './announce.ts';
import { type PackedPath, type PathTimes, packPath, storedPath, unpackPath } from './packed-path.ts';
import { decodePath, encodePath } from './path-codec.ts';
import { blobAt, noBlobs, withBlob } from './random-blobs.ts';
import { Shelf } from './shelf.ts';
import { WriteBehind } from './write-behind.ts';

/** The way to a destination, learnt from its announce. */
export interface Path {
  /** 16 B. */
  readonly destinationHash: Uint8Array;
  /** 1 to a neighbour. */
  readonly hops: number;
  /** Identity hash (16 B) of the transport node next on the way; the destination hash itself where it is a neighbour. */
  readonly nextHop: Uint8Array;
  /** The interface it was heard on. */
  readonly interfaceName: string;
  /** ms epoch */
  readonly heard: number;
  /** ms epoch */
  readonly expires: number;
  /** Hash (32 B) of the announce. */
  readonly packetHash: Uint8Array;
}

/** A path with what decides whether another replaces it. */
export interface PathRecord extends Path {
  /** Newest emission of any announce taken for it, s epoch by its sender's clock. */
  readonly emitted: number;
  /** Random blobs taken lately, 10 B each, newest last: an announce going round is not taken twice. */
  readonly blobs: Uint8Array;
  readonly unresponsive: boolean;
  /** ms epoch at which something last went that way. */
  readonly used: number;
}

/** A path as the table has it. */
export interface PathEntry extends PathRecord {
  used: number;
}

/** A way that an announce offers. The bytes are the table's to keep. */
export interface Candidate {
  readonly destinationHash: Uint8Array;
  readonly hops: number;
  readonly nextHop: Uint8Array;
  readonly interfaceName: string;
  readonly packetHash: Uint8Array;
  readonly randomBlob: Uint8Array;
  /** How long it holds, ms. */
  readonly lifetime: number;
}

/** ms between two looks for paths that are over, while new ones are learnt: nobody may ever ask for them again. */
const cullEvery = 10 * 60_000;
/** Paths remembered. */
const defaultCapacity = 100_000;

/** Who sends over a path: nobody yet, others through this node, or this node. */
const users = ['nobody', 'others', 'us'] as const;
export type PathUser = (typeof users)[number];

export interface PathTableParts {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly counters: Counters;
  /** Whether packets can leave by an interface now: a path over one that is gone yields to any other. */
  readonly reachable: (interfaceName: string) => boolean;
  /** How much an interface is preferred; undefined where it is gone. Default 0 for all. */
  readonly gravity?: (interfaceName: string) => number | undefined;
  /** A way gave way to another while its interface was gone. */
  readonly replaced?: (path: PathRecord) => void;
  readonly capacity?: number;
  /** A way is forgotten: it ran out, gave way to others, or was dropped. */
  readonly gone?: (path: Path) => void;
}

/** What an announce offers, before it is verified. */
export interface Offer {
  readonly hops: number;
  readonly randomBlob: Uint8Array;
  /** Of the interface it came over. Default 0. */
  readonly gravity?: number;
}

/**
 * The paths of this node, bounded and stored. When full, the one heard longest ago goes: first of those that
 * nobody uses, then of those that others use, so that a flood of announces takes nobody's way away.
 */
export class PathTable {
  readonly #clock: Clock;
  readonly #parts: PathTableParts;
  readonly #capacity: number;
  readonly #gone: ((path: Path) => void) | undefined;
  readonly #entries = new Shelf<PathEntry, PackedPath>({ pack: packPath, unpack: unpackPath });
  /** Keys by who uses them, those heard longest ago first. */
  readonly #order: Readonly<Record<PathUser, Set<string>>> = {
    nobody: new Set(),
    others: new Set(),
    us: new Set(),
  };
  readonly #journal: WriteBehind;
  /** Monotonic ms of the last look for paths that are over. */
  #culled: number;

  /** Loads what is stored; entries that are over or do not decode are dropped. */
  constructor(parts: PathTableParts) {
    const { clock, storage, log, counters } = parts;
    this.#clock = clock;
    this.#culled = clock.monotonic();
    this.#parts = parts;
    this.#capacity = parts.capacity ?? defaultCapacity;
    this.#gone = parts.gone;
    this.#journal = new WriteBehind({
      clock,
      storage,
      log,
      kind: 'path',
      encode: key => this.#stored(key),
    });
    // Packed at once: a table's worth of entries is many times what the table takes.
    const stored: { readonly key: string; readonly path: PackedPath }[] = [];
    for (const { key, value } of storage.load('path')) {
      try {
        const entry = decodePath(key, value);
        if (entry.expires <= clock.now()) {
          this.#journal.mark(key);
        } else {
          stored.push({ key, path: packPath(entry) });
        }
      } catch (error) {
        counters.add(codeOf(error));
        this.#journal.mark(key);
      }
    }
    for (const { key, path } of stored.sort((a, b) => a.path.heard - b.path.heard)) {
      this.#order.nobody.add(key);
      this.#entries.setPacked(key, path);
      this.#makeRoom();
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  /** By destination hash as hex, if it still holds. Its interface may be down. */
  get(key: string): PathRecord | undefined {
    const entry = this.#entries.get(key);
    if (entry && endOf(entry) <= this.#clock.now()) {
      this.drop(key);
      return undefined;
    }
    return entry;
  }

  /** The interface that leads to a destination (its hash as hex), as `get` would say it, without unpacking anything. */
  interfaceNameOf(key: string): string | undefined {
    const kept = this.#entries.packed(key) ?? this.#entries.get(key);
    if (kept && endOf(kept) <= this.#clock.now()) {
      this.drop(key);
      return undefined;
    }
    return kept?.interfaceName;
  }

  /** In no order. `may`: whether one is of use, by its destination hash as hex: what is not is not unpacked. */
  values(may?: (key: string) => boolean): Iterable<Path> {
    return this.#entries.values(may);
  }

  /** How many ways go over each interface. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [, { interfaceName }] of this.#entries.kept()) {
      counts.set(interfaceName, (counts.get(interfaceName) ?? 0) + 1);
    }
    return counts;
  }

  /**
   * Whether an announce offers a better way than the one known: the one made last wins, whatever its
   * length, because the first copy to arrive came the quickest way; what was taken before is not taken
   * again, unless the known way is dead, or the same announce comes over an interface of more gravity and has
   * come no farther. The signature need not be verified to ask.
   *
   * Source: SPEC.md §12.4; the rules of RNS 1.5.7.
   */
  accepts(key: string, offer: Offer): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      return true;
    }
    const emitted = emittedAt(offer.randomBlob);
    const dead = entry.unresponsive || !this.#parts.reachable(entry.interfaceName);
    if (emitted === entry.emitted && (dead || this.#isHeavier(offer, entry))) {
      return true;
    }
    if (blobAt(entry.blobs, offer.randomBlob) !== -1) {
      return false;
    }
    const expired = endOf(entry) <= this.#clock.now();
    return expired || emitted > entry.emitted;
  }

  /** Whether an announce was made in the same second as the one the way is known from, and was not heard yet. */
  isTwin(key: string, randomBlob: Uint8Array): boolean {
    const entry = this.#entries.get(key);
    return (
      entry !== undefined && emittedAt(randomBlob) === entry.emitted && blobAt(entry.blobs, randomBlob) === -1
    );
  }

  /** Such an announce was verified: it is not taken again. */
  heardTwin(key: string, randomBlob: Uint8Array): void {
    const entry = this.#entries.get(key);
    if (entry) {
      this.#entries.set(key, { ...entry, blobs: withBlob(entry.blobs, randomBlob) });
      this.#journal.mark(key);
    }
  }

  /** Takes an offered way, which `accepts` was asked about and whose announce was verified. */
  take(key: string, candidate: Candidate): Path {
    const { randomBlob, lifetime, ...way } = candidate;
    const before = this.#entries.get(key);
    if (before !== undefined && !this.#parts.reachable(before.interfaceName)) {
      this.#parts.replaced?.(before);
    }
    const now = this.#clock.now();
    const entry: PathEntry = {
      ...way,
      heard: now,
      expires: now + lifetime,
      emitted: Math.max(emittedAt(randomBlob), before?.emitted ?? 0),
      blobs: withBlob(before?.blobs ?? noBlobs, randomBlob),
      unresponsive: false,
      used: now,
    };
    this.#put(key, entry);
    this.#journal.mark(key);
    this.#cull();
    return entry;
  }

  /** What was sent that way got no answer: another way may replace it even if its announce is not newer. */
  markUnresponsive(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) {
      this.#entries.setOpen(key, { ...entry, unresponsive: true });
    }
  }

  /** Something goes that way: it holds as long again, and is kept longer than what nobody uses. */
  use(key: string, user: 'us' | 'others'): void {
    const entry = this.#entries.open(key);
    if (entry === undefined) {
      return;
    }
    entry.used = this.#clock.now();
    if (this.#order[user].has(key)) {
      return;
    }
    if (users.indexOf(user) > users.indexOf(this.#userOf(key))) {
      this.#leave(key);
      this.#order[user].add(key);
    }
  }

  /**
   * A proof showed how long the way really is. Hops are nobody's word: a neighbour is not taken for somebody
   * farther away, what another node carries not for a neighbour, and none of them for a program of this
   * machine, because then nothing would arrive.
   */
  setHops(key: string, hops: number): void {
    const entry = this.#entries.get(key);
    if (entry && Math.min(hops, 2) === Math.min(entry.hops, 2)) {
      this.#entries.set(key, { ...entry, hops });
      this.#journal.mark(key);
    }
  }

  /** Forgets a way; false where there was none. */
  drop(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      return false;
    }
    this.#entries.delete(key);
    this.#leave(key);
    this.#journal.mark(key);
    this.#gone?.(entry);
    return true;
  }

  /** Forgets every way over interfaces that are gone for good, by their names. */
  dropOver(isGone: (interfaceName: string) => boolean): void {
    for (const [key, { interfaceName }] of this.#entries.kept()) {
      if (isGone(interfaceName)) {
        this.drop(key);
      }
    }
  }

  /** All ways over an interface. */
  over(interfaceName: string): Path[] {
    const over: Path[] = [];
    for (const [key, entry] of this.#entries.kept()) {
      if (entry.interfaceName === interfaceName) {
        over.push(this.#entries.get(key)!);
      }
    }
    return over;
  }

  /** What leads over one interface leads over another from now on. */
  move(from: string, to: string): void {
    const moved = [...this.#entries.kept()].filter(([, entry]) => entry.interfaceName === from);
    for (const [key] of moved) {
      this.#entries.set(key, { ...this.#entries.get(key)!, interfaceName: to });
      this.#journal.mark(key);
    }
  }

  /** Puts back a way that was replaced while its interface was gone, unless what there is now is nearer or newer. */
  restore(key: string, path: PathRecord): void {
    const entry = this.get(key);
    const worse = entry !== undefined && (path.hops > entry.hops || path.emitted < entry.emitted);
    if (!worse && endOf(path) > this.#clock.now()) {
      this.#put(key, { ...path });
      this.#journal.mark(key);
    }
  }

  /** Entries whose change is not written yet. */
  get unwritten(): number {
    return this.#journal.size;
  }

  /** Resolves when everything is written. */
  flush(): Promise<void> {
    return this.#journal.flush();
  }

  #stored(key: string): Uint8Array | undefined {
    const packed = this.#entries.packed(key);
    if (packed !== undefined) {
      return storedPath(packed);
    }
    const entry = this.#entries.get(key);
    return entry && encodePath(entry);
  }

  #isHeavier({ hops, gravity = 0 }: Offer, entry: PathEntry): boolean {
    const known = this.#parts.gravity === undefined ? 0 : this.#parts.gravity(entry.interfaceName);
    return hops <= entry.hops && known !== undefined && gravity > known;
  }

  #cull(): void {
    if (this.#clock.monotonic() - this.#culled < cullEvery) {
      return;
    }
    this.#culled = this.#clock.monotonic();
    const now = this.#clock.now();
    for (const [key, entry] of this.#entries.kept()) {
      if (endOf(entry) <= now) {
        this.drop(key);
      }
    }
  }

  #put(key: string, entry: PathEntry): void {
    const user = this.#userOf(key);
    this.#leave(key);
    this.#order[user].add(key);
    if (entry.unresponsive || entry.used !== entry.heard) {
      this.#entries.setOpen(key, entry);
    } else {
      this.#entries.set(key, entry);
    }
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.#entries.size > this.#capacity) {
      // Some room stays for those that nobody uses yet, and for others: what is full of used ones learns nothing.
      const crowd = users.find(one => this.#order[one].size > this.#capacity / 4) ?? 'us';
      this.drop(this.#order[crowd].values().next().value as string);
    }
  }

  #userOf(key: string): PathUser {
    return users.findLast(user => this.#order[user].has(key)) ?? 'nobody';
  }

  #leave(key: string): void {
    for (const user of users) {
      this.#order[user].delete(key);
    }
  }
}

/** ms epoch: a way that is used holds for its lifetime from then. */
function endOf({ heard, expires, used = heard }: PathTimes): number {
  return expires + (used - heard);
}
