import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, rowOf } from './figures.ts';
import { interleaved } from './pair.ts';
import type { Row } from './row.ts';

const size = 10_000_000;
/** The code is compiled by then, and the windows are as large as they get. */
const warmup = 10_000_000;

/** Resources of 10 MB over a link: random bytes as they are, and text that each side compresses as it likes. */
export async function bench(rounds: number): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-bench-'));
  try {
    const random = join(folder, 'random');
    const text = join(folder, 'text');
    await writeFile(random, randomBytes(size));
    await writeFile(text, madeText(size));
    const speed = (each: readonly number[]) => size / 1000 / median(each);
    const plain = await interleaved(rounds, 'resource', { count: 5, warmup, file: random, compress: false });
    const packed = await interleaved(rounds, 'resource', { count: 1, warmup, file: text, compress: true });
    return [
      rowOf('Resource, 10 MB random, no compression', 'MB/s', {
        ours: plain.ours.map(({ each }) => speed(each)),
        reference: plain.reference.map(({ each }) => speed(each)),
      }),
      rowOf('Resource, 10 MB text, automatic compression', 'MB/s', {
        ours: packed.ours.map(({ each }) => speed(each)),
        reference: packed.reference.map(({ each }) => speed(each)),
      }),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Words whose frequency falls off as in a language, the same at every run: bzip2 makes about a third of
 * it, as it does of prose.
 */
function madeText(bytes: number): string {
  let state = 1;
  const next = (below: number) => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state % below;
  };
  const letters = 'etaoinshrdlucmfwypvbgkjqxz';
  const letter = () => letters[Math.min(next(26), next(26))];
  const words = Array.from({ length: 20_000 }, () => Array.from({ length: 2 + next(9) }, letter).join(''));
  const lines: string[] = [];
  for (let length = 0; length < bytes; length += lines.at(-1)!.length) {
    const line = Array.from(
      { length: 12 },
      () => words[Math.floor((next(1 << 20) ** 3 / 2 ** 60) * words.length)],
    );
    lines.push(`${line.join(' ')}.\n`);
  }
  return lines.join('').slice(0, bytes);
}
