import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventTail } from '../../src/gateway/event-tail.ts';
import type { EventRow } from '../../src/gateway/store/event-table.ts';

function row(seq: number, body: string | null = null): EventRow {
  return { seq, at: 0, kind: 'delivery.changed', message: null, body, audience: '' };
}

const rows = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, n) => row(first + n));
const seqs = (found: readonly EventRow[]) => found.map(({ seq }) => seq);

test('the tail gives what came after a row it covers, in order and no more than asked for', () => {
  const tail = createEventTail(10);
  assert.equal(tail.covers(9), false);
  assert.deepEqual(seqs(tail.after(10, 5)), []);
  tail.grown(13, rows(11, 13));
  tail.grown(14, rows(14, 14));
  assert.deepEqual(seqs(tail.after(10, 100)), [11, 12, 13, 14]);
  assert.deepEqual(seqs(tail.after(12, 1)), [13]);
  assert.deepEqual(seqs(tail.after(14, 100)), []);
});

test('the tail covers nothing before events that were not carried, or that a writer kept to itself', () => {
  const tail = createEventTail(10);
  tail.grown(11, rows(11, 11));
  tail.grown(15, undefined);
  assert.equal(tail.covers(14), false);
  assert.equal(tail.covers(15), true);
  tail.grown(18, rows(17, 18));
  assert.equal(tail.covers(15), false);
  assert.equal(tail.covers(18), true);
  tail.grown(19, rows(19, 19));
  assert.deepEqual(seqs(tail.after(18, 9)), [19]);
});

test('the tail keeps a bounded number of events and a bounded length of them', () => {
  const tail = createEventTail(0);
  for (let first = 1; first <= 2000; first += 10) {
    tail.grown(first + 9, rows(first, first + 9));
  }
  assert.equal(tail.covers(1000), false);
  assert.ok(tail.covers(1900));
  assert.deepEqual(seqs(tail.after(1990, 100)), seqs(rows(1991, 2000)));
  tail.grown(2001, [row(2001, 'x'.repeat(2_000_000))]);
  assert.ok(tail.covers(2001));
  assert.equal(tail.covers(2000), false);
});
