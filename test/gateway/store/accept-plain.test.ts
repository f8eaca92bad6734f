import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Fold } from '../../../src/gateway/folding.ts';
import { messageVerbs } from '../../../src/gateway/store/message-table.ts';
import { type AcceptArgs, isPlainAccept, packAccept } from '../../../src/gateway/store/packed-accept.ts';
import { rowWriter } from '../../../src/gateway/store/row-writer.ts';
import { gatewaySchema } from '../../../src/gateway/store/schema.ts';

function openMessages() {
  const database = new DatabaseSync(':memory:');
  database.exec(gatewaySchema.join(''));
  const tables = ['messages', 'events', 'deliveries', 'remembered', 'remote_ids', 'message_blobs', 'ruled'];
  return {
    verbs: messageVerbs(database),
    rows: () => tables.map(table => database.prepare(`SELECT * FROM ${table}`).all()),
    [Symbol.dispose]: () => database.close(),
  };
}

function acceptOf(n: number, { bridge, isPrepared, hasBlob, isRuled }: Traits): AcceptArgs {
  const id = `delivery-${n}`;
  return {
    scheme: 'app',
    message: {
      id: `message-${n}`,
      type: 'chat.message',
      from: 'app:ann',
      to: `${bridge}:bob`,
      acceptedAt: n,
    },
    body: `{"n":${n}}`,
    deliveries: [[id, bridge, `${bridge}:bob`, 2, n + 1000, 'queued', null, null, 0, '[]']],
    audience: ['app:ann'],
    blobs: hasBlob ? [`blob-${n}`] : [],
    ...(isPrepared && { prepared: { bytes: Uint8Array.of(n), remoteId: `remote-${n}` } }),
    ...(isRuled && { rulings: new Map([[id, `{"rule":${n % 2}}`]]) }),
  };
}

interface Traits {
  readonly bridge: string;
  readonly isPrepared: boolean;
  readonly hasBlob: boolean;
  readonly isRuled: boolean;
}

const traits = fc.record<Traits>({
  bridge: fc.constantFrom('app', 'lxmf'),
  isPrepared: fc.boolean(),
  hasBlob: fc.boolean(),
  isRuled: fc.boolean(),
});

test('messages that are accepted together leave the rows, and give the results, of the same one by one', () => {
  fc.assert(
    fc.property(fc.array(traits, { minLength: 1, maxLength: 40 }), all => {
      using one = openMessages();
      using many = openMessages();
      const packed = all.map((each, n) => packAccept(acceptOf(n, each)));
      assert.ok(packed.every(isPlainAccept));
      const results = packed.map(args => one.verbs.accept(args));
      assert.deepEqual(many.verbs.acceptPlain(packed), results);
      assert.deepEqual(many.rows(), one.rows());
    }),
    { numRuns: 50 },
  );
});

test('what may be a repeat, goes to several or to nobody, or changes what was accepted before is accepted by itself', () => {
  const plain = acceptOf(1, { bridge: 'app', isPrepared: false, hasBlob: false, isRuled: false });
  const folds = [{ delivery: 'd', input: { on: 'cancel' } }] as unknown as readonly Fold[];
  assert.equal(isPlainAccept(packAccept(plain)), true);
  const { deliveries } = plain;
  for (const other of [
    { remoteId: 'x' },
    { deliveries: [] },
    { deliveries: [...deliveries, ...deliveries] },
    { folds },
  ]) {
    assert.equal(isPlainAccept(packAccept({ ...plain, ...other })), false);
  }
});

test('rows of any number are written in their order, and numbered one after the other', () => {
  using database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE words (seq INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b INTEGER, c TEXT)');
  const write = rowWriter(database, 'words (a, b, c)', "?, ?, 'c'");
  let written = 0;
  for (const count of [1, 2, 15, 16, 17, 33, 100, 0]) {
    const first = write(Array.from({ length: count }, (_, n) => [`word ${written + n}`, written + n]).flat());
    assert.equal(count === 0 ? written + 1 : first, written + 1);
    written += count;
  }
  assert.deepEqual(
    database
      .prepare('SELECT seq, a, b FROM words ORDER BY seq')
      .all()
      .map(({ seq, a, b }) => [seq, a, b]),
    Array.from({ length: written }, (_, n) => [n + 1, `word ${n}`, n]),
  );
});
