import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { commitsOf } from '../../../src/gateway/store/commit-count.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { type Log, silentLog } from '../../../src/lib/log.ts';
import { memoryBridge, openTestSwitch, type TestSwitch, until } from '../fixture.ts';

const count = 40;

/** The newest version of the schema whose commits are counted in a table. */
const commitsInTable = 14;

/** A bridge whose far side is away. */
function awayBridge() {
  const bridge = memoryBridge('mqtt', { deduplicates: false });
  bridge.respond = () => {
    throw new GatewayError('bridge/unavailable', 'away');
  };
  return bridge;
}

const post = (hub: TestSwitch, to: string, text: string) => hub.desk.messages.post(hub.owner, { to, text });

/**
 * Data folders as a kill leaves them: messages that were folded into the database, one of which waits for its far side, and
 * as many that are in its log. `work` is done to a copy in which nothing runs.
 */
async function killed(
  work: (copy: string, older: string) => void,
  check: (dir: string, waits: string) => Promise<void>,
) {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-lost-'));
  const dir = join(made.path, 'data');
  const older = join(made.path, 'older');
  const copy = join(made.path, 'copy');
  // Nothing is written while the folder is copied: a copy of one moment.
  await using hub = await openTestSwitch({
    dir,
    bridges: [awayBridge()],
    limits: { firstRetry: 36_000_000, longestRetry: 36_000_000 },
  });
  const { message } = await post(hub, 'mqtt:dev/pump', 'start');
  await until(() => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.reason === 'away');
  for (let n = 0; n < count; n++) {
    await post(hub, 'app:owner', `folded ${n}`);
  }
  // What somebody reads is not folded over.
  const path = join(dir, 'gateway.db');
  const folding = new DatabaseSync(path, { timeout: 5000 });
  folding.exec('PRAGMA wal_checkpoint(FULL)');
  folding.close();
  cpSync(dir, older, { recursive: true });
  const reader = new DatabaseSync(path, { readOnly: true });
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM messages').get();
  for (let n = 0; n < count; n++) {
    await post(hub, 'app:owner', `logged ${n}`);
  }
  await until(() => isNoted(path));
  cpSync(dir, copy, { recursive: true });
  reader.close();
  work(copy, older);
  await check(copy, message.id);
}

/** Whether what is committed is noted beside the database. */
function isNoted(path: string): boolean {
  using database = new DatabaseSync(path, { readOnly: true });
  return Number(readFileSync(`${path}-mark`, 'latin1').slice(0, 16)) === commitsOf(database);
}

/** Starts on the folder; gives what was logged as an error, beside the hub. */
async function start(dir: string) {
  const errors: string[] = [];
  const log = {
    ...silentLog,
    error: (facts: { commits?: number }, text: string) => errors.push(`${facts.commits ?? ''} ${text}`),
  } as unknown as Log;
  const hub = await openTestSwitch({ dir, bridges: [awayBridge()], store: { log } });
  return { hub, errors, [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose]() };
}

const messagesIn = (hub: TestSwitch) => hub.desk.messages.list(hub.owner, { limit: 200 }).items.length;
const failureOf = (hub: TestSwitch, name: string) =>
  hub.desk.health().failures.find(failure => failure.name === name)?.reason;

/** It says what is missing, holds what waited, and goes on. */
async function isOlder(dir: string, waits: string, why: RegExp) {
  {
    await using at = await start(dir);
    const { hub, errors } = at;
    assert.match(errors.join(), /^[4-9]\d commits that were acknowledged are missing/);
    const said = await until(() => failureOf(hub, 'gateway.db'));
    assert.match(said, /^at least [4-9]\d commits that were acknowledged are not in gateway\.db: /);
    assert.match(said, why);
    assert.match(said, /kosctl restore.*or take gateway\.db\.lost-\d+ away$/);
    assert.match(
      (await until(() => failureOf(hub, 'held-deliveries'))) ?? '',
      /^1 are held: the newest changes/,
    );
    const [delivery] = hub.desk.messages.get(hub.owner, waits).deliveries;
    assert.equal(delivery?.state, 'ambiguous');
    assert.equal(messagesIn(hub), count + 1);
    await post(hub, 'app:owner', 'it goes on');
    assert.ok(hub.desk.health().ready);
  }
  const notes = readdirSync(dir).filter(name => name.startsWith('gateway.db.lost-'));
  assert.equal(notes.length, 1);
  await using at = await start(dir);
  assert.deepEqual(at.errors, [], 'it is found once');
  await until(() => failureOf(at.hub, 'gateway.db'));
  assert.equal(messagesIn(at.hub), count + 2);
  rmSync(join(dir, notes[0] ?? ''));
}

async function isWhole(dir: string, waits: string) {
  await using at = await start(dir);
  assert.deepEqual(at.errors, []);
  assert.equal(messagesIn(at.hub), 2 * count + 1);
  // It is tried at once, and waits again.
  await until(() => at.hub.desk.messages.get(at.hub.owner, waits).deliveries[0]?.state === 'queued');
  assert.deepEqual(
    readdirSync(dir).filter(name => /damaged|lost/.test(name)),
    [],
  );
}

test('a log that is gone is said at the start, with how many commits are missing, and what waited is held', async () => {
  await killed(
    copy => unlinkSync(join(copy, 'gateway.db-wal')),
    (dir, waits) => isOlder(dir, waits, /its log gateway\.db-wal is gone/),
  );
});

/** Puts the log of another database of this program's kind, whose pages would fit, into the place of this one's. */
function putForeignLog(dir: string): void {
  const other = new DatabaseSync(join(dir, 'other.db'));
  other.exec('PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0');
  other.exec('CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(20000))');
  cpSync(join(dir, 'other.db-wal'), join(dir, 'gateway.db-wal'));
  other.close();
  rmSync(join(dir, 'other.db'));
}

test('the log of another database is put aside and not mixed in', async () => {
  await killed(putForeignLog, async (dir, waits) => {
    await isOlder(dir, waits, /its log gateway\.db-wal was another one, which lies aside as/);
    assert.ok(readdirSync(dir).some(name => /^gateway\.db-wal\.damaged-\d+$/.test(name)));
  });
});

test('the log of another database beside one that was closed in good order is put aside, too, and nothing is missing', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-lost-'));
  const dir = join(made.path, 'data');
  {
    await using hub = await openTestSwitch({ dir });
    await post(hub, 'app:owner', 'kept');
  }
  putForeignLog(dir);
  await using at = await start(dir);
  assert.equal(messagesIn(at.hub), 1);
  assert.match(
    (await until(() => failureOf(at.hub, 'gateway.db-wal'))) ?? '',
    /lies aside as gateway\.db-wal\.damaged/,
  );
  assert.equal(failureOf(at.hub, 'gateway.db'), undefined);
  assert.deepEqual(at.errors, []);
});

test('a database that was replaced by an older one is told from the newest', async () => {
  await killed(
    (copy, older) => {
      cpSync(join(older, 'gateway.db'), join(copy, 'gateway.db'));
      for (const side of ['-wal', '-shm']) {
        rmSync(join(copy, `gateway.db${side}`), { force: true });
      }
    },
    (dir, waits) => isOlder(dir, waits, /./),
  );
});

test('a kill alone, a stop in good order, and a look with another program lose nothing, and nothing is said', async () => {
  await killed(() => {}, isWhole);
  await killed(
    copy => {
      const other = new DatabaseSync(join(copy, 'gateway.db'));
      other.prepare('SELECT count(*) FROM messages').get();
      other.close();
      assert.ok(!readdirSync(copy).includes('gateway.db-wal'), 'it folded the log and took it away');
    },
    async (dir, waits) => {
      await isWhole(dir, waits);
      await isWhole(dir, waits);
    },
  );
});

test('a power cut that leaves the note of minutes ago, and of a log that has begun anew thousands of times since, loses nothing', async () => {
  await killed(copy => {
    const salt = readFileSync(join(copy, 'gateway.db-wal')).readUInt32BE(16);
    const before = ((salt - 5000) >>> 0).toString(16).padStart(8, '0');
    writeFileSync(join(copy, 'gateway.db-mark'), `${'3'.padStart(16, '0')} ${before}01234567\n`);
  }, isWhole);
});

test('before a log can begin with salts of its own the note of the one before is taken back', async () => {
  await killed(
    copy => {
      const path = join(copy, 'gateway.db');
      // What is of a newer version is opened by nobody: that is as far as this start gets.
      const database = new DatabaseSync(path);
      database.exec('PRAGMA user_version = 1000');
      database.close();
    },
    async dir => {
      const path = join(dir, 'gateway.db');
      const before = readFileSync(`${path}-mark`, 'latin1');
      assert.doesNotMatch(before, / 0{16}\n$/);
      await assert.rejects(openTestSwitch({ dir }), /newer version/);
      assert.equal(readFileSync(`${path}-mark`, 'latin1'), `${before.slice(0, 16)} ${'0'.repeat(16)}\n`);
    },
  );
});

test('one that counted its commits in a table goes on from there, and one that does not count any more begins anew', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-lost-'));
  const dir = join(made.path, 'data');
  const path = join(dir, 'gateway.db');
  const changed = (sql: string) => {
    using database = new DatabaseSync(path);
    database.exec(sql);
  };
  const lives = async () => {
    {
      await using at = await start(dir);
      await post(at.hub, 'app:owner', 'one more');
      assert.deepEqual(at.errors, []);
    }
    using database = new DatabaseSync(path, { readOnly: true });
    const number = commitsOf(database) ?? 0;
    assert.equal(Number(readFileSync(`${path}-mark`, 'latin1').slice(0, 16)), number);
    return number;
  };
  await lives();
  changed(`
    CREATE TABLE commits (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
    INSERT INTO commits SELECT 1, 1000 + seq FROM sqlite_sequence WHERE name = 'commits';
    DELETE FROM sqlite_sequence WHERE name = 'commits';
    PRAGMA user_version = ${commitsInTable};
  `);
  assert.ok((await lives()) > 1000);
  changed("DELETE FROM sqlite_sequence WHERE name = 'commits'");
  rmSync(`${path}-mark`);
  const begun = await lives();
  assert.ok(begun > 0 && begun < 1000);
  assert.ok((await lives()) > begun);
});

test('a database that is not there any more is not begun anew without a word', async () => {
  await killed(
    copy => {
      for (const side of ['', '-wal', '-shm']) {
        rmSync(join(copy, `gateway.db${side}`));
      }
    },
    async dir => {
      await using at = await start(dir);
      assert.match(
        (await until(() => failureOf(at.hub, 'gateway.db'))) ?? '',
        /gateway\.db was not there, or empty/,
      );
    },
  );
});

test('a log that is taken away under a running hub is noticed with the next message, which is refused, and nothing of it is lost', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-lost-'));
  const dir = join(made.path, 'data');
  let accepted = count;
  {
    await using hub = await openTestSwitch({ dir });
    for (let n = 0; n < count; n++) {
      await post(hub, 'app:owner', `${n}`);
    }
    renameSync(join(dir, 'gateway.db-wal'), join(made.path, 'away'));
    // It is looked at now and then: what is accepted before that is kept all the same.
    const refused = async (): Promise<unknown> => {
      for (;;) {
        try {
          await post(hub, 'app:owner', 'is it there?');
          accepted += 1;
          await new Promise(resolve => setTimeout(resolve, 20));
        } catch (error) {
          return error;
        }
      }
    };
    const { code, message } = (await refused()) as GatewayError;
    assert.equal(code, 'store/unavailable');
    assert.match(message, /gateway\.db-wal is gone\. Nothing was lost with it/);
    await until(() => failureOf(hub, 'disk'));
    assert.equal(hub.desk.health().ready, false);
  }
  await using at = await start(dir);
  assert.deepEqual(at.errors, []);
  assert.equal(messagesIn(at.hub), accepted);
});

test('what other databases have lost is said, too', async () => {
  await using made = await mkdtempDisposable(join(tmpdir(), 'kos-lost-'));
  const dir = join(made.path, 'data');
  const save = (hub: TestSwitch, key: string) =>
    hub.store.committer.commit('mesh.save', { kind: 'path', key, value: new Uint8Array(50) });
  const older = join(made.path, 'mesh.db');
  {
    await using hub = await openTestSwitch({ dir });
    await save(hub, 'a');
  }
  cpSync(join(dir, 'mesh.db'), older);
  {
    await using hub = await openTestSwitch({ dir });
    await save(hub, 'b');
    await save(hub, 'c');
  }
  assert.match(readFileSync(join(dir, 'mesh.db-mark'), 'latin1'), /^0000000000000003 0{16}\n$/);
  cpSync(older, join(dir, 'mesh.db'));
  await using at = await start(dir);
  assert.match(
    (await until(() => failureOf(at.hub, 'mesh.db'))) ?? '',
    /^at least 2 commits that were acknowledged are not in mesh\.db/,
  );
  assert.equal(failureOf(at.hub, 'gateway.db'), undefined);
});
