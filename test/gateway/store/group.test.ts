import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import fc from 'fast-check';
import { beginGroup, endsGroup, type Together } from '../../../src/gateway/store/group.ts';
import type { JobRequest } from '../../../src/gateway/store/job.ts';

/** Words are taken by threes. */
const together: Together = { verb: 'acceptPlain', most: 3, takes: ({ verb }) => verb === 'accept' };

/** A database of words, and how often each job was done. */
function openWords() {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE words (word TEXT PRIMARY KEY, place INTEGER NOT NULL) STRICT');
  const insert = database.prepare('INSERT INTO words (word, place) VALUES (?, (SELECT count(*) FROM words))');
  const done = new Map<string, number>();
  const verb = (word: string) => {
    done.set(word, (done.get(word) ?? 0) + 1);
    insert.run(word);
    if (word.startsWith('bad')) {
      throw new Error(word);
    }
    return database.prepare('SELECT count(*) AS count FROM words').get()?.count;
  };
  const verbs = {
    accept: verb,
    acceptPlain: (all: readonly string[]) => all.map(verb),
    'retention.sweep': verb,
  };
  return {
    done,
    group: (how?: Together) =>
      beginGroup(
        database,
        verbs,
        error => ({ code: 'internal', message: (error as Error).message, retryable: false }),
        how,
      ),
    commit: () => database.exec('COMMIT'),
    words: () =>
      database
        .prepare('SELECT word FROM words ORDER BY place')
        .all()
        .map(({ word }) => word),
    [Symbol.dispose]: () => database.close(),
  };
}

test('a job that fails leaves nothing behind and takes nobody with it, wherever it stands', () => {
  const jobs = fc.array(
    fc.record({
      isBad: fc.boolean(),
      isSweep: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
      isUrgent: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(jobs, fc.constantFrom(undefined, together), (wanted, how) => {
      using store = openWords();
      const group = store.group(how);
      const words = wanted.map(({ isBad }, n) => `${isBad ? 'bad' : 'good'} ${n}`);
      for (const [id, { isSweep, isUrgent }] of wanted.entries()) {
        const verb = isSweep ? 'retention.sweep' : 'accept';
        group.run({ id, verb, args: words[id] } as JobRequest, isUrgent);
      }
      group.end();
      store.commit();
      const good = words.filter(word => word.startsWith('good'));
      assert.deepEqual(store.words(), good);
      assert.equal(group.size(), wanted.length);
      for (const urgent of [true, false]) {
        const theirs = wanted.flatMap(({ isUrgent, isBad }, id) =>
          isUrgent === urgent ? [{ id, isBad }] : [],
        );
        assert.deepEqual(
          group.replies(urgent),
          theirs.map(({ id, isBad }) =>
            isBad
              ? { id, failure: { code: 'internal', message: words[id], retryable: false } }
              : { id, value: good.indexOf(words[id] ?? '') + 1 },
          ),
        );
      }
      for (const [id, { isSweep }] of wanted.entries()) {
        assert.ok(!isSweep || store.done.get(words[id] ?? '') === 1, 'a sweep is done once');
      }
    }),
  );
});

test('a group in which nothing fails does each job once', () => {
  for (const how of [undefined, together]) {
    using store = openWords();
    const group = store.group(how);
    for (const id of [1, 2, 3, 4]) {
      group.run({ id, verb: 'accept', args: `good ${id}` } as unknown as JobRequest, false);
    }
    group.end();
    store.commit();
    assert.deepEqual([...store.done.values()], [1, 1, 1, 1]);
  }
});

test('a job for which a full database has no room takes nobody with it, and what makes room ends its group', () => {
  const job = fc.record({ isLarge: fc.boolean(), isBad: fc.boolean(), isUrgent: fc.boolean() });
  fc.assert(
    fc.property(fc.array(job, { minLength: 1, maxLength: 12 }), fc.boolean(), (wanted, areTogether) => {
      using database = new DatabaseSync(':memory:');
      database.exec('CREATE TABLE words (word TEXT NOT NULL) STRICT; PRAGMA max_page_count = 8');
      const insert = database.prepare('INSERT INTO words VALUES (?)');
      const accept = (word: string) => {
        insert.run(word);
        if (word.startsWith('bad')) {
          throw new Error('bad');
        }
        return word;
      };
      const describe = (error: unknown) => {
        const { message } = error as Error;
        return { code: /is full/.test(message) ? 'store/full' : 'internal', message, retryable: false };
      };
      const verbs = { accept, acceptPlain: (all: readonly string[]) => all.map(accept) };
      const group = beginGroup(database, verbs, describe, areTogether ? together : undefined);
      const words = wanted.map(
        ({ isLarge, isBad }, n) => `${isBad ? 'bad' : 'good'} ${n} ${isLarge ? 'x'.repeat(50_000) : ''}`,
      );
      for (const [id, { isUrgent }] of wanted.entries()) {
        group.run({ id, verb: 'accept', args: words[id] } as unknown as JobRequest, isUrgent);
      }
      group.end();
      database.exec('COMMIT');
      const kept = wanted.map(({ isLarge, isBad }) => !isLarge && !isBad);
      assert.deepEqual(
        database
          .prepare('SELECT word FROM words ORDER BY rowid')
          .all()
          .map(({ word }) => word),
        words.filter((_, id) => kept[id]),
      );
      for (const urgent of [true, false]) {
        assert.deepEqual(
          group
            .replies(urgent)
            .map(reply => ('failure' in reply ? [reply.id, reply.failure.code] : [reply.id, reply.value])),
          wanted.flatMap(({ isUrgent, isLarge }, id) =>
            isUrgent === urgent ? [[id, kept[id] ? words[id] : isLarge ? 'store/full' : 'internal']] : [],
          ),
        );
      }
    }),
    { numRuns: 200 },
  );
  assert.equal(endsGroup({ id: 1, verb: 'retention.sweep', args: {} }), true);
  assert.equal(endsGroup({ id: 1, verb: 'accept', args: {} }), false);
});
