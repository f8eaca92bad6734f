import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryBridge, openTestSwitch, until } from './fixture.ts';
import { fillDisk, noSmallDisk, smallDisk } from './small-disk.ts';

test('a full disk refuses writes, lets everybody read, and is written again once there is room', async t => {
  await using at = await smallDisk();
  if (at === undefined) {
    t.skip(noSmallDisk);
    return;
  }
  const dir = join(at.dir, 'data');
  {
    const lxmf = memoryBridge();
    await using hub = await openTestSwitch({ dir, bridges: [lxmf] });
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'before' });
    // A MiB is left for the log to grow into: then there is none for the database.
    const makeRoom = await fillDisk(at.dir, 1024 * 1024);
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
      const { ready, failures } = hub.desk.health();
      assert.equal(ready, false);
      assert.match(
        failures.find(({ name }) => name === 'disk')?.reason ?? '',
        /^no room to store anything: /,
      );
      assert.equal((await hub.desk.inbox.read(hub.owner, { limit: 1 })).items[0]?.message.text, 'before');
    }
    await makeRoom();
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'after' });
    await until(() => hub.desk.health().ready);
  }
  {
    await using hub = await openTestSwitch({ dir });
    assert.equal((await hub.desk.inbox.read(hub.owner, { limit: 1 })).items[0]?.message.text, 'before');
  }
});
