import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBridge, openTestSwitch } from './fixture.ts';

/** A little file system of its own, where this machine lets us have one. */
async function smallDisk(): Promise<({ dir: string } & AsyncDisposable) | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dir]).status === 0;
  const close = async () => {
    if (mounted) {
      spawnSync('umount', ['-l', dir]);
    }
    await rm(dir, { recursive: true, force: true });
  };
  if (!mounted) {
    await close();
    return undefined;
  }
  return { dir, [Symbol.asyncDispose]: close };
}

test('a full disk refuses writes, lets everybody read, and is written again once there is room', async t => {
  await using at = await smallDisk();
  if (at === undefined) {
    t.skip('needs a file system of its own');
    return;
  }
  const dir = join(at.dir, 'data');
  const ballast = join(at.dir, 'ballast');
  /** Leaves a MiB, for the log to grow into: then there is none for the database. */
  const fill = async () => {
    await writeFile(ballast, new Uint8Array(16 * 1024 * 1024)).catch(() => undefined);
    await truncate(ballast, (await stat(ballast)).size - 1024 * 1024);
  };
  {
    const lxmf = memoryBridge();
    await using hub = await openTestSwitch({ dir, bridges: [lxmf] });
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'before' });
    await fill();
    const text = 'x'.repeat(100_000);
    const refused = { code: 'store/full', retryable: true };
    for (let n = 0; n < 3; n++) {
      await assert.rejects(async () => {
        for (;;) {
          await hub.desk.messages.post(hub.owner, { to: 'app:owner', text });
        }
      }, refused);
      // Long enough for an idle writer to try to fold its log back.
      await new Promise(resolve => setTimeout(resolve, 400));
      assert.equal(hub.desk.health().ready, true);
      assert.equal((await hub.desk.inbox.read(hub.owner, { limit: 1 })).items[0]?.message.text, 'before');
    }
    await rm(ballast);
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'after' });
  }
  {
    await using hub = await openTestSwitch({ dir });
    assert.equal((await hub.desk.inbox.read(hub.owner, { limit: 1 })).items[0]?.message.text, 'before');
  }
});
