import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { seededRandom } from '../sim/random.ts';

/** Runs the sender until it has sent for a while, kills it, and gives what it knew and what it sent. */
async function killed(folder: string, sends: number): Promise<{ known: number; sent: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'airtime-child.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen = { known: 0, sent: 0 };
  let count = 0;
  const lines = createInterface(child.stdout);
  lines.on('line', line => {
    const [what, ms] = line.split(' ');
    if (what === 'known') {
      seen.known = Number(ms);
    } else {
      seen.sent += Number(ms);
      count += 1;
      if (count === sends) {
        child.kill('SIGKILL');
      }
    }
  });
  await Promise.all([once(child, 'exit'), once(lines, 'close')]);
  return seen;
}

test('a radio killed -9 at any moment never knows of less airtime than it has used, and loses little', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kos-airtime-'));
  try {
    const random = seededRandom(9);
    let used = 0;
    for (let round = 0; round < 12; round++) {
      const { known, sent } = await killed(folder, 1 + Math.floor(random.fraction() * 150));
      assert.ok(known >= used, `${known} ms known of ${used} after ${round} kills`);
      assert.ok(known <= used + round * 2100, `${known} ms known of ${used} after ${round} kills`);
      used += sent;
    }
    assert.ok(used > 10_000);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
