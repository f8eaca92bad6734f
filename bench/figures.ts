import type { Row, Spread } from './row.ts';

/** A row of what each round gave. */
export function rowOf(
  name: string,
  unit: string,
  rounds: { readonly ours: readonly number[]; readonly reference?: readonly number[] },
  more: Pick<Row, 'bound' | 'note'> = {},
): Row {
  const { ours, reference = [] } = rounds;
  const compared =
    reference.length === 0 ? {} : { reference: median(reference), referenceSpread: spreadOf(reference) };
  return { name, unit, ours: median(ours), spread: spreadOf(ours), ...compared, ...more };
}

/** The row with its ratio, where there is a reference to compare with. */
export function withRatio(row: Row): Row {
  const { ours, reference, unit, ratio } = row;
  if (ratio !== undefined || reference === undefined) {
    return row;
  }
  return { ...row, ratio: unit.endsWith('/s') ? ours / reference : reference / ours };
}

/** Whether ours holds its bound; undefined where it has none, or none can be told. */
export function holds({ ours, reference, bound }: Row): boolean | undefined {
  if (bound === undefined) {
    return undefined;
  }
  const wanted = 'atMost' in bound ? bound.atMost : bound.atLeast;
  const limit = wanted === 'reference' ? reference : wanted;
  if (limit === undefined) {
    return undefined;
  }
  return 'atMost' in bound ? ours <= limit : ours >= limit;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share `at` of them lies, by linear interpolation; NaN of none. */
export function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * at;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}

function spreadOf(values: readonly number[]): Spread {
  return [Math.min(...values), Math.max(...values)];
}
