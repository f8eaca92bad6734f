import { quantile, rowOf } from './figures.ts';
import { interleaved } from './pair.ts';
import type { Row } from './row.ts';

const count = 1000;

/** Links one after the other. */
export async function bench(rounds: number): Promise<Row[]> {
  const { ours, reference } = await interleaved(rounds, 'link', { count, warmup: 2000 });
  return [
    rowOf('link: set up and tear down, one after the other', 'links/s', {
      ours: ours.map(({ total }) => (count * 1000) / total),
      reference: reference.map(({ total }) => (count * 1000) / total),
    }),
    rowOf('link: request to established, p50', 'ms', {
      ours: ours.map(({ each }) => quantile(each, 0.5)),
      reference: reference.map(({ each }) => quantile(each, 0.5)),
    }),
  ];
}
