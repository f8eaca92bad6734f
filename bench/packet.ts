import { quantile, rowOf } from './figures.ts';
import { interleaved } from './pair.ts';
import type { Row } from './row.ts';

const count = 3000;

/** Encrypted single packets of 100 B, each proven. */
export async function bench(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const window of [1, 8]) {
    const { ours, reference } = await interleaved(rounds, 'packet', {
      count,
      warmup: 3000,
      size: 100,
      window,
    });
    const name = `packet with proof, window ${window}`;
    rows.push(
      rowOf(name, 'packets/s', {
        ours: ours.map(({ total }) => (count * 1000) / total),
        reference: reference.map(({ total }) => (count * 1000) / total),
      }),
      rowOf(`${name}, p50`, 'ms', {
        ours: ours.map(({ each }) => quantile(each, 0.5)),
        reference: reference.map(({ each }) => quantile(each, 0.5)),
      }),
    );
  }
  return rows;
}
