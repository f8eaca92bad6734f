import { seededRandom } from '../../sim/random.ts';

/** What a life leaves to chance, the same again for the same seed. */
export interface Chance {
  /** A whole number in [0, n). */
  below(n: number): number;
  odds(part: number): boolean;
  pick<T>(list: readonly T[]): T;
}

export function createChance(seed: number): Chance {
  const { fraction } = seededRandom(seed);
  const below = (n: number) => Math.floor(fraction() * n);
  return {
    below,
    odds: part => fraction() < part,
    pick: <T>(list: readonly T[]) => list[below(list.length)] as T,
  };
}
