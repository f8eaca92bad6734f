import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch } from '../test/gateway/fixture.ts';
import type { Row } from './row.ts';

/** ms each figure is measured for. */
const span = 1500;

/** How fast the switch takes messages in, durably, and gives them away. */
export async function bench(): Promise<readonly Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  try {
    const far = memoryBridge('mqtt', { concurrency: 1 });
    await using hub = await openTestSwitch({
      dir,
      bridges: [far],
      limits: { queuedPerDestination: 100_000 },
    });
    const one = await accepts(hub, 1);
    const many = await accepts(hub, 64);
    const urgent = await urgentUnderLoad(hub);
    return [
      { name: 'accept, one at a time', ours: one.rate, unit: 'msg/s' },
      { name: 'accept, 64 in flight', ours: many.rate, unit: 'msg/s' },
      { name: 'syncs per accept, one at a time', ours: one.syncs, unit: 'syncs', bound: { atMost: 1.05 } },
      { name: 'syncs per accept, 64 in flight', ours: many.syncs, unit: 'syncs' },
      { name: 'urgent accept beside 64 others, p50', ours: percentile(urgent, 0.5), unit: 'ms' },
      {
        name: 'urgent accept beside 64 others, p99',
        ours: percentile(urgent, 0.99),
        unit: 'ms',
        bound: { atMost: 5 },
      },
      {
        name: 'deliveries to one destination',
        ours: await deliveries(hub, far),
        unit: 'msg/s',
        bound: { atLeast: 2000 },
      },
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

let sent = 0;

function post(hub: TestSwitch, to: string): Promise<unknown> {
  sent += 1;
  return hub.desk.messages.post(hub.owner, { to, text: `message ${sent}` });
}

async function accepts(hub: TestSwitch, inFlight: number): Promise<{ rate: number; syncs: number }> {
  const commits = hub.store.committer.commits;
  const start = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() - start < span) {
        await post(hub, 'app:owner');
        done += 1;
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  return { rate: done / seconds, syncs: (hub.store.committer.commits - commits) / done };
}

async function urgentUnderLoad(hub: TestSwitch): Promise<readonly number[]> {
  const start = performance.now();
  const busy = () => performance.now() - start < span * 2;
  const times: number[] = [];
  const load = Array.from({ length: 64 }, async () => {
    while (busy()) {
      await post(hub, 'app:owner');
    }
  });
  while (busy()) {
    const begun = performance.now();
    await hub.store.committer.commit(
      'blob.own',
      { sha256: `${begun}`, client: 'bench', at: 0 },
      { urgent: true },
    );
    times.push(performance.now() - begun);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  await Promise.all(load);
  return times;
}

/** Everything is accepted first; only giving away is measured. */
async function deliveries(hub: TestSwitch, far: MemoryBridge): Promise<number> {
  const total = 5000;
  const gate = Promise.withResolvers<void>();
  far.respond = async () => {
    await gate.promise;
    return { state: 'delivered' };
  };
  await Promise.all(Array.from({ length: total }, () => post(hub, 'mqtt:plaza')));
  const start = performance.now();
  gate.resolve();
  while (far.delivered.length < total) {
    await new Promise(resolve => setImmediate(resolve));
  }
  return total / ((performance.now() - start) / 1000);
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

if (import.meta.main) {
  console.table(await bench());
}
