import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');

test('the demonstration tells its whole story and ends by itself', { timeout: 180_000 }, async () => {
  const demo = spawn(process.execPath, [join(root, 'src', 'demo.ts')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let shown = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
  }
  const [code] = (await once(demo, 'close')) as [number | null];
  assert.equal(code, 0, shown);
  for (const line of [
    /its long poll returns: Yes, restart it\./,
    /Ada {2,}reads: greenhouse: temperature 21\.5/,
    /pump-app {2,}gets \{"device":"greenhouse"/,
    /pump-app {2,}reads: Coming down at four\./,
    /has, each once: Filter changed, Pump inspected/,
  ]) {
    assert.match(shown, line);
  }
});
