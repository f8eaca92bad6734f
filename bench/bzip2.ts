import { spawnSync } from 'node:child_process';
import { compress } from '../src/lib/bzip2/compress.ts';
import { decompress } from '../src/lib/bzip2/decompress.ts';
import { GatewayError } from '../src/lib/errors.ts';
import { seededRandom } from '../test/sim/random.ts';
import type { Row } from './row.ts';

const size = 10_000_000;
const rounds = 3;

const script = `
import bz2, sys, time
d = sys.stdin.buffer.read()
t = time.perf_counter(); z = bz2.compress(d); c = time.perf_counter() - t
t = time.perf_counter(); bz2.decompress(z); print(c, time.perf_counter() - t, len(z))
`;

/** bzip2 of 10 MB of text, ours against Python's bz2, which is libbz2 in C. */
export async function bench(): Promise<Row[]> {
  const text = sampleText();
  const { stdout, status } = spawnSync('python3', ['-c', script], { input: text, encoding: 'utf8' });
  if (status !== 0) {
    throw new GatewayError('internal', 'the reference did not run');
  }
  const [compressing, decompressing, length] = stdout.split(' ').map(Number) as [number, number, number];
  let stream = compress(text);
  const ours = {
    compress: fastest(() => {
      stream = compress(text);
    }),
    decompress: fastest(() => decompress(stream, { limit: size })),
  };
  return [
    row('bzip2 compress', size / 1e6 / ours.compress, size / 1e6 / compressing, 'MB/s'),
    row('bzip2 decompress', size / 1e6 / ours.decompress, size / 1e6 / decompressing, 'MB/s'),
    row('bzip2 size', stream.length, length, 'bytes'),
  ];
}

/** Words drawn unevenly from a vocabulary. */
function sampleText(): Uint8Array {
  const random = seededRandom(1);
  const words = Array.from({ length: 20_000 }, () => random.bytes(1 + random.fraction() * 5).toHex());
  const text = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    at += text.write(`${words[Math.floor(random.fraction() ** 3 * words.length)]} `, at);
  }
  return text;
}

/** Seconds. */
function fastest(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    work();
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

function row(name: string, ours: number, reference: number, unit: string): Row {
  return { name, ours, reference, unit };
}
