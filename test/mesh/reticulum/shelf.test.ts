import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Shelf } from '../../../src/mesh/reticulum/shelf.ts';

interface Thing {
  count: number;
}

function shelf() {
  let unpacked = 0;
  const made = new Shelf<Thing, string>({
    pack: ({ count }) => String(count),
    unpack: (_, text) => {
      unpacked += 1;
      return { count: Number(text) };
    },
  });
  return { made, unpacked: () => unpacked };
}

describe('a shelf', () => {
  test('gives back what was put there, packed or open', () => {
    const { made } = shelf();
    made.set('a', { count: 1 });
    made.setOpen('b', { count: 2 });
    assert.deepEqual([made.get('a'), made.get('b'), made.get('c')], [{ count: 1 }, { count: 2 }, undefined]);
    assert.deepEqual([...made.values()], [{ count: 2 }, { count: 1 }]);
    assert.deepEqual(
      [...made.kept()],
      [
        ['b', { count: 2 }],
        ['a', '1'],
      ],
    );
    assert.equal(made.size, 2);
  });

  test('keeps open what is in use, and what takes its place', () => {
    const { made, unpacked } = shelf();
    made.set('a', { count: 1 });
    made.open('a')!.count = 5;
    assert.equal(made.get('a')!.count, 5);
    made.set('a', { count: 6 });
    made.get('a')!.count += 1;
    assert.equal(made.get('a')!.count, 7);
    assert.equal(unpacked(), 1);
    assert.equal(made.open('none'), undefined);
    assert.equal(made.size, 1);
  });

  test('knows the oldest of those that nobody uses, and of all where all are in use', () => {
    const { made } = shelf();
    assert.equal(made.oldest(), undefined);
    made.setOpen('a', { count: 1 });
    made.set('b', { count: 2 });
    made.set('c', { count: 3 });
    assert.equal(made.oldest(), 'b');
    made.delete('b');
    made.open('c');
    assert.equal(made.oldest(), 'a');
  });

  test('forgets what is taken out', () => {
    const { made } = shelf();
    made.set('a', { count: 1 });
    made.setOpen('b', { count: 2 });
    assert.deepEqual([made.delete('a'), made.delete('b'), made.delete('a')], [true, true, false]);
    assert.equal(made.size, 0);
    assert.equal(made.get('a'), undefined);
  });
});
