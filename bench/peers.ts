import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rowOf } from './figures.ts';
import { servedBy, startServingHub } from './hubs.ts';
import { referencePython, serve } from './pair.ts';
import type { Row } from './row.ts';

const peers = 500;
/** ms after which a process is at rest. */
const rest = 8000;

/** Memory of a process that 500 peers are connected to, none of which says anything. */
export async function bench(rounds: number): Promise<Row[]> {
  const ours: number[] = [];
  const reference: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await memoryOfHub());
    if ((await referencePython()) !== undefined) {
      await using node = await serve('reference', 'forward');
      reference.push(await memoryWithPeers(node.answer.port, node.pid));
    }
  }
  return [
    rowOf(
      `memory with ${peers} idle TCP peers (VmRSS)`,
      'MB',
      { ours, reference },
      { bound: { atMost: 140 }, note: 'ours is the whole gateway, the reference a transport node alone' },
    ),
  ];
}

/** Of a second start, which has the compile cache. */
async function memoryOfHub(): Promise<number> {
  const data = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  try {
    {
      await using first = await startServingHub({ data });
      await first.stop();
    }
    await using hub = await startServingHub({ data });
    const memory = await memoryWithPeers(servedBy(hub).port, hub.process.pid ?? 0);
    await hub.stop();
    return memory;
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

async function memoryWithPeers(port: number, pid: number): Promise<number> {
  const sockets: Socket[] = [];
  try {
    for (let at = 0; at < peers; at++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      sockets.push(socket);
      await once(socket, 'connect');
    }
    await sleep(rest);
    const open = sockets.filter(({ destroyed }) => !destroyed).length;
    if (open < peers) {
      throw new Error(`${open} of ${peers} peers are connected`);
    }
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return (Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024) / 1e6;
  } finally {
    for (const socket of sockets) {
      socket.destroy();
    }
  }
}
