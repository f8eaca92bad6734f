/** Named counts that only go up: what was dropped and why, what was sent. Read by status, metrics and tests. */
export class Counters {
  readonly #counts = new Map<string, number>();

  /** Names come from our own code, never from outside, so that this stays small. */
  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** All counts, sorted by name. */
  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
