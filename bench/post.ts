import { startDaemon } from '../test/e2e/daemon.ts';
import { startChild } from './child.ts';
import { median, rowOf } from './figures.ts';
import type { LoadResult, LoadTask } from './post-load.ts';
import type { Row } from './row.ts';

const inFlight = 64;
/** ms of each measurement, and of what comes before it: compiling, and the connections. */
const span = 4000;
const warmup = 3000;

const beside = 'the reference is fastify answering with the body it was sent, in the same round';

/** Messages posted to a daemon over HTTP, each answered when it is on disk, beside bare fastify. */
export async function bench(rounds: number): Promise<Row[]> {
  const ours: LoadResult[] = [];
  const echo: LoadResult[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measureHub());
    echo.push(await measureEcho());
  }
  const rate = ({ answered, took }: LoadResult) => (answered * 1000) / took;
  const name = `POST a message, ${inFlight} in flight`;
  const both = (figure: (result: LoadResult) => number) => ({
    ours: ours.map(figure),
    reference: echo.map(figure),
  });
  const ratio = median(ours.map((one, round) => rate(one) / rate(echo[round]!)));
  return [
    rowOf(name, 'messages/s', both(rate), { bound: { atLeast: 5000 }, note: beside }),
    { name: `${name}, share of bare fastify`, unit: 'x', ours: ratio, bound: { atLeast: 0.4 } },
    rowOf(
      `${name}, p50`,
      'ms',
      both(({ p50 }) => p50),
    ),
    rowOf(
      `${name}, p99`,
      'ms',
      both(({ p99 }) => p99),
    ),
  ];
}

async function measureHub(): Promise<LoadResult> {
  await using hub = await startDaemon({ config: { log: 'warn' } });
  return await measure({
    port: Number(new URL(hub.ready.http).port),
    path: '/v1/messages',
    token: hub.ready.ownerToken ?? '',
    body: JSON.stringify({ to: 'app:owner', text: 'x'.repeat(100) }),
  });
}

async function measureEcho(): Promise<LoadResult> {
  await using server = startChild('echo.ts');
  const { port } = await server.next<{ port: number }>();
  const body = JSON.stringify({ to: 'app:owner', text: 'x'.repeat(100) });
  return await measure({ port, path: '/echo', token: 'none', body });
}

async function measure(what: Pick<LoadTask, 'port' | 'path' | 'token' | 'body'>): Promise<LoadResult> {
  await using load = startChild('post-load.ts');
  await load.ask<LoadResult>({ ...what, inFlight, span: warmup, status: 201 });
  const result = await load.ask<LoadResult>({ ...what, inFlight, span, status: 201 });
  if (result.refused > 0) {
    throw new Error(`${result.refused} of ${result.answered + result.refused} were refused`);
  }
  return result;
}
