import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { lostSince, rewind } from '../../../src/gateway/store/rewound.ts';
import { createWebhookShelf } from '../../../src/gateway/webhook-shelf.ts';
import { openTestSwitch } from '../fixture.ts';

test('an endpoint goes on where it stood in a database of an earlier state, and is told of a gap first', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-rewound-'));
  const dir = join(made.path, 'data');
  let cursor: string;
  {
    await using hub = await openTestSwitch({ dir });
    cursor = hub.desk.events.cursor;
    const row = { id: 'a', client: 'owner', created_at: 1, settings: '{}', secrets: '[]' };
    await createWebhookShelf(hub.store).add({ ...row, position: cursor, status: '{"successes":3}' });
    await hub.desk.messages.post(hub.owner, { to: 'app:owner', text: 'not told yet' });
  }
  {
    using database = new DatabaseSync(join(dir, 'gateway.db'));
    rewind(database, { since: lostSince, now: 5, resend: false });
  }
  await using hub = await openTestSwitch({ dir });
  assert.throws(() => hub.desk.events.read(hub.owner, cursor), { code: 'request/cursor-expired' });
  const [row] = createWebhookShelf(hub.store).rows();
  assert.deepEqual(JSON.parse(row?.status ?? ''), { successes: 3, gap: { at: 5, after: cursor } });
  const { items } = hub.desk.events.read(hub.owner, row?.position ?? '');
  assert.ok(items.some(({ message }) => message?.text === 'not told yet'));
});

test('a backup of a time without webhooks is of an earlier state like any other', () => {
  using database = new DatabaseSync(':memory:');
  database.exec(`
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE deliveries (seq INTEGER PRIMARY KEY, bridge TEXT, state TEXT, reason TEXT, code TEXT, underway INTEGER, next_at INTEGER, history TEXT);
    CREATE TABLE remembered (delivery INTEGER PRIMARY KEY);
  `);
  assert.deepEqual(rewind(database, { since: lostSince, now: 5, resend: false }), { held: 0, queued: 0 });
});
