import { quantile, rowOf } from './figures.ts';
import { interleaved, measurePair, type Side } from './pair.ts';
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
  return [...rows, await besideOutstanding(rounds)];
}

/** The same while 900 receipts of other packets are waited for: the reference tries each proof on all of them, so it is asked for few. */
async function besideOutstanding(rounds: number): Promise<Row> {
  const rates: Record<Side, number[]> = { reference: [], ours: [] };
  const counts: Record<Side, number> = { reference: 40, ours: count };
  for (let round = 0; round < rounds; round++) {
    for (const side of ['reference', 'ours'] as const) {
      const asked = { count: counts[side], warmup: 3000, size: 100, window: 8, outstanding: 900 };
      const sample = await measurePair(side, 'packet', asked);
      if (sample !== undefined) {
        rates[side].push((asked.count * 1000) / sample.total);
      }
    }
  }
  return rowOf('packet with proof, window 8, 900 receipts outstanding', 'packets/s', rates, {
    note: `of the reference ${counts.reference} packets are measured, of ours ${count}`,
  });
}
