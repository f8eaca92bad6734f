import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import fc from 'fast-check';
import { countCommits } from '../../../src/gateway/store/commit-count.ts';
import { openWritable } from '../../../src/gateway/store/database.ts';
import { findLost } from '../../../src/gateway/store/lost-commits.ts';
import { gatewaySchema, meshSchema, outboxSchema } from '../../../src/gateway/store/schema.ts';

const schemas = { gateway: gatewaySchema, mesh: meshSchema, outbox: outboxSchema };

/** A database that is written to as its writer does, and copies of it as a kill would leave it. */
async function written(schema: readonly string[]) {
  const made = await mkdtempDisposable(join(tmpdir(), 'kos-base-'));
  const path = join(made.path, 'a.db');
  const database = openWritable({ path, schema, limit: 2 ** 30 });
  database.exec('CREATE TABLE filled (body BLOB)');
  const count = countCommits(database, path);
  const add = database.prepare('INSERT INTO filled VALUES (randomblob(5000))');
  let copies = 0;
  return {
    database,
    path,
    commit(times = 1) {
      for (let n = 0; n < times; n++) {
        database.exec('BEGIN');
        add.run();
        count.count();
        database.exec('COMMIT');
        count.keep();
      }
    },
    fold: () => database.exec('PRAGMA wal_checkpoint(PASSIVE)'),
    killed() {
      count.note();
      copies += 1;
      const dir = join(made.path, `copy-${copies}`);
      mkdirSync(dir);
      for (const name of ['a.db', 'a.db-wal', 'a.db-mark']) {
        cpSync(join(made.path, name), join(dir, name));
      }
      return join(dir, 'a.db');
    },
    async [Symbol.asyncDispose]() {
      database.close();
      count.close();
      await made[Symbol.asyncDispose]();
    },
  };
}

for (const [name, schema] of Object.entries(schemas)) {
  test(`an older ${name} database under a newer log is told from one that belongs to it`, async () => {
    await using one = await written(schema);
    one.commit(5);
    one.fold();
    const older = one.killed();
    one.commit(5);
    one.fold();
    const before = one.killed();
    one.commit(3);
    assert.equal(findLost(one.killed(), 1), undefined);
    const mixed = one.killed();
    const log = readFileSync(`${mixed}-wal`);
    cpSync(older, mixed);
    assert.throws(() => findLost(mixed, 1), /it is older than its log a\.db-wal: 5 commits lie between them/);
    assert.deepEqual(readFileSync(`${mixed}-wal`), log, 'nothing was changed');
    const fitting = one.killed();
    cpSync(before, fitting);
    assert.equal(findLost(fitting, 1), undefined, 'that which the log began with');
  });
}

test('whenever it is killed, nothing is said of what belongs together', async () => {
  const act = fc.constantFrom('commit', 'commits', 'fold', 'read', 'end', 'kill', 'large');
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 25 }), async acts => {
      await using one = await written(gatewaySchema);
      const readers: DatabaseSync[] = [];
      try {
        one.commit();
        for (const name of acts) {
          if (name === 'commit' || name === 'commits') {
            one.commit(name === 'commit' ? 1 : 7);
          } else if (name === 'fold') {
            one.fold();
          } else if (name === 'large') {
            one.database.exec('UPDATE filled SET body = randomblob(6000)');
          } else if (name === 'read') {
            const reader = new DatabaseSync(one.path, { readOnly: true });
            reader.exec('BEGIN');
            reader.prepare('SELECT count(*) FROM filled').get();
            readers.push(reader);
          } else if (name === 'end') {
            readers.pop()?.close();
          } else {
            assert.equal(findLost(one.killed(), 1), undefined);
          }
        }
        assert.equal(findLost(one.killed(), 1), undefined);
      } finally {
        for (const reader of readers) {
          reader.close();
        }
      }
    }),
    { numRuns: 15 },
  );
});

test('bytes that are no page say nothing', async () => {
  await using one = await written(meshSchema);
  one.commit(5);
  const copy = one.killed();
  const bytes = readFileSync(copy);
  bytes.fill(0xff, 4096);
  writeFileSync(copy, bytes);
  // Whoever opens it says that it is damaged.
  assert.equal(findLost(copy, 1), undefined);
});
