import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startDaemon } from '../e2e/daemon.ts';
import { missingStrace } from './strace.ts';

/** Calls of fdatasync and fsync so far. */
async function syncs(file: string): Promise<number> {
  return (await readFile(file, 'utf8')).split('\n').filter(line => /\b(?:fdatasync|fsync)\(/.test(line))
    .length;
}

test('a message is synced to the disk before its 201', {
  skip: missingStrace(),
}, async t => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-sync-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const trace = join(folder, 'trace');
  await using daemon = await startDaemon({
    under: ['strace', '-f', '-qq', '-e', 'trace=fdatasync,fsync', '-o', trace],
  });
  const posts = 20;
  for (let number = 0; number < posts; number++) {
    const before = await syncs(trace);
    const answer = await daemon.call('POST', '/v1/messages', {
      body: { to: 'app:owner', text: `note ${number}` },
    });
    assert.equal(answer.status, 201);
    assert.ok((await syncs(trace)) > before, `post ${number} was answered without a sync`);
  }
});
