import { startDaemon } from '../test/e2e/daemon.ts';
import { startChild } from './child.ts';
import { median, rowOf } from './figures.ts';
import type { LoadResult, LoadTask } from './post-load.ts';
import type { Row } from './row.ts';
import { threadTimes } from './threads.ts';

const inFlight = 64;
/** ms of each measurement, and of what comes before it: compiling, and the connections. */
const span = 4000;
const warmup = 3000;

const beside = 'the reference is fastify answering with the body it was sent, in the same round';

interface Measured extends LoadResult {
  /** µs of processor time for each answer. */
  readonly main: number;
  readonly writer: number;
  /** The whole server, and the program that loads it. */
  readonly server: number;
  readonly load: number;
}

/** Messages posted to a daemon over HTTP, each answered when it is on disk, beside bare fastify. */
export async function bench(rounds: number): Promise<Row[]> {
  const ours: Measured[] = [];
  const echo: Measured[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measureHub());
    echo.push(await measureEcho());
  }
  const rate = ({ answered, took }: LoadResult) => (answered * 1000) / took;
  const name = `POST a message, ${inFlight} in flight`;
  const both = (figure: (result: Measured) => number) => ({
    ours: ours.map(figure),
    reference: echo.map(figure),
  });
  const ratio = median(ours.map((one, round) => rate(one) / rate(echo[round]!)));
  const time = 'processor time of a POST';
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
    rowOf(
      `${time}, the server`,
      'µs',
      both(({ server }) => server),
    ),
    rowOf(
      `${time}, its main thread`,
      'µs',
      both(({ main }) => main),
    ),
    rowOf(`${time}, the writer`, 'µs', { ours: ours.map(({ writer }) => writer) }),
    rowOf(
      `${time}, the program that loads it`,
      'µs',
      both(({ load }) => load),
    ),
  ];
}

async function measureHub(): Promise<Measured> {
  const folder = process.env.BENCH_PROFILE;
  await using hub = await startDaemon({
    config: { log: 'warn' },
    ...(folder !== undefined && {
      environment: { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` },
    }),
  });
  const measured = await measure(hub.process.pid ?? 0, {
    port: Number(new URL(hub.ready.http).port),
    path: '/v1/messages',
    token: hub.ready.ownerToken ?? '',
    body: JSON.stringify({ to: 'app:owner', text: 'x'.repeat(100) }),
  });
  if (folder !== undefined) {
    await hub.stop();
  }
  return measured;
}

async function measureEcho(): Promise<Measured> {
  await using server = startChild('echo.ts');
  const { port } = await server.next<{ port: number }>();
  const body = JSON.stringify({ to: 'app:owner', text: 'x'.repeat(100) });
  return await measure(server.pid, { port, path: '/echo', token: 'none', body });
}

async function measure(
  pid: number,
  what: Pick<LoadTask, 'port' | 'path' | 'token' | 'body'>,
): Promise<Measured> {
  await using load = startChild('post-load.ts');
  await load.ask<LoadResult>({ ...what, inFlight, span: warmup, status: 201 });
  const before = { server: threadTimes(pid), load: threadTimes(load.pid) };
  const result = await load.ask<LoadResult>({ ...what, inFlight, span, status: 201 });
  const after = { server: threadTimes(pid), load: threadTimes(load.pid) };
  if (result.refused > 0) {
    throw new Error(`${result.refused} of ${result.answered + result.refused} were refused`);
  }
  const each = (time: number) => (time * 1000) / result.answered;
  const writer = 'store writer';
  return {
    ...result,
    main: each(after.server.main - before.server.main),
    writer: each(after.server.named(writer) - before.server.named(writer)),
    server: each(after.server.all - before.server.all),
    load: each(after.load.all - before.load.all),
  };
}
