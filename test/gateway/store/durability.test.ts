import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openStore } from '../../../src/gateway/store/store.ts';

async function temporary(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-store-'));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

test('every commit is synced: WAL with synchronous FULL, and folders and files are private', async () => {
  await using at = await temporary();
  await using store = await openStore({ dir: at.dir });
  assert.deepEqual(await store.committer.commit('pragmas', {}), { journal_mode: 'wal', synchronous: 2 });
  assert.equal((await stat(at.dir)).mode & 0o777, 0o700);
  for (const file of ['gateway.db', 'gateway.db-wal', 'mesh.db', 'lock.db']) {
    assert.equal((await stat(join(at.dir, file))).mode & 0o777, 0o600, file);
  }
});

test('a database of a newer version is refused', async () => {
  await using at = await temporary();
  await (await openStore({ dir: at.dir }))[Symbol.asyncDispose]();
  using database = new DatabaseSync(join(at.dir, 'gateway.db'));
  database.exec('PRAGMA user_version = 99');
  await assert.rejects(openStore({ dir: at.dir }), /newer version/);
});

test('a full database refuses writes with store/full, goes on reading, and writes again when there is room', async () => {
  await using at = await temporary();
  {
    await using store = await openStore({ dir: at.dir, databaseLimit: 300 * 1024 });
    const value = new Uint8Array(4000);
    await assert.rejects(
      async () => {
        for (let n = 0; n < 200; n++) {
          await store.mesh.save('path', n.toString(16), value);
        }
      },
      { code: 'store/full', retryable: true },
    );
    assert.ok([...store.mesh.load('path')].length > 10);
    await store.mesh.remove('path', '0');
    await store.mesh.save('path', '0', value);
  }
  await using again = await openStore({ dir: at.dir });
  await again.mesh.save('path', 'ffff', new Uint8Array(100_000));
});

test('a job that fails takes none of its group with it', async () => {
  await using at = await temporary();
  await using store = await openStore({ dir: at.dir });
  const row = (id: string, name: string) => ({
    id,
    name,
    hash: Buffer.from(id),
    scopes: '[]',
    rooms: '[]',
    created_at: 1,
    expires_at: null,
    revoked_at: null,
    identity: 'hub',
    role: null,
  });
  const results = await Promise.allSettled([
    store.committer.commit('client.create', row('1', 'a')),
    store.committer.commit('client.create', row('2', 'a')),
    store.committer.commit('client.create', row('3', 'b')),
  ]);
  assert.deepEqual(
    results.map(result => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(
    store.read.clients().map(client => client.name),
    ['a', 'b'],
  );
});

test('jobs that wait together share commits, and an urgent one does not wait behind them', async () => {
  await using at = await temporary();
  await using store = await openStore({ dir: at.dir });
  const before = store.committer.commits;
  const order: string[] = [];
  const value = new Uint8Array(64);
  const many = Array.from({ length: 2000 }, (_, n) =>
    store.committer.commit('blob.own', { sha256: `${n}`, client: 'x', at: 1 }).then(() => order.push('one')),
  );
  await store.committer.commit('blob.own', { sha256: 'u', client: 'x', at: 1 }, { urgent: true });
  order.push('urgent');
  await Promise.all(many);
  await store.mesh.save('path', 'aa', value);
  assert.ok(store.committer.commits - before < 500, `${store.committer.commits - before} commits`);
  assert.ok(order.indexOf('urgent') < order.length - 1);
});

test('what the mesh remembers survives, replaced and removed by key', async () => {
  await using at = await temporary();
  {
    await using store = await openStore({ dir: at.dir });
    await store.mesh.save('ratchet', 'aa', Uint8Array.of(1));
    await store.mesh.save('ratchet', 'aa', Uint8Array.of(2));
    await store.mesh.save('ratchet', 'bb', Uint8Array.of(3));
    await store.mesh.remove('ratchet', 'bb');
    await store.mesh.remove('ratchet', 'cc');
  }
  await using store = await openStore({ dir: at.dir });
  assert.deepEqual(
    [...store.mesh.load('ratchet')].map(entry => [entry.key, [...entry.value]]),
    [['aa', [2]]],
  );
});

test('a read that fails says that the store is at fault, and that it may work later', async () => {
  await using at = await temporary();
  await using store = await openStore({ dir: at.dir });
  using database = new DatabaseSync(join(at.dir, 'gateway.db'));
  database.exec('DROP TABLE remembered');
  assert.throws(() => store.read.remembered('x'), { code: 'store/unavailable', retryable: true });
});
