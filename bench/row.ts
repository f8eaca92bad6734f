/**
 * One line of a benchmark: ours, and the reference's of the same run where it has one. Where it was
 * measured more than once a figure is the median, and its spread says between what it moved.
 */
export interface Row {
  readonly name: string;
  readonly ours: number;
  readonly reference?: number;
  /** What is counted; units that end in `/s` are better high, all others better low. */
  readonly unit: string;
  /** How many times better than the reference: above 1 we are, whichever way the unit counts. Left out, it is worked out. */
  readonly ratio?: number;
  readonly spread?: Spread;
  readonly referenceSpread?: Spread;
  readonly bound?: Bound;
  readonly note?: string;
}

/** Least and most. */
export type Spread = readonly [number, number];

/** What ours must hold: a number in the row's unit, or the reference's figure of the same run. */
export type Bound = { readonly atMost: number | 'reference' } | { readonly atLeast: number | 'reference' };
