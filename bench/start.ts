import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rowOf } from './figures.ts';
import { startServingHub } from './hubs.ts';
import { referencePython, serve } from './pair.ts';
import type { Row } from './row.ts';

/** Starts of each kind: they vary more than what is measured over many messages. */
const starts = 5;
/** ms after which a daemon is at rest. */
const rest = 5000;

const theirs = 'the reference is a node with an LXMF router and nothing else: no store, no broker, no API';

/** From exec to the ready line, on a fresh data folder and on one that has the compile cache; and the memory held at rest. */
export async function bench(): Promise<Row[]> {
  const first: number[] = [];
  const second: number[] = [];
  const memory: number[] = [];
  const reference: number[] = [];
  const referenceMemory: number[] = [];
  for (let round = 0; round < starts; round++) {
    const data = await mkdtemp(join(tmpdir(), 'kos-bench-'));
    try {
      first.push(await startOnce(data));
      second.push(await startOnce(data, memory));
    } finally {
      await rm(data, { recursive: true, force: true });
    }
    if ((await referencePython()) !== undefined) {
      await using node = await serve('reference', 'lxmf');
      reference.push(node.took);
      await sleep(rest);
      referenceMemory.push(await residentMemory(node.pid));
    }
  }
  return [
    rowOf('start, first: exec to ready', 'ms', { ours: first, reference }, { note: theirs }),
    rowOf(
      'start, second: exec to ready',
      'ms',
      { ours: second, reference },
      { bound: { atMost: 800 }, note: theirs },
    ),
    rowOf(
      'memory at rest (VmRSS after 5 s)',
      'MB',
      { ours: memory, reference: referenceMemory },
      { bound: { atMost: 130 }, note: theirs },
    ),
  ];
}

/** ms to the ready line; its memory at rest goes into `memory`. */
async function startOnce(data: string, memory?: number[]): Promise<number> {
  await using hub = await startServingHub({ data });
  if (memory !== undefined) {
    await sleep(rest);
    memory.push(await residentMemory(hub.process.pid ?? 0));
  }
  await hub.stop();
  return hub.startedIn;
}

/** MB of a process that are in memory. */
async function residentMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return (Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024) / 1e6;
}
