import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bodyWithIds, idsIn, pathWithIds, provisionalId } from '../../../src/gateway/replicas/idmap.ts';
import { mergeThree } from '../../../src/gateway/replicas/merge.ts';
import {
  type Json,
  mergePatch,
  pointed,
  sameJson,
  withPointed,
} from '../../../src/gateway/replicas/pointer.ts';
import {
  type Change,
  type ItemShape,
  projectItem,
  projectList,
} from '../../../src/gateway/replicas/projection-fold.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { systemRandom } from '../../../src/lib/random.ts';

const shape: ItemShape = { id: '/id', integerId: false, template: { text: '' }, kept: ['id'] };
type Row = { readonly id: string; readonly text: string };

/** What a service does with the same operations, one after the other. */
function served(rows: readonly Row[], changes: readonly Change[]): Row[] {
  let all = [...rows];
  for (const { effect, item, draft } of changes) {
    const there = all.some(row => row.id === item);
    const text = (draft as { text?: string } | undefined)?.text;
    if (effect === 'create' && !there) {
      all = [...all, { id: item, text: text ?? '' }];
    } else if (effect === 'delete') {
      all = all.filter(row => row.id !== item);
    } else if (there && effect === 'replace') {
      all = all.map(row => (row.id === item ? { id: item, text: text ?? '' } : row));
    } else if (there && effect === 'merge' && text !== undefined) {
      all = all.map(row => (row.id === item ? { ...row, text } : row));
    }
  }
  return all;
}

/** Operations a client could have made: of what it sees, in its order. */
const history = fc
  .array(
    fc.record({
      effect: fc.constantFrom('create', 'replace', 'merge', 'delete'),
      pick: fc.nat(20),
      text: fc.option(fc.string({ maxLength: 3 }), { nil: undefined }),
    }),
    { maxLength: 30 },
  )
  .map(drafts => {
    const start: Row[] = ['a', 'b', 'c'].map(id => ({ id, text: id }));
    const changes: Change[] = [];
    let live = start.map(({ id }) => id);
    let made = 0;
    for (const { effect, pick, text } of drafts) {
      const item = effect === 'create' ? `new${made++}` : live[pick % Math.max(1, live.length)];
      if (item === undefined) {
        continue;
      }
      live =
        effect === 'create' ? [...live, item] : effect === 'delete' ? live.filter(id => id !== item) : live;
      const draft: Json = text === undefined ? {} : { text };
      changes.push({
        effect: effect as Change['effect'],
        item,
        at: 0,
        ...(effect !== 'delete' && { draft }),
      });
    }
    return { start, changes };
  });

const page = { wants: () => true, insert: 'append', whole: true } as const;

test('what is shown before a replay is what the service shows after it, in list and item', () => {
  fc.assert(
    fc.property(history, ({ start, changes }) => {
      const after = served(start, changes);
      const list = projectList({ ...page, rows: start }, changes, shape);
      assert.deepEqual(list.rows, after);
      assert.equal(list.more, after.length - start.length);
      for (const id of new Set([...start.map(row => row.id), ...changes.map(change => change.item)])) {
        const own = changes.filter(change => change.item === id);
        assert.deepEqual(
          projectItem(
            start.find(row => row.id === id),
            own,
            shape,
          ),
          after.find(row => row.id === id),
        );
      }
    }),
  );
});

test('projecting what the service has already done changes nothing, wherever the reading fell', () => {
  fc.assert(
    fc.property(history, fc.nat(30), ({ start, changes }, cut) => {
      const during = served(start, changes.slice(0, cut));
      const after = served(start, changes);
      const list = projectList({ ...page, rows: during as unknown as Json[] }, changes, shape);
      const sorted = (rows: readonly Json[]) =>
        [...rows].sort((one, other) => ((one as Row).id < (other as Row).id ? -1 : 1));
      assert.deepEqual(sorted(list.rows), sorted(after as unknown as Json[]));
    }),
  );
});

test('a list whose query nobody can evaluate shows changes of its rows, adds none and says so', () => {
  const rows = [{ id: 'a', text: 'old' }];
  const changes: Change[] = [
    { effect: 'create', item: 'n', draft: { text: 'new' }, at: 0 },
    { effect: 'merge', item: 'a', draft: { text: 'changed' }, at: 0 },
  ];
  const list = projectList({ rows, wants: undefined, insert: 'append', whole: true }, changes, shape);
  assert.deepEqual(list.rows, [{ id: 'a', text: 'changed' }]);
  assert.equal(list.partial, true);
});

test('a row that a change takes out of the filter leaves the list, and one on another page is not added', () => {
  const wants = (item: Json) => pointed(item, '/text') === 'in';
  const rows = [{ id: 'a', text: 'in' }];
  const out = projectList(
    { rows, wants, insert: 'append', whole: false },
    [
      { effect: 'merge', item: 'a', draft: { text: 'out' }, at: 0 },
      { effect: 'merge', item: 'elsewhere', draft: { text: 'in' }, at: 0 },
    ],
    shape,
  );
  assert.deepEqual(out.rows, []);
  assert.equal(out.more, -1);
});

test('ids are replaced where they stand alone, in paths, queries and bodies, and nowhere else', () => {
  const given = new Map([
    ['tmp_1', 'real/1'],
    ['-5', '42'],
  ]);
  assert.equal(
    pathWithIds('/notes/tmp_1/comments?of=tmp_1&x=tmp_12', given),
    '/notes/real%2F1/comments?of=real%2F1&x=tmp_12',
  );
  assert.deepEqual(bodyWithIds({ a: ['tmp_1', 'tmp_1!'], b: -5, c: { d: 'tmp_1' } }, given), {
    a: ['real/1', 'tmp_1!'],
    b: 42,
    c: { d: 'real/1' },
  });
  assert.deepEqual([...idsIn('/notes/-5', { parent: 'tmp_1' }, given)].sort(), ['-5', 'tmp_1']);
});

test('provisional ids fit the form that is asked for, and none comes twice', () => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const made = Array.from({ length: 500 }, () => provisionalId('uuid', systemClock, systemRandom));
  assert.deepEqual(
    made.filter(id => !uuid.test(id)),
    [],
  );
  assert.equal(new Set(made).size, made.length);
  assert.match(provisionalId('string', systemClock, systemRandom), /^tmp_[0-9a-f]{26}$/);
  const number = Number(provisionalId('integer', systemClock, systemRandom));
  assert.ok(Number.isSafeInteger(number) && number < 0);
});

test('a merge takes what one side changed, settles by rule what both did, and never guesses', () => {
  const base = { title: 'a', tags: ['x', 'y'], views: 3 };
  assert.deepEqual(mergeThree(base, { ...base, title: 'mine' }, { ...base, views: 9 }, {}), {
    title: 'mine',
    tags: ['x', 'y'],
    views: 9,
  });
  assert.equal(mergeThree(base, { ...base, title: 'mine' }, { ...base, title: 'theirs' }, {}), undefined);
  const rules = { '/tags': 'union', '/views': 'counter' } as const;
  assert.deepEqual(
    mergeThree(
      base,
      { ...base, tags: ['x', 'z'], views: 5 },
      { ...base, tags: ['x', 'y', 'w'], views: 4 },
      rules,
    ),
    { title: 'a', tags: ['x', 'w', 'z'], views: 6 },
  );
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(3)),
      fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(3)),
      (mine, whole) => {
        assert.ok(
          sameJson(mergeThree(whole, mine, whole, {}), mine),
          'where only one side changed, it holds',
        );
      },
    ),
  );
});

test('pointers and merge patches do as their documents say', () => {
  assert.equal(pointed({ 'a/b': [{ '~': 1 }] }, '/a~1b/0/~0'), 1);
  assert.deepEqual(withPointed({ a: 1 }, '/b/c', 2), { a: 1, b: { c: 2 } });
  assert.deepEqual(mergePatch({ a: 1, b: { c: 2, d: 3 } }, { a: null, b: { c: 4 } }), { b: { c: 4, d: 3 } });
  const polluted = mergePatch({}, JSON.parse('{"__proto__": {"x": 1}}') as Json) as { x?: number };
  assert.equal(polluted.x, undefined);
});
