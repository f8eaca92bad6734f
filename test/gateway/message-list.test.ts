import assert from 'node:assert/strict';
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
