export interface ResourceLimits {
  /** Bytes of the largest Resource taken. */
  readonly resource: number;
  /** Bytes of all Resources on their way in, over all links. */
  readonly total: number;
  /** Resources on their way in over one link. */
  readonly perLink: number;
}

export const resourceLimits: ResourceLimits = {
  resource: 32 * 1024 * 1024,
  total: 128 * 1024 * 1024,
  perLink: 8,
};

/** Something that was promised room. */
export interface BudgetHolder {
  readonly bytes: number;
  /** Monotonic ms from which it is taken to stand still; `Infinity` once all of it has come. */
  readonly staleAt: number;
  /** It has to go, and gives its room back. */
  giveUp(): void;
}

/**
 * Bytes that Resources on their way in may take, shared by all links. An advertisement is promised room before anything
 * comes, and costs its sender nothing: where there is none left, those of which nothing has come lately give way, the
 * largest first.
 */
export class IncomingBudget {
  readonly limits: ResourceLimits;
  readonly #holders = new Set<BudgetHolder>();
  #used = 0;

  constructor(limits: ResourceLimits = resourceLimits) {
    this.limits = limits;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether there was room for it, or was made; monotonic ms. */
  take(holder: BudgetHolder, now: number): boolean {
    const room = this.limits.total - holder.bytes;
    if (this.#used > room) {
      const stalled = [...this.#holders]
        .filter(({ staleAt }) => staleAt <= now)
        .sort((a, b) => b.bytes - a.bytes || a.staleAt - b.staleAt);
      const freed = stalled.reduce((sum, { bytes }) => sum + bytes, 0);
      if (this.#used - freed > room) {
        return false;
      }
      for (const one of stalled) {
        if (this.#used > room) {
          one.giveUp();
        }
      }
    }
    this.#holders.add(holder);
    this.#used += holder.bytes;
    return true;
  }

  /** What one held, another holds now. */
  pass(from: BudgetHolder, to: BudgetHolder): void {
    this.give(from);
    this.#holders.add(to);
    this.#used += to.bytes;
  }

  give(holder: BudgetHolder): void {
    if (this.#holders.delete(holder)) {
      this.#used -= holder.bytes;
    }
  }
}
