import { spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile, rowOf } from './figures.ts';
import { measureFrom, servedBy, startDiallingHub, startServingHub } from './hubs.ts';
import { measureWith } from './pair.ts';
import type { Probed } from './probe.ts';
import type { Row } from './row.ts';
import type { Sample } from './task.ts';

const sequence = { count: 500, warmup: 100, size: 100, mode: 'sequential' } as const;
const burst = { count: 300, warmup: 100, size: 100, mode: 'burst' } as const;

/** What durability costs: syncs of the disk for each message, and how long after its commit a message is proven. */
export async function bench(rounds: number): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  try {
    return [
      syncRow(rounds, join(folder, 'sync')),
      ...(await proofRows(rounds, folder)),
      ...(hasStrace() ? await syncRows(folder) : []),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the disk itself takes: the floor under every durable figure. */
function syncRow(rounds: number, path: string): Row {
  const page = new Uint8Array(8192);
  const file = openSync(path, 'w');
  try {
    const ours = Array.from({ length: rounds }, () => {
      const each = Array.from({ length: 200 }, (_, at) => {
        writeSync(file, page, 0, page.length, at * page.length);
        const began = performance.now();
        fsyncSync(file);
        return performance.now() - began;
      });
      return quantile(each, 0.5);
    });
    return rowOf('the disk: fsync of 8 KiB, nothing else, p50', 'ms', { ours });
  } finally {
    closeSync(file);
  }
}

interface Received {
  readonly sample: Sample;
  /** ms from the commit to the proof, of each message. */
  readonly lags: readonly number[];
}

async function proofRows(rounds: number, folder: string): Promise<Row[]> {
  const one: Received[] = [];
  const many: Received[] = [];
  for (let round = 0; round < rounds; round++) {
    one.push(await receive(sequence, join(folder, `one-${round}`)));
    many.push(await receive(burst, join(folder, `many-${round}`)));
  }
  const lag = (share: number) => (received: Received) => quantile(received.lags, share);
  const name = 'receiving hub, commit to proof';
  return [
    rowOf(`${name}, one at a time, p50`, 'ms', { ours: one.map(lag(0.5)) }),
    rowOf(`${name}, one at a time, p99`, 'ms', { ours: one.map(lag(0.99)) }),
    rowOf(`${name}, ${burst.count} at once, p99`, 'ms', { ours: many.map(lag(0.99)) }),
    rowOf(`receiving hub, LXMF accepted and proven, ${burst.count} at once`, 'messages/s', {
      ours: many.map(({ sample }) => (burst.count * 1000) / sample.total),
    }),
  ];
}

/** Messages from a node of ours that stores nothing to a hub that is watched. */
async function receive(asked: typeof sequence | typeof burst, file: string): Promise<Received> {
  const environment = {
    BENCH_PROBE: file,
    NODE_OPTIONS: `--import=${join(import.meta.dirname, 'probe.ts')}`,
  };
  await using hub = await startServingHub({ environment });
  const sample = await measureWith('ours', 'lxmf', asked, servedBy(hub));
  await hub.stop();
  const { commits, proofs } = JSON.parse(await readFile(file, 'utf8')) as Probed;
  if (commits.length !== proofs.length) {
    throw new Error(`${commits.length} messages were committed and ${proofs.length} proven`);
  }
  // Messages are committed, and proven, in the order they came.
  const lags = proofs.map((proof, at) => (proof - commits[at]!) / 1e6).slice(-asked.count);
  return { sample, lags };
}

async function syncRows(folder: string): Promise<Row[]> {
  const unit = 'syncs';
  const row = (name: string, syncs: number) =>
    rowOf(`fsyncs per message, ${name}`, unit, { ours: [syncs] }, { note: byStrace });
  return [
    row('receiving, one at a time', await syncsReceiving(sequence, join(folder, 'receiving'))),
    row(`receiving, ${burst.count} at once`, await syncsReceiving(burst, join(folder, 'receiving-burst'))),
    row('sending, one at a time', await syncsSending(sequence, join(folder, 'sending'))),
    row(`sending, ${burst.count} at once`, await syncsSending(burst, join(folder, 'sending-burst'))),
  ];
}

const byStrace =
  'fsync and fdatasync of the daemon as strace counts them; it slows the daemon down, so nothing else is measured then';

async function syncsReceiving(asked: typeof sequence | typeof burst, file: string): Promise<number> {
  await using hub = await startServingHub({ under: strace(file) });
  const served = servedBy(hub);
  return await syncsDuring(file, asked, async () => {
    await measureWith('ours', 'lxmf', asked, served);
  });
}

async function syncsSending(asked: typeof sequence | typeof burst, file: string): Promise<number> {
  await using there = await startServingHub();
  await using here = await startDiallingHub(servedBy(there).port, { under: strace(file) });
  return await syncsDuring(file, asked, async () => {
    await measureFrom(here, there, asked);
  });
}

/** Of each message, those before the measurement proper included. */
async function syncsDuring(
  file: string,
  { count, warmup }: { readonly count: number; readonly warmup: number },
  work: () => Promise<void>,
): Promise<number> {
  const before = await countSyncs(file);
  await work();
  await sleep(500);
  return ((await countSyncs(file)) - before) / (count + warmup);
}

async function countSyncs(file: string): Promise<number> {
  const text = await readFile(file, 'utf8');
  return text.match(/\b(?:fsync|fdatasync)\(/g)?.length ?? 0;
}

/** With -D the daemon is our own child, and strace a grandchild that ends with it. */
function strace(file: string): string[] {
  return ['strace', '-D', '-f', '-qq', '-e', 'trace=fsync,fdatasync', '-o', file];
}

function hasStrace(): boolean {
  const { status } = spawnSync('strace', ['-qq', '-e', 'trace=fsync', 'true'], { stdio: 'ignore' });
  if (status !== 0) {
    console.error('  strace is not here or may not trace: fsyncs are not counted');
  }
  return status === 0;
}
