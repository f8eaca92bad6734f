/** Places to begin with, and those above which they are given back when nothing waits. Powers of two. */
const fewest = 64;
const most = 1024;

/**
 * What waits for the outcome of a job, by the job's number. No Map: one that is added to and deleted from all the time is laid
 * out anew all the time, and each layout it had leads to the next. A collection of young objects that finds one of them among
 * the old ones, dead but not collected yet, keeps all that come after it, and with them every request that waited in one.
 */
export class PendingJobs<T> {
  /** A job's place is its number by the length, which is a power of two. */
  #places = placesFor<T>(fewest);
  #size = 0;
  #next = 1;

  get size(): number {
    return this.#size;
  }

  /** Gives the job's number: greater than that of any before it. */
  add(value: T): number {
    if (this.#size >= this.#places.length / 2) {
      this.#grow();
    }
    // One that waits longer than as many after it keeps its place.
    while (this.#places[this.#placeOf(this.#next)] !== undefined) {
      this.#next += 1;
    }
    const id = this.#next++;
    this.#places[this.#placeOf(id)] = { id, value };
    this.#size += 1;
    return id;
  }

  /** Gives what waited for the job, and forgets it; undefined where nothing does. */
  take(id: number): T | undefined {
    const place = this.#placeOf(id);
    const pending = this.#places[place];
    if (pending?.id !== id) {
      return undefined;
    }
    this.#places[place] = undefined;
    this.#size -= 1;
    if (this.#size === 0 && this.#places.length > most) {
      this.#places = placesFor(fewest);
    }
    return pending.value;
  }

  /** Gives all, in the order in which they were added, and forgets them. */
  takeAll(): T[] {
    const all = this.#inOrder();
    this.#places.fill(undefined);
    this.#size = 0;
    return all.map(({ value }) => value);
  }

  #placeOf(id: number): number {
    return id & (this.#places.length - 1);
  }

  #inOrder(): Pending<T>[] {
    return this.#places.filter(one => one !== undefined).sort((a, b) => a.id - b.id);
  }

  #grow(): void {
    const all = this.#inOrder();
    this.#places = placesFor(this.#places.length * 2);
    for (const one of all) {
      this.#places[this.#placeOf(one.id)] = one;
    }
  }
}

function placesFor<T>(length: number): (Pending<T> | undefined)[] {
  return new Array(length).fill(undefined);
}

interface Pending<T> {
  readonly id: number;
  readonly value: T;
}
