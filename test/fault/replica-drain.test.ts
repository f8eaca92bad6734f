import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, openBench } from '../gateway/replicas/bench.ts';
import { startNotesOrigin } from '../sim/origins/notes.ts';

const writes = 2000;
const mebibyte = 1024 * 1024;

test(`${writes} writes that waited are delivered once and in order, in the memory of a few`, async t => {
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline' });
  const text = 'x'.repeat(16 * 1024);
  for (let number = 0; number < writes; number++) {
    const made = await bench.write('POST', '/notes', { title: `note ${number}`, text });
    assert.equal(made.status, 201);
  }
  assert.equal(bench.writes.verbs.counts('notes').waiting, writes);
  // What the origin of this test keeps in this same process, so that it can be told from what the queue does.
  const before = process.memoryUsage();
  bench.link('online');
  let most = 0;
  await eventually('all are delivered', async () => {
    await new Promise(resolve => setTimeout(resolve, 100));
    origin.seen.length = 0;
    most = Math.max(most, process.memoryUsage().external - before.external);
    return bench.writes.verbs.counts('notes').waiting === 0;
  });
  const titles = origin
    .notes()
    .map(({ title }) => title)
    .reverse();
  assert.deepEqual(
    titles,
    Array.from({ length: writes }, (_, number) => `note ${number}`),
  );
  t.diagnostic(
    `${(most / mebibyte).toFixed(1)} MiB of buffers at most, ${((writes * text.length) / mebibyte).toFixed(0)} MiB of bodies`,
  );
  assert.ok(most < 24 * mebibyte, 'bodies are read when they are sent, not kept');
});
