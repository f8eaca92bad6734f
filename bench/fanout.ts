import { startDaemon } from '../test/e2e/daemon.ts';
import { type Child, startChild } from './child.ts';
import type { FanoutTask } from './fanout-clients.ts';
import { median, quantile, rowOf } from './figures.ts';
import { HubClient } from './hubs.ts';
import type { Row } from './row.ts';

const clients = 1000;
const perToken = 25;
const events = 60;
const warmup = 15;

const beside =
  'from the POST until all have it; the reference is ws alone, which sends a frame of the same length to all for each POST and keeps nothing';

/** One event to a thousand WebSocket clients, beside the same frame sent by bare `ws`. */
export async function bench(rounds: number): Promise<Row[]> {
  const ours: number[][] = [];
  const bare: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    const { times, frame } = await measureHub();
    ours.push(times);
    bare.push(await measureBare(frame));
  }
  const name = `an event to ${clients} WebSocket clients`;
  const both = (share: number) => ({
    ours: ours.map(times => quantile(times, share)),
    reference: bare.map(times => quantile(times, share)),
  });
  const ratio = median(ours.map((times, round) => quantile(bare[round]!, 0.5) / quantile(times, 0.5)));
  return [
    rowOf(`${name}, p50`, 'ms', both(0.5), { note: beside }),
    { name: `${name}, share of bare ws`, unit: 'x', ours: ratio, bound: { atLeast: 0.6 } },
    rowOf(`${name}, p99`, 'ms', both(0.99)),
  ];
}

async function measureHub(): Promise<{ times: number[]; frame: number }> {
  await using hub = await startDaemon({ config: { log: 'warn' } });
  const port = Number(new URL(hub.ready.http).port);
  const filter = { kinds: ['message.accepted'], types: ['bench.tick'] };
  const hello = [JSON.stringify({ op: 'hello' }), JSON.stringify({ op: 'subscribe', id: 'ticks', filter })];
  const tokens: string[] = [];
  for (let n = 0; n < clients / perToken; n++) {
    const body = { name: `listener-${n}`, scopes: ['admin'] };
    tokens.push((await hub.call<{ token: string }>('POST', '/v1/tokens', { body })).body.token);
  }
  await using listeners = await startClients({ port, path: '/v1/ws', tokens, clients, hello });
  await using one = await HubClient.connect(hub, filter);
  const post = () => one.post({ to: `app:owner`, text: 'tick', type: 'bench.tick' });
  const first = one.nextFrame();
  await post();
  const frame = await first;
  return { times: await measure(listeners, frame, post), frame };
}

async function measureBare(frame: number): Promise<number[]> {
  // A frame of this length has a head of four bytes.
  await using server = startChild('bare-ws.ts', String(frame));
  const { port } = await server.next<{ port: number }>();
  await using listeners = await startClients({ port, path: '/', tokens: ['none'], clients, hello: [] });
  return await measure(listeners, frame, async () => {
    await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{}' });
  });
}

async function startClients(task: FanoutTask): Promise<Child> {
  const listeners = startChild('fanout-clients.ts');
  await listeners.ask(task);
  return listeners;
}

/** ms from asking for an event until every client has its frame. */
async function measure(listeners: Child, frame: number, cause: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < events + warmup; n++) {
    // A cursor may have grown by a digit.
    await listeners.ask({ bytes: frame + 4 - 1 });
    const began = Number(process.hrtime.bigint());
    const caused = cause();
    const { at } = await listeners.next<{ at: number }>();
    await caused;
    times.push((at - began) / 1e6);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  return times.slice(warmup);
}
