/**
 * Where the time of one durable message goes: `node bench/timeline.ts [COUNT]` sends messages one at a time from one
 * daemon to another and prints when each stage was reached after the POST, in ms. Each daemon is watched by `trace.ts`.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quantile } from './figures.ts';
import { HubClient, servedBy, startDiallingHub, startServingHub } from './hubs.ts';
import type { Traced } from './trace.ts';

/** A stage that fewer of the messages pass is not of their way. */
const commonShare = 0.2;

type Window = readonly [from: number, to: number];

/** One process's stages by name and number within a message, and their times after its POST in ms. */
function stagesOf(whose: string, notes: Traced, windows: readonly Window[]): Map<string, number[]> {
  const stages = new Map<string, number[]>();
  let at = 0;
  for (const [from, to] of windows) {
    const seen = new Map<string, number>();
    for (; at < notes.length && notes[at]![0] <= to; at++) {
      const [when, what] = notes[at]!;
      if (when < from) {
        continue;
      }
      const number = (seen.get(what) ?? 0) + 1;
      seen.set(what, number);
      const name = `${whose}  ${what}${number > 1 ? ` (${number})` : ''}`;
      stages.getOrInsertComputed(name, () => []).push((when - from) / 1e6);
    }
  }
  return stages;
}

const now = () => Number(process.hrtime.bigint());

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 500);
  const folder = await mkdtemp(join(tmpdir(), 'kos-timeline-'));
  const traced = (name: string) => ({
    environment: {
      BENCH_TRACE: join(folder, name),
      NODE_OPTIONS: `--import=${join(import.meta.dirname, 'trace.ts')}`,
    },
  });
  try {
    await using there = await startServingHub(traced('there'));
    await using here = await startDiallingHub(servedBy(there).port, traced('here'));
    const windows: Window[] = [];
    {
      await using client = await HubClient.connect(here);
      const to = `lxmf:${there.ready.lxmf}`;
      await client.send(to, 'x'.repeat(1000));
      for (let sent = 0; sent < count + 200; sent++) {
        const from = now();
        await client.send(to, 'x'.repeat(100));
        if (sent >= 200) {
          windows.push([from, now()]);
        }
      }
    }
    await here.stop();
    await there.stop();
    const notes = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8')) as Traced;
    const stages = [
      ...stagesOf('here ', await notes('here'), windows),
      ...stagesOf('there', await notes('there'), windows),
      ['the sender has heard', windows.map(([from, to]) => (to - from) / 1e6)] as const,
    ];
    const rows = stages
      .filter(([, times]) => times.length >= count * commonShare)
      .map(([stage, times]) => ({
        stage,
        share: (times.length / count).toFixed(2),
        p10: quantile(times, 0.1).toFixed(2),
        p50: quantile(times, 0.5).toFixed(2),
        p90: quantile(times, 0.9).toFixed(2),
      }))
      .sort((a, b) => Number(a.p50) - Number(b.p50));
    const pad = Math.max(...rows.map(({ stage }) => stage.length));
    console.log(`${'ms after the POST'.padEnd(pad)}  share    p10    p50    p90`);
    for (const { stage, share, p10, p50, p90 } of rows) {
      console.log(
        `${stage.padEnd(pad)}  ${share.padStart(5)} ${[p10, p50, p90].map(v => v.padStart(6)).join(' ')}`,
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
