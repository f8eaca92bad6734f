import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { InterfaceHandle } from './dispatch.ts';

interface Search {
  /** Who waits for the answer. */
  readonly askedOn: Set<InterfaceHandle>;
  /** Monotonic ms. */
  readonly until: number;
}

/** Searches under way; past this nobody new is helped until one ends. */
const capacity = 4096;

export interface PathSearchesParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /** ms to wait, by the media that are up. */
  readonly timeout: () => number;
}

/** Searches for paths that others asked for: each destination is searched once, and everyone who asked is answered. */
export class PathSearches {
  readonly #parts: PathSearchesParts;
  /** The one that ends first is first. */
  readonly #searches = new Map<string, Search>();

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

  /** Somebody asks over an interface; whether the question is to be passed on, because nobody asked yet. */
  begin(key: string, askedOn: InterfaceHandle): boolean {
    this.#forgetOld();
    const search = this.#searches.get(key);
    if (search !== undefined) {
      search.askedOn.add(askedOn);
      return false;
    }
    if (this.#searches.size >= capacity) {
      this.#parts.counters.add('path/search-full');
      return false;
    }
    const until = this.#parts.clock.monotonic() + this.#parts.timeout();
    this.#searches.set(key, { askedOn: new Set([askedOn]), until });
    return true;
  }

  /** An announce came: over which interfaces it was asked for. */
  end(key: string): Iterable<InterfaceHandle> {
    this.#forgetOld();
    const askedOn = this.#searches.get(key)?.askedOn ?? [];
    this.#searches.delete(key);
    return askedOn;
  }

  #forgetOld(): void {
    const now = this.#parts.clock.monotonic();
    for (const [key, search] of this.#searches) {
      if (search.until > now) {
        break;
      }
      this.#searches.delete(key);
    }
  }
}
