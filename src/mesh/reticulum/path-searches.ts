import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { FairRoom } from './fair-room.ts';

/** A search for a path that others wait for. */
export interface PathSearch {
  /** Where those are heard who wait for the answer; who asked first is the first. */
  readonly askedOn: Set<InterfaceHandle>;
  /** Where it was asked on: over others there may have been no room for it yet. */
  readonly sentOn: Set<InterfaceHandle>;
  /** Monotonic ms. */
  readonly until: number;
}

/** Searches under way; one interface may have begun as many as there are free. */
const capacity = 4096;

export interface PathSearchesParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /** ms to wait, by the media that are up. */
  readonly timeout: () => number;
}

/** Searches for paths that others asked for: each destination is searched once on each interface, and everyone who asked is answered. */
export class PathSearches {
  readonly #parts: PathSearchesParts;
  /** The one that ends first is first. */
  readonly #searches = new Map<string, PathSearch>();
  readonly #room = new FairRoom(capacity);

  constructor(parts: PathSearchesParts) {
    this.#parts = parts;
  }

  get size(): number {
    this.#forgetOld();
    return this.#searches.size;
  }

  has(key: string): boolean {
    this.#forgetOld();
    return this.#searches.has(key);
  }

  /** Somebody asks over an interface: the search for it, which may be under way already; undefined where there are too many. */
  begin(key: string, askedOn: InterfaceHandle): PathSearch | undefined {
    this.#forgetOld();
    const search = this.#searches.get(key);
    if (search !== undefined) {
      search.askedOn.add(askedOn);
      return search;
    }
    if (!this.#room.take(askedOn)) {
      this.#parts.counters.add('path/search-full');
      return undefined;
    }
    const until = this.#parts.clock.monotonic() + this.#parts.timeout();
    const begun: PathSearch = { askedOn: new Set([askedOn]), sentOn: new Set(), until };
    this.#searches.set(key, begun);
    return begun;
  }

  /** An announce came: over which interfaces it was asked for. */
  end(key: string): Iterable<InterfaceHandle> {
    this.#forgetOld();
    const search = this.#searches.get(key);
    if (search === undefined) {
      return [];
    }
    this.#forget(key, search);
    return search.askedOn;
  }

  #forgetOld(): void {
    const now = this.#parts.clock.monotonic();
    for (const [key, search] of this.#searches) {
      if (search.until > now) {
        break;
      }
      this.#forget(key, search);
    }
  }

  #forget(key: string, { askedOn }: PathSearch): void {
    this.#searches.delete(key);
    this.#room.give(askedOn.values().next().value!);
  }
}
