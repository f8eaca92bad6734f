import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { createCheckpoints } from '../../../src/gateway/store/checkpoints.ts';
import { openWritable } from '../../../src/gateway/store/database.ts';

test('a fold that fails throws nothing and is tried again later, not at once', () => {
  const database = new DatabaseSync(':memory:');
  using log = createCheckpoints(database, { path: ':memory:', inode: 0 });
  log.grown(1);
  const soon = log.patience;
  database.close();
  log.fold();
  log.foldIfLong();
  assert.ok(log.patience > soon && log.patience < Number.POSITIVE_INFINITY);
});

/** A database that is written to without a pause. */
async function busyDatabase() {
  const dir = await mkdtemp(join(tmpdir(), 'kos-log-'));
  const path = join(dir, 'a.db');
  const database = openWritable({ path, schema: ['CREATE TABLE a (body BLOB) STRICT;'], limit: 2 ** 30 });
  const add = database.prepare('INSERT INTO a VALUES (randomblob(200000))');
  return {
    path,
    database,
    inode: statSync(path).ino,
    add: () => void add.run(),
    logBytes: () => statSync(`${path}-wal`).size,
    [Symbol.asyncDispose]: async () => {
      database.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

test('a log that grows without a pause is folded by another thread, begins anew, and the writer folds no more than what came meanwhile', async () => {
  await using busy = await busyDatabase();
  {
    using log = createCheckpoints(busy.database, busy, { long: 100, tooLong: 1e9 });
    let rows = 0;
    const write = () => {
      busy.add();
      rows += 1;
      log.grown(1);
      log.foldIfLong();
    };
    // The log has begun anew when it does not get longer any more.
    for (let same = 0, before = 0; same < 20; ) {
      write();
      const now = busy.logBytes();
      same = now === before ? same + 1 : 0;
      before = now;
      assert.ok(rows < 5000, 'it grows and grows');
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    const count = busy.database.prepare('SELECT count(*) AS n FROM a').get() as { n: number };
    assert.equal(count.n, rows);
  }
  assert.ok(busy.logBytes() > 0);
});

test('a log is long when it is, not when it is guessed to be', async () => {
  await using busy = await busyDatabase();
  using log = createCheckpoints(busy.database, busy, { long: 1000, tooLong: 1e9 });
  const add = busy.database.prepare('INSERT INTO a VALUES (randomblob(100))');
  const length = busy.database.prepare('PRAGMA wal_checkpoint(NOOP)');
  const state = () => length.get() as { log: number; checkpointed: number };
  for (; state().log < 900; log.foldIfLong()) {
    add.run();
    // Of which each might have changed pages of its own.
    log.grown(100);
  }
  await new Promise(resolve => setTimeout(resolve, 200));
  assert.equal(state().checkpointed, 0);
  for (let n = 0; state().checkpointed === 0; n++, log.foldIfLong()) {
    assert.ok(n < 5000, 'it is never folded');
    add.run();
    log.grown(100);
    await new Promise(resolve => setTimeout(resolve, 1));
  }
});

test('where the other thread cannot fold, the writer does so before the log is endless', async () => {
  await using busy = await busyDatabase();
  using log = createCheckpoints(
    busy.database,
    { ...busy, inode: busy.inode + 1 },
    { long: 100, tooLong: 200 },
  );
  for (let n = 0; n < 200; n++) {
    busy.add();
    log.grown(1);
    log.foldIfLong();
  }
  assert.ok(busy.logBytes() < 20_000_000, `${busy.logBytes()} bytes of log for 40 MB written`);
});

test('where the system has no thread to give, nothing is thrown, and whoever waits is not told that one is at it', () => {
  // A process that may not begin threads fails as one does that has too many.
  const code = `
    import { createLogFolder } from ${JSON.stringify(new URL('../../../src/gateway/store/checkpoints.ts', import.meta.url))};
    using folder = createLogFolder({ path: ':memory:', inode: 0 });
    folder.ask();
    folder.ask();
    console.log(folder.isBusy);`;
  const flags = ['--permission', '--allow-fs-read=*', '--no-warnings', '--input-type=module'];
  const said = execFileSync(process.execPath, [...flags, '-e', code], { encoding: 'utf8', env: {} });
  assert.equal(said, 'false\n');
});
