import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type MemoryBridge,
  memoryBridge,
  openTestSwitch,
  type TestSwitch,
  testHub,
} from '../test/gateway/fixture.ts';
import type { Row } from './row.ts';

/** ms each figure is measured for. */
const span = 1500;

/** How fast the switch takes messages in, durably, and gives them away. */
export async function bench(): Promise<readonly Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  try {
    const far = memoryBridge('mqtt', { concurrency: 1 });
    const mesh = memoryBridge('lxmf');
    await using hub = await openTestSwitch({
      dir,
      bridges: [far, mesh],
      limits: { queuedPerDestination: 100_000 },
    });
    const one = await accepts(hub, 1);
    const many = await accepts(hub, 64);
    const urgent = await urgentUnderLoad(hub, mesh);
    return [
      { name: 'accept, one at a time', ours: one.rate, unit: 'msg/s' },
      { name: 'accept, 64 in flight', ours: many.rate, unit: 'msg/s' },
      { name: 'processor time of an accept, 64 in flight', ours: many.processor, unit: 'ms' },
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

interface Accepts {
  /** Messages a second. */
  readonly rate: number;
  readonly syncs: number;
  /** ms of both threads. */
  readonly processor: number;
}

async function accepts(hub: TestSwitch, inFlight: number): Promise<Accepts> {
  const { commits } = hub.store.committer;
  const before = process.cpuUsage();
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
  const { user, system } = process.cpuUsage(before);
  return {
    rate: done / seconds,
    syncs: (hub.store.committer.commits - commits) / done,
    processor: (user + system) / 1000 / done,
  };
}

/** ms of each whole accept of a message from the mesh: reading, routing, commit and the way back. */
async function urgentUnderLoad(hub: TestSwitch, mesh: MemoryBridge): Promise<readonly number[]> {
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
    await mesh.say({ remoteId: `${begun}`, to: `lxmf:${testHub.lxmf}`, text: 'hello', urgent: true });
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
