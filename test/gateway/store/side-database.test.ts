import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSideDatabase } from '../../../src/gateway/store/side-database.ts';
import { createSideLog } from '../../../src/gateway/store/side-log.ts';

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'kos-side-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const schema = 'CREATE TABLE IF NOT EXISTS a (body BLOB)';

test('the log of a bridge’s database is folded by another thread than its own, and begins anew', async () => {
  await using dir = await folder();
  using side = openSideDatabase({ file: join(dir.path, 'a.db'), schema, name: 'a', now: 0 });
  const { database, guarded } = side;
  assert.deepEqual({ ...database.prepare('PRAGMA wal_autocheckpoint').get() }, { wal_autocheckpoint: 0 });
  const add = database.prepare('INSERT INTO a VALUES (randomblob(3000))');
  const length = database.prepare('PRAGMA wal_checkpoint(NOOP)');
  let longest = 0;
  for (let n = 0; ; n++) {
    guarded(() => add.run());
    const { log } = length.get() as { log: number };
    if (log < longest) {
      break;
    }
    longest = log;
    assert.ok(n < 20_000, 'it grows and grows');
    if (n % 100 === 0) {
      await sleep(5);
    }
  }
  assert.ok(longest >= 1500);
});

test('a log that is never folded whole begins anew all the same once it is too long', async () => {
  await using dir = await folder();
  const file = join(dir.path, 'a.db');
  using database = new DatabaseSync(file);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; ${schema}`);
  const add = database.prepare('INSERT INTO a VALUES (randomblob(3000))');
  const length = database.prepare('PRAGMA wal_checkpoint(NOOP)');
  // Nobody else can be asked: another file is at the path of this one.
  using log = createSideLog(database, { path: file, inode: 0 }, { long: 1e6, tooLong: 100 });
  for (let n = 0; n < 200; n++) {
    add.run();
    log.look();
  }
  assert.ok((length.get() as { log: number }).log < 150);
});

test('what is synced is so without stopping anybody, and a disk that fails says so', async () => {
  await using dir = await folder();
  const file = join(dir.path, 'a.db');
  using side = openSideDatabase({ file, schema, name: 'a', now: 0 });
  side.database.exec('INSERT INTO a VALUES (zeroblob(9))');
  await side.synced();
  await rm(`${file}-wal`);
  await assert.rejects(side.synced(), { code: 'store/unavailable', retryable: true });
});
