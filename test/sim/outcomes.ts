import assert from 'node:assert/strict';
import { codeOf } from '../../src/lib/errors.ts';

/** What may become of something on a bad medium; anything else is a mistake of ours. */
const allowed: ReadonlySet<string> = new Set(['good', 'mesh/timeout', 'mesh/link-closed']);

/** Counts how everything that was begun ended, and knows when all of it has. */
export class Outcomes {
  readonly #counts = new Map<string, number>();
  readonly #watched: Promise<void>[] = [];
  #open = 0;

  /** Begun and not ended. */
  get open(): number {
    return this.#open;
  }

  /** Watches work to its end; where it is good, `check` must hold. */
  watch(what: string, work: Promise<unknown>, check: () => void = () => {}): void {
    this.#watched.push(this.#follow(what, work, check));
  }

  /** Rejects with the first check that failed. */
  async settled(): Promise<void> {
    for (let seen = 0; seen < this.#watched.length; seen = this.#watched.length) {
      await Promise.all(this.#watched);
    }
  }

  count(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** Of a kind, however it ended. */
  total(what: string): number {
    return [...this.#counts].reduce(
      (sum, [key, times]) => sum + (key.startsWith(`${what}: `) ? times : 0),
      0,
    );
  }

  toString(): string {
    return [...this.#counts].map(([what, times]) => `${what} ${times}`).join(', ');
  }

  async #follow(what: string, work: Promise<unknown>, check: () => void): Promise<void> {
    this.#open += 1;
    let outcome = 'good';
    try {
      await work;
    } catch (error) {
      outcome = codeOf(error);
    } finally {
      this.#open -= 1;
    }
    assert.ok(allowed.has(outcome), `${what}: ${outcome}`);
    if (outcome === 'good') {
      check();
    }
    const key = `${what}: ${outcome}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }
}
