import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { startHub } from '../../src/start/hub.ts';
import { until } from '../gateway/fixture.ts';
import { fillDisk, noSmallDisk, smallDisk } from '../gateway/small-disk.ts';

test('a first start on a full disk says that it is full; a later one serves what there is, refuses what comes, and goes on by itself once there is room', async t => {
  await using at = await smallDisk();
  if (at === undefined) {
    t.skip(noSmallDisk);
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
  const owner = (hub: Awaited<ReturnType<typeof open>>) => {
    const client = hub.desk.clients.list().find(({ name }) => name === 'owner');
    assert.ok(client);
    return client;
  };
  {
    const hub = await open();
    await hub.desk.messages.post(owner(hub), { to: 'app:owner', text: 'before' });
    await hub.close();
  }
  const makeRoomAgain = await fillDisk(at.dir, 0);
  for (let start = 0; start < 2; start++) {
    const hub = await open();
    try {
      const { items } = await hub.desk.inbox.read(owner(hub), { limit: 1, hold: true });
      assert.equal(items[0]?.message.text, 'before');
      const text = 'x'.repeat(200_000);
      await assert.rejects(
        async () => {
          for (;;) {
            await hub.desk.messages.post(owner(hub), { to: 'app:owner', text });
          }
        },
        { code: 'store/full', retryable: true },
      );
      await until(() => !hub.desk.health().ready);
      assert.match(hub.desk.health().failures.find(({ name }) => name === 'disk')?.reason ?? '', /^no room/);
      if (start === 1) {
        await makeRoomAgain();
        await hub.desk.messages.post(owner(hub), { to: 'app:owner', text: 'after' });
        await until(() => hub.desk.health().ready);
      }
    } finally {
      await hub.close();
    }
  }
});
