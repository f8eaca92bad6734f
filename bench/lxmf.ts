import { quantile, rowOf } from './figures.ts';
import { measureHubs } from './hubs.ts';
import { measurePair } from './pair.ts';
import type { Row } from './row.ts';
import type { Sample } from './task.ts';

const sequence = { count: 500, warmup: 100, size: 100, mode: 'sequential' } as const;
const burst = { count: 300, warmup: 100, size: 100, mode: 'burst' } as const;

const ownSleep =
  'the reference is held up by a sleep of its own, not by its work: whoever queues a message while its outbound pass runs is put to sleep for 50 ms';
const wholeWay =
  'two real daemons, each with its store on disk: from the POST to one until its event says delivered; the reference beside it stores nothing';

/** LXMF messages of 100 B over an open link: the reference's, ours in memory, and ours through two gateways with everything on disk. */
export async function bench(rounds: number): Promise<Row[]> {
  const one = await measureAll(rounds, sequence);
  const many = await measureAll(rounds, burst);
  const at = (share: number) => (sample: Sample) => quantile(sample.each, share);
  const rate = (sample: Sample) => (burst.count * 1000) / sample.total;
  const name = 'LXMF direct, one at a time';
  const queued = `LXMF direct, ${burst.count} queued at once`;
  return [
    rowOf(`${name}, p50`, 'ms', both(one, 'ours', at(0.5)), { bound: { atMost: 'reference' } }),
    rowOf(`${name}, p99`, 'ms', both(one, 'ours', at(0.99))),
    rowOf(`${name}, durable, p50`, 'ms', both(one, 'durable', at(0.5)), {
      bound: { atMost: 5 },
      note: wholeWay,
    }),
    rowOf(`${name}, durable, p99`, 'ms', both(one, 'durable', at(0.99)), { note: wholeWay }),
    rowOf(queued, 'messages/s', both(many, 'ours', rate), { bound: { atLeast: 500 }, note: ownSleep }),
    rowOf(`${queued}, durable`, 'messages/s', both(many, 'durable', rate), { note: wholeWay }),
  ];
}

interface Measured {
  readonly reference: readonly Sample[];
  readonly ours: readonly Sample[];
  readonly durable: readonly Sample[];
}

async function measureAll(rounds: number, asked: typeof sequence | typeof burst): Promise<Measured> {
  const reference: Sample[] = [];
  const ours: Sample[] = [];
  const durable: Sample[] = [];
  for (let round = 0; round < rounds; round++) {
    const theirs = await measurePair('reference', 'lxmf', asked);
    reference.push(...(theirs === undefined ? [] : [theirs]));
    ours.push((await measurePair('ours', 'lxmf', asked)) as Sample);
    durable.push(await measureHubs(asked));
  }
  return { reference, ours, durable };
}

function both(
  { reference, ...measured }: Measured,
  whose: 'ours' | 'durable',
  figure: (sample: Sample) => number,
): { ours: number[]; reference: number[] } {
  return { ours: measured[whose].map(figure), reference: reference.map(figure) };
}
