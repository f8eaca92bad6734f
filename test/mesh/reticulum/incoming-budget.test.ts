import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type BudgetHolder, IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';

function budget() {
  const made = new IncomingBudget({ resource: 100, total: 100, perLink: 8 });
  const gone: string[] = [];
  const holder = (name: string, bytes: number, staleAt: number, source?: string): BudgetHolder => {
    const one = {
      bytes,
      staleAt,
      ...(source !== undefined && { source }),
      giveUp() {
        gone.push(name);
        made.give(one);
      },
    };
    return one;
  };
  return { made, gone, holder };
}

describe('room for what comes in', () => {
  test('is made by what stands still, the largest first, and no more than is needed', () => {
    const { made, gone, holder } = budget();
    for (const [name, bytes, staleAt] of [
      ['small', 20, 5],
      ['large', 50, 9],
      ['moving', 30, 90],
    ] as const) {
      assert.equal(made.take(holder(name, bytes, staleAt), 0), true);
    }
    assert.equal(made.take(holder('early', 10, 90), 4), false);
    assert.equal(made.take(holder('first', 40, 90), 10), true);
    assert.deepEqual(gone, ['large']);
    assert.equal(made.used, 90);
    assert.equal(made.take(holder('second', 30, 90), 10), true);
    assert.deepEqual(gone, ['large', 'small']);
  });

  test('is not held by whoever lets a part come now and then, against who has little', () => {
    const { made, gone, holder } = budget();
    for (const [name, bytes, source] of [
      ['one', 30, 'server/a'],
      ['two', 40, 'server/a'],
      ['three', 20, 'server/b'],
      ['four', 10, 'radio'],
    ] as const) {
      assert.equal(made.take(holder(name, bytes, 90, source), 0), true);
    }
    assert.equal(made.take(holder('of the crowd', 10, 90, 'server/a'), 10), false);
    assert.equal(made.take(holder('as much', 60, 90, 'radio'), 10), false);
    assert.deepEqual(gone, []);
    assert.equal(made.take(holder('by radio', 10, 90, 'radio'), 10), true);
    assert.deepEqual(gone, ['two']);
    assert.equal(made.take(holder('calm', 30, 90, 'server/c'), 10), true);
    assert.equal(made.take(holder('beside it', 5, 90, 'server/d'), 10), true);
    assert.equal(made.used, 75);
    assert.deepEqual(gone, ['two', 'one']);
  });

  test('is not made in vain', () => {
    const { made, gone, holder } = budget();
    made.take(holder('still', 40, 5), 0);
    made.take(holder('moving', 60, 90), 0);
    assert.equal(made.take(holder('too much', 41, 90), 10), false);
    assert.deepEqual(gone, []);
    assert.equal(made.take(holder('larger than all', 101, 90), 10), false);
  });

  test('passes on with what holds it, and is given back once', () => {
    const { made, holder } = budget();
    const [one, other] = [holder('one', 40, 5), holder('other', 40, Number.POSITIVE_INFINITY)];
    made.take(one, 0);
    made.pass(one, other);
    made.give(one);
    assert.equal(made.used, 40);
    made.give(other);
    made.give(other);
    assert.equal(made.used, 0);
  });
});
