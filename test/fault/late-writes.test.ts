import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { memoryBridge, openTestSwitch, until } from '../gateway/fixture.ts';
import { ManualClock } from '../sim/clock.ts';

test('what was delivered while the store had no writer is delivered once, however much it was, and is in its rows afterwards', async () => {
  const count = 5200;
  const lxmf = memoryBridge('lxmf', { concurrency: 64 });
  const open = Promise.withResolvers<void>();
  lxmf.respond = async () => {
    await open.promise;
    return { state: 'delivered' };
  };
  const writers: Worker[] = [];
  const clock = new ManualClock();
  await using hub = await openTestSwitch({
    bridges: [lxmf],
    clock,
    store: { clock, onWriter: worker => writers.push(worker) },
  });
  await lxmf.port;
  const posts = Array.from({ length: count }, (_, n) =>
    hub.desk.messages.post(hub.owner, {
      to: `lxmf:${n.toString(16).padStart(32, '0')}`,
      text: `${n}`,
    }),
  );
  const messages = await Promise.all(posts);
  await until(() => {
    void clock.advance(100);
    return hub.store.committer.waiting === 0;
  });
  await writers.at(-1)?.terminate();
  await until(() => !hub.desk.health().ready);
  open.resolve();
  await until(() => lxmf.delivered.length >= count && hub.desk.health().queued === 0);
  await until(() => {
    void clock.advance(1000);
    return writers.length === 2 && hub.desk.health().ready;
  });
  const last = await hub.desk.messages.post(hub.owner, { to: `lxmf:${'f'.repeat(32)}`, text: 'last' });
  await until(() => lxmf.delivered.some(({ message }) => message.id === last.message.id));
  const ids = lxmf.delivered.map(({ id }) => id);
  assert.equal(ids.length - new Set(ids).size, 0, 'deliveries made twice');
  await until(() => {
    void clock.advance(1000);
    return messages.every(
      ({ message }) => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state === 'delivered',
    );
  });
});
