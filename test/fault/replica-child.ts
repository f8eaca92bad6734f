import { openBench } from '../gateway/replicas/bench.ts';
import { seededRandom } from '../sim/random.ts';

/**
 * The write side of a replica as a process that can be killed: writes notes one after the other, each under a key made
 * of its number, tells on stdout which were answered, and goes offline and online as it likes. With `drain` it writes
 * nothing and ends when nothing waits any more. What it likes follows from the last argument, a seed.
 */
const [url, dir, first, what, seed] = process.argv.slice(2) as [string, string, string, string, string?];

const bench = await openBench({ url, dir, timeout: 300 });
const tell = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);

if (what === 'drain') {
  while (bench.writes.verbs.queue('notes').length > 0) {
    const row = bench.writes.verbs.queue('notes')[0];
    tell({ waits: row?.state, reason: row?.reason });
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  tell({ drained: true });
  await bench.stop();
} else {
  const { fraction } = seededRandom(Number(seed));
  tell({ ready: true });
  for (let number = Number(first); ; number++) {
    if (fraction() < 0.2) {
      bench.link(fraction() < 0.5 ? 'offline' : 'online');
    }
    const made = await bench.write(
      'POST',
      '/notes',
      { title: `note ${number}` },
      { headers: { 'Idempotency-Key': `key-${number}` } },
    );
    const id = made.body.id ?? made.header('location')?.split('/').at(-1);
    tell({ number, status: made.status, id });
    const edited = await bench.write(
      'PATCH',
      `/notes/${id}`,
      { text: `text ${number}` },
      { headers: { 'Idempotency-Key': `edit-${number}` } },
    );
    tell({ edited: number, status: edited.status });
  }
}
