import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textFrame } from '../../../src/bridges/ws/frames.ts';
import { countTurns } from '../../../src/bridges/ws/outlet.ts';

test('a text frame says its length in as many bytes as it needs', () => {
  for (const [length, head] of [
    [0, '8100'],
    [125, '817d'],
    [126, '817e007e'],
    [65_535, '817effff'],
    [65_536, '817f0000000000010000'],
  ] as const) {
    const frame = textFrame('x'.repeat(length));
    assert.equal(frame.subarray(0, head.length / 2).toString('hex'), head);
    assert.equal(frame.length, head.length / 2 + length);
  }
});

test('the length of a text frame is that of its UTF-8', () => {
  const frame = textFrame('grüße');
  assert.equal(frame[1], 7);
  assert.equal(frame.subarray(2).toString(), 'grüße');
});

test('turns are told apart, and asking twice in one is the same turn', async () => {
  const turns = countTurns();
  const first = turns();
  assert.equal(turns(), first);
  await new Promise(resolve => setImmediate(resolve));
  assert.notEqual(turns(), first);
});
