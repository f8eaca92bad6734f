import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { startHub } from '../../src/start/hub.ts';
import { fillDisk, smallDisk } from '../gateway/small-disk.ts';

test('a start on a full disk says that it is full, and one with room again starts', async t => {
  await using at = await smallDisk();
  if (at === undefined) {
    t.skip('needs a file system of its own');
    return;
  }
  const data = join(at.dir, 'data');
  const open = () =>
    startHub({
      config: loadConfig({ keys: { listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' } }, data }),
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
    });
  const full = { code: 'store/full', message: /^the disk of .* is full \(0 KiB free\): the gateway needs/ };
  const makeRoom = await fillDisk(at.dir, 0);
  await assert.rejects(open, full, 'before the first start');
  await makeRoom();
  await (await open()).close();
  await fillDisk(at.dir, 0);
  await assert.rejects(open, full, 'at a later one');
  await makeRoom();
  await (await open()).close();
});
