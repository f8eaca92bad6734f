import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startDaemon } from '../e2e/daemon.ts';
import { missingProgram } from '../package.ts';

test('age itself opens a backup that kosctl made, and tar lists what is in it; kosctl restores it with the key', {
  skip: missingProgram('age', 'age', '--version'),
}, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-age-'));
  const at = (name: string) => join(folder.path, name);
  const run = (program: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(program, args);
    assert.equal(status, 0, String(stderr));
    return stdout;
  };
  run('age-keygen', '-o', at('key'));
  const recipient = String(run('age-keygen', '-y', at('key'))).trim();
  await using daemon = await startDaemon();
  const made = await daemon.kosctl('backup', at('hub.age'), '--recipient', recipient);
  assert.equal(made.code, 0, made.stderr);
  await writeFile(at('hub.tar'), run('age', '-d', '-i', at('key'), at('hub.age')));
  const names = String(run('tar', 'tf', at('hub.tar')))
    .trim()
    .split('\n');
  assert.equal(names[0], 'kos-backup.json');
  assert.equal(names.at(-1), 'manifest.json');
  for (const name of [
    'identity',
    'gateway.db',
    'mesh.db',
    'mqtt.db',
    'replica-outbox.db',
    'restored-kos.yaml',
  ]) {
    assert.ok(names.includes(name), name);
  }
  const checked = await daemon.kosctl('restore', at('hub.age'), '--identity', at('key'), '--check', '--json');
  assert.equal(JSON.parse(checked.stdout).head.hub, daemon.ready.hub);
  const running = await daemon.kosctl('restore', at('hub.age'), '--identity', at('key'), '--force');
  assert.equal(running.code, 1);
  assert.match(running.stderr, /is in use by another gateway/);
});
