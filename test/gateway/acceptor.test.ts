import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { InboxPage } from '../../src/gateway/desk.ts';
import { longestLifetime } from '../../src/gateway/message.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { memoryBridge, openTestSwitch, until } from './fixture.ts';

const impossible = [1e16, Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, 2 ** 63];

test('a time that no row can hold is refused, from whatever bridge it comes', async () => {
  const lxmf = memoryBridge();
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  for (const time of impossible) {
    for (const member of ['sentAt', 'expiresAt']) {
      await assert.rejects(lxmf.say({ remoteId: `${member}${time}`, to: 'app:owner', [member]: time }), {
        code: 'request/invalid',
      });
    }
    await assert.rejects(hub.client('late', { expiresAt: time }), { code: 'request/invalid' });
    (await lxmf.port).seen(lxmf.name, { at: time });
    (await lxmf.port).seen(lxmf.name, { at: 1, hops: time });
  }
  assert.deepEqual((await hub.desk.inbox.read(hub.owner, {})).items, []);
  assert.deepEqual(hub.desk.directory.list(hub.owner, {}).items, []);
});

test('nothing is kept for longer than a year, whatever its sender asks for', async () => {
  await using hub = await openTestSwitch();
  const expiresAt = Date.now() + 10 * longestLifetime;
  const { message } = await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: '', expiresAt });
  assert.equal(message.expiresAt, message.acceptedAt + longestLifetime);
});

test('a row that cannot be as it is hides no other, at the start and in an inbox', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-poison-'));
  try {
    const peer = `lxmf:${'ab'.repeat(16)}`;
    const before = await openTestSwitch({ dir, bridges: [] });
    await before.desk.messages.post(before.owner, { to: 'app:owner', text: 'unreadable' });
    await before.desk.messages.post(before.owner, { to: 'app:owner', text: 'kept for ever' });
    await before.desk.messages.post(before.owner, { to: 'app:owner', text: 'whole' });
    await before.stop();
    {
      using database = new DatabaseSync(join(dir, 'gateway.db'));
      database.exec(`
        UPDATE messages SET body = '{' WHERE seq = 1;
        UPDATE deliveries SET expires_at = 10000000000000000 WHERE seq = 2;
        INSERT INTO deliveries SELECT 9, 'far', 3, 'lxmf', '${peer}', 2, accepted_at, 10000000000000000, 'queued',
          NULL, NULL, 0, 0, NULL, '[]', event FROM deliveries WHERE seq = 3;
      `);
    }
    const lxmf = memoryBridge();
    await using hub = await openTestSwitch({ dir, bridges: [lxmf] });
    await until(() => lxmf.delivered.length === 1);
    const page = await hub.desk.inbox.read(hub.owner, {});
    assert.deepEqual(
      page.items.map(item => item.message.text),
      ['kept for ever', 'whole'],
    );
    assert.equal(hub.desk.messages.list(hub.owner, {}).items.length, 2);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('who waits for its inbox is given what was committed without word of it, once the store is there again', async () => {
  const writers: Worker[] = [];
  await using hub = await openTestSwitch({ store: { onWriter: worker => writers.push(worker) } });
  const { client } = await hub.client('reader');
  const pages: InboxPage[] = [];
  const waiting = new AbortController();
  const read = hub.desk.inbox
    .read(client, { wait: 3_600_000 }, waiting.signal)
    .then(page => {
      pages.push(page);
    })
    .catch(() => {});
  const { committer } = hub.store;
  const { commit } = committer;
  committer.commit = async (...given) => {
    await commit(...given);
    committer.commit = commit;
    throw new GatewayError('store/unavailable', 'the writer is gone', { retryable: true });
  };
  const draft = { to: 'app:reader', text: 'unheard of' };
  await assert.rejects(hub.desk.messages.post(hub.owner, draft), { code: 'store/unavailable' });
  assert.equal(pages.length, 0);
  await writers.at(-1)?.terminate();
  try {
    await until(() => pages.length > 0);
    assert.equal(pages[0]?.items[0]?.message.text, 'unheard of');
  } finally {
    waiting.abort();
    await read;
  }
});
