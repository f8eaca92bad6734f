import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, openBench } from '../gateway/replicas/bench.ts';
import { fillDisk, noSmallDisk, smallDisk } from '../gateway/small-disk.ts';
import { startNotesOrigin } from '../sim/origins/notes.ts';

test('on a full disk writes are refused and nothing kept is lost; with room they go on, each once', async t => {
  await using disk = await smallDisk();
  if (disk === undefined) {
    t.skip(noSmallDisk);
    return;
  }
  await using origin = await startNotesOrigin();
  await using bench = await openBench({ url: origin.url, at: 'offline', dir: disk.dir });
  const kept: string[] = [];
  const first = await bench.write('POST', '/notes', { title: 'before' });
  kept.push('before');
  const free = await fillDisk(disk.dir, 0);
  for (let n = 0; ; n++) {
    assert.ok(n < 1000, 'a full disk refuses in the end');
    try {
      await bench.write('POST', '/notes', { title: `note ${n}`, text: 'x'.repeat(4000) });
      kept.push(`note ${n}`);
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'store/full');
      break;
    }
  }
  assert.equal((await bench.read(`/notes/${first.body.id}`)).body.title, 'before', 'what waits is shown');
  bench.link('online');
  await eventually(
    'it has tried to go on',
    () => bench.counters.get('replica/outbox/unwritten') > 0 || origin.effects.length > 0,
  );
  await free();
  await eventually('all are delivered', () => bench.writes.verbs.queue('notes').length === 0);
  assert.deepEqual(
    origin
      .notes()
      .map(({ title }) => title)
      .reverse(),
    kept,
  );
});
