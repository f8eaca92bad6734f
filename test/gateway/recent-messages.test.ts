import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../src/gateway/message.ts';
import { createRecentMessages } from '../../src/gateway/recent-messages.ts';
import { memoryBridge, openTestSwitch, until } from './fixture.ts';

const message = (id: string) => ({ id, text: id }) as Message;

test('of recent messages a bounded number and length is kept, the newest ones', () => {
  const recent = createRecentMessages();
  for (let n = 0; n < 1000; n++) {
    recent.keep(message(`${n}`), 100, []);
  }
  assert.equal(recent.message('0'), undefined);
  assert.equal(recent.message('999')?.id, '999');
  for (let n = 0; n < 20; n++) {
    recent.keep(message(`large ${n}`), 100_000, []);
  }
  assert.equal(recent.message('999'), undefined);
  assert.equal(recent.message('large 19')?.id, 'large 19');
  recent.keep(message('too large'), 1_000_000, []);
  assert.equal(recent.message('too large'), undefined);
});

test('a message that is kept again is there as it was kept last, and after all were forgotten others are kept as before', () => {
  const recent = createRecentMessages();
  for (let n = 0; n < 100; n++) {
    recent.keep(message('again'), 128 * 1024, n === 99 ? ['app:a'] : []);
    assert.equal(recent.message('again')?.id, 'again');
  }
  recent.keep(message('other'), 128 * 1024, []);
  assert.equal(recent.wentTo('again', 'app:a'), true);
  assert.equal(recent.wentTo('again', 'app:b'), false);
  recent.forget();
  assert.equal(recent.wentTo('again', 'app:a'), undefined);
  for (let n = 0; n < 300; n++) {
    recent.keep(message(`m${n}`), 100, []);
  }
  assert.equal(recent.message('m43'), undefined);
  assert.equal(recent.message('m44')?.id, 'm44');
});

test('what was prepared is given for its own delivery, until the rows say something else', () => {
  const recent = createRecentMessages();
  const bytes = new Uint8Array([1]);
  recent.keep(message('a'), 10, ['app:one'], { delivery: 'd', bytes });
  assert.equal(recent.wentTo('a', 'app:one'), true);
  assert.equal(recent.wentTo('a', 'app:two'), false);
  assert.equal(recent.wentTo('b', 'app:two'), undefined);
  assert.equal(recent.prepared('a', 'd'), bytes);
  assert.equal(recent.prepared('a', 'e'), undefined);
  recent.forget();
  assert.equal(recent.prepared('a', 'd'), undefined);
  assert.equal(recent.message('a'), undefined);
});

test('a message that is delivered at once costs a commit when it is accepted and one when it is over', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = async delivery => {
    await (await lxmf.port).report(delivery.id, { state: 'sent' });
    return { state: 'delivered', remoteId: `${delivery.message.text} there` };
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await lxmf.port;
  const posts: string[] = [];
  const over = (id: string) =>
    hub.desk.messages
      .get(hub.owner, id)
      .deliveries[0]?.history.map(({ state }) => state)
      .join(' ');
  const before = hub.store.committer.commits;
  for (let n = 0; n < 20; n++) {
    const { message } = await hub.desk.messages.post(hub.owner, {
      to: `lxmf:${'a'.repeat(32)}`,
      text: `${n}`,
    });
    posts.push(message.id);
    await until(() => over(message.id) === 'queued sending sent delivered');
  }
  // Others write as well: the sweep, the directory.
  const commits = hub.store.committer.commits - before;
  assert.ok(commits <= 20 * 2.5, `${commits} commits`);
  for (const [n, id] of posts.entries()) {
    assert.deepEqual(hub.store.read.remoteIds('lxmf', id), [`${n} there`]);
  }
});

test('a reader that follows is told the same as one that comes later', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { cursor } = hub.desk.events;
  const followed: unknown[] = [];
  let at = cursor;
  const stop = hub.desk.events.onCommit(() => {
    const { items, cursor: next } = hub.desk.events.read(hub.owner, at);
    followed.push(...items);
    at = next;
  });
  for (let n = 0; n < 20; n++) {
    await hub.desk.messages.post(hub.owner, {
      to: n % 2 ? 'app:owner' : `lxmf:${'b'.repeat(32)}`,
      text: `${n}`,
    });
  }
  await until(() => lxmf.delivered.length === 10 && hub.desk.health().queued === 0);
  await until(() => hub.store.committer.waiting === 0);
  stop();
  // The tail is left behind: this is read from the disk.
  await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'last' });
  const later = hub.desk.events.read(hub.owner, cursor, 1000).items;
  assert.ok(followed.length >= 20 * 2);
  assert.deepEqual(followed, later.slice(0, followed.length));
});

test('whoever only watches marks nothing, and whoever a message is for does', async () => {
  await using hub = await openTestSwitch();
  const { client } = await hub.client('reader', { scopes: ['admin'] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'mine' });
  const state = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state;
  const before = hub.store.committer.waiting;
  const watched = hub.desk.inbox.pushed(client, [message.id]);
  assert.equal(hub.store.committer.waiting, before);
  await watched;
  assert.equal(state(), 'queued');
  await hub.desk.inbox.pushed(hub.owner, [message.id]);
  assert.equal(state(), 'sent');
});
