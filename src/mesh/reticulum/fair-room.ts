/**
 * Places in a table whose entries do not last, shared by who fills it: nobody may have more of them than are free. One who
 * takes all it can has half; of a hundred each has a hundredth as soon as what they took first is over, and as much is left
 * for who has none.
 */
export class FairRoom {
  readonly #limit: number;
  readonly #taken = new Map<unknown, number>();
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether there is a place for it, which is taken then. */
  take(source: unknown): boolean {
    const taken = this.#taken.get(source) ?? 0;
    if (taken >= this.#limit - this.#used) {
      return false;
    }
    this.#taken.set(source, taken + 1);
    this.#used += 1;
    return true;
  }

  /** One of its places is free again. */
  give(source: unknown): void {
    const left = (this.#taken.get(source) ?? 1) - 1;
    if (left === 0) {
      this.#taken.delete(source);
    } else {
      this.#taken.set(source, left);
    }
    this.#used -= 1;
  }
}
