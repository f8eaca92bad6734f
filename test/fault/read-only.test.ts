import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { openStore } from '../../src/gateway/store/store.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { startHub } from '../../src/start/hub.ts';
import { openTestSwitch, until } from '../gateway/fixture.ts';
import { missingPackage } from '../package.ts';

/**
 * A disk of its own that can fail: ext4 in a file, which the kernel makes read-only when told that it met an error. A
 * failure where `CI` is set, we are root and only the package is missing.
 */
async function failingDisk() {
  const folder = await mkdtemp(join(tmpdir(), 'kos-read-only-'));
  const image = join(folder, 'image');
  const mount = join(folder, 'disk');
  // Where programs of root are, which not every PATH names.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const run = (program: string, ...args: string[]) => spawnSync(program, args, { encoding: 'utf8', env });
  const { error } = run('mkfs.ext4', '-V');
  missingPackage('e2fsprogs', error === undefined);
  await mkdir(mount);
  await writeFile(image, new Uint8Array(24 * 1024 * 1024));
  const isThere =
    run('mkfs.ext4', '-q', image).status === 0 &&
    run('mount', '-o', 'loop,errors=remount-ro', image, mount).status === 0;
  const device = (await readFile('/proc/mounts', 'utf8').catch(() => ''))
    .split('\n')
    .find(line => line.split(' ')[1] === mount)
    ?.split(' ')[0];
  const trigger = `/sys/fs/ext4/${device?.split('/').at(-1)}/trigger_fs_error`;
  const close = async () => {
    run('umount', '-l', mount);
    await rm(folder, { recursive: true, force: true });
  };
  const fail = () =>
    writeFile(trigger, '1').then(
      () => true,
      () => false,
    );
  if (!isThere) {
    await close();
    return undefined;
  }
  return { dir: mount, fail, [Symbol.asyncDispose]: close };
}

test('a disk that fails and becomes read-only is named, refuses what comes and lets everybody read; a start on it says so and changes nothing', {
  timeout: 120_000,
}, async t => {
  await using at = await failingDisk();
  if (at === undefined) {
    t.skip('needs root, loop devices and e2fsprogs: apt-get install e2fsprogs');
    return;
  }
  const data = join(at.dir, 'data');
  {
    await using hub = await openTestSwitch({ dir: data });
    const post = (text: string) => hub.desk.messages.post(hub.owner, { to: 'app:owner', text });
    await post('before');
    if (!(await at.fail())) {
      t.skip('this kernel lets nobody make a file system fail');
      return;
    }
    await assert.rejects(
      async () => {
        for (;;) {
          await post('during');
        }
      },
      { code: 'store/unavailable', retryable: true },
    );
    await until(() =>
      hub.desk
        .health()
        .failures.some(
          ({ name, reason }) =>
            name === 'disk' && reason.startsWith('nothing can be stored: the store cannot be written: '),
        ),
    );
    assert.equal(hub.desk.health().ready, false);
    const { items } = await hub.desk.inbox.read(hub.owner, { limit: 1, hold: true });
    assert.equal(items[0]?.message.text, 'before');
  }
  const words = { code: 'store/unavailable', message: /is read-only: nothing can be stored there.*dmesg/ };
  await assert.rejects(openStore({ dir: data }), { code: 'store/unavailable' });
  await assert.rejects(
    startHub({
      config: loadConfig({ keys: { listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' } }, data }),
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
    }),
    words,
  );
});
