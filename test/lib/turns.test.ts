import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from '../../src/lib/turns.ts';

test('one begins when the one before has ended, and one that fails holds nobody up', async () => {
  const inTurn = createTurns();
  const said: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = inTurn(async () => {
    said.push('first begins');
    await gate.promise;
    said.push('first ends');
    throw new TypeError('it failed');
  });
  const second = inTurn(async () => {
    said.push('second');
    return 2;
  });
  gate.resolve();
  assert.equal(await second, 2);
  // Looked at late: nobody is told of a rejection that is not heard.
  await assert.rejects(first, /it failed/);
  assert.deepEqual(said, ['first begins', 'first ends', 'second']);
});

test('who gives up while waiting is passed over, and nobody overtakes', async () => {
  const inTurn = createTurns();
  const said: number[] = [];
  const gate = Promise.withResolvers<void>();
  const first = inTurn(async () => {
    await gate.promise;
    said.push(1);
  });
  const controller = new AbortController();
  const second = inTurn(async () => said.push(2), controller.signal);
  const third = inTurn(async () => said.push(3));
  controller.abort(new DOMException('given up', 'AbortError'));
  await assert.rejects(second, /given up/);
  assert.deepEqual(said, []);
  gate.resolve();
  await Promise.all([first, third]);
  assert.deepEqual(said, [1, 3]);
});
