import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openTestSwitch } from './fixture.ts';

test('a filter that lets nothing through looks at some thousands of messages at a time, and finds the last all the same', async () => {
  await using hub = await openTestSwitch();
  const { client: ann } = await hub.client('ann', { rooms: [] });
  const { post, list } = hub.desk.messages;
  const first = await post(ann, { to: 'app:owner', text: 'rare', type: 'event.rare' });
  for (let batch = 0; batch < 17; batch++) {
    await Promise.all(Array.from({ length: 250 }, () => post(hub.owner, { to: 'app:owner', text: 'x' })));
  }
  const pagesOf = (client: typeof ann, query: Parameters<typeof list>[1]) => {
    const found: string[] = [];
    let pages = 0;
    for (let after: string | undefined; ; pages++) {
      const page = list(client, { ...query, ...(after === undefined ? {} : { after }) });
      found.push(...page.items.map(({ id }) => id));
      if (page.cursor === null) {
        return { found, pages: pages + 1 };
      }
      after = page.cursor;
    }
  };
  const rare = { found: [first.message.id], pages: 2 };
  assert.deepEqual(pagesOf(hub.owner, { type: 'event.rare' }), rare);
  assert.deepEqual(pagesOf(ann, {}), rare);
  assert.deepEqual(pagesOf(hub.owner, { peer: 'app:owner', type: 'event.rare' }), rare);
  assert.deepEqual(pagesOf(hub.owner, { peer: 'app:nobody' }), { found: [], pages: 1 });
  assert.deepEqual(pagesOf(hub.owner, { peer: 'app:ann' }), { ...rare, pages: 1 });
  assert.deepEqual(pagesOf(hub.owner, { room: 'hub' }), { found: [], pages: 1 });
});

test('a damaged message ends no list: what lies behind it is on the next page', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'kos-list-'));
  const dir = folder.path;
  {
    await using before = await openTestSwitch({ dir });
    for (const text of ['one', 'two', 'three', 'four']) {
      await before.desk.messages.post(before.owner, { to: 'app:owner', text });
    }
  }
  {
    using database = new DatabaseSync(join(dir, 'gateway.db'));
    database.exec("UPDATE messages SET body = '{' WHERE seq = 3");
  }
  await using hub = await openTestSwitch({ dir });
  for (const limit of [1, 2]) {
    const found: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = hub.desk.messages.list(hub.owner, { limit, ...(after === undefined ? {} : { after }) });
      found.push(...page.items.map(({ text }) => text));
      if (page.cursor === null) {
        break;
      }
      after = page.cursor;
    }
    assert.deepEqual(found, ['four', 'two', 'one']);
  }
});
