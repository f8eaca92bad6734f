import { groupOf } from './fair-queue.ts';

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
  /** Name of the interface that it comes over. */
  readonly source?: string;
  /** It has to go, and gives its room back. */
  giveUp(): void;
}

/**
 * Bytes that Resources on their way in may take, shared by all links. An advertisement is promised room before anything
 * comes, and costs its sender nothing: where there is none left, those of which nothing has come lately give way, the
 * largest first. A part now and then keeps a Resource from standing still: where that is all there is, whoever comes
 * over an interface that has little takes room from the one that has most, for as long as that keeps more.
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
      const lacking = this.#used - bytesOf(stalled) - room;
      const crowd = lacking > 0 ? this.#crowd(holder, stalled, lacking) : [];
      if (bytesOf(crowd) < lacking) {
        return false;
      }
      for (const one of [...stalled, ...crowd]) {
        if (this.#used > room) {
          one.giveUp();
        }
      }
    }
    this.#holders.add(holder);
    this.#used += holder.bytes;
    return true;
  }

  /** What moves but may give way to a newcomer, the largest first; nothing where the interface that has most would have less than it. */
  #crowd(newcomer: BudgetHolder, stalled: readonly BudgetHolder[], lacking: number): readonly BudgetHolder[] {
    if (newcomer.source === undefined) {
      return [];
    }
    const rest = [...this.#holders].filter(one => one.source !== undefined && !stalled.includes(one));
    for (const nameOf of [groupOf, (source: string) => source]) {
      const bySource = Map.groupBy(rest, ({ source }) => nameOf(source ?? ''));
      const own = nameOf(newcomer.source);
      const [name, most] = [...bySource].reduce(
        (found, one) => (bytesOf(one[1]) > bytesOf(found[1]) ? one : found),
        [own, bySource.get(own) ?? []],
      );
      const ownBytes = bytesOf(bySource.get(own) ?? []) + newcomer.bytes;
      if (name !== own && bytesOf(most) - lacking >= ownBytes) {
        // What has come already is of no use to whoever it would be taken from.
        return most.filter(({ staleAt }) => staleAt < Infinity).sort((a, b) => b.bytes - a.bytes);
      }
    }
    return [];
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

function bytesOf(holders: readonly BudgetHolder[]): number {
  return holders.reduce((sum, { bytes }) => sum + bytes, 0);
}
