import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { IdleLines } from '../../src/bridges/idle-lines.ts';

const socketFrom = (remoteAddress: string | undefined) => ({ remoteAddress }) as Socket;

test('the oldest is the first of the address that has most, and of strangers while there are any', () => {
  const idle = new IdleLines();
  const [a, b, c, d] = [
    idle.open(socketFrom('10.0.0.1')),
    idle.open(socketFrom('10.0.0.2')),
    idle.open(socketFrom('10.0.0.2')),
    idle.open(socketFrom(undefined)),
  ];
  assert.equal(idle.oldest(), undefined);
  idle.enter(a, 'stranger', 1);
  idle.enter(b, 'stranger', 2);
  idle.enter(c, 'stranger', 3);
  idle.enter(d, 'known', 0);
  assert.equal(idle.size, 4);
  assert.equal(idle.oldest(), b);
  idle.leave(b);
  idle.leave(b);
  assert.equal(idle.size, 3);
  // As many as another address: the first address.
  assert.equal(idle.oldest(), a);
  idle.enter(b, 'stranger', 4);
  assert.equal(idle.oldest(), c);
  for (const place of [a, b, c]) {
    idle.leave(place);
  }
  assert.equal(idle.oldest(), d);
  assert.equal(d.since, 0);
  idle.leave(d);
  assert.equal(idle.oldest(), undefined);
  assert.equal(idle.size, 0);
});

test('one that becomes idle anew goes to the end, wherever it stood', () => {
  const idle = new IdleLines();
  const places = Array.from({ length: 4 }, () => idle.open(socketFrom('10.0.0.1')));
  const [a, b, c, d] = places as [
    (typeof places)[0],
    (typeof places)[0],
    (typeof places)[0],
    (typeof places)[0],
  ];
  for (const [n, place] of places.entries()) {
    idle.enter(place, 'stranger', n);
  }
  idle.enter(b, 'stranger', 10);
  idle.enter(a, 'known', 11);
  idle.enter(d, 'stranger', 12);
  assert.equal(idle.size, 4);
  const order: unknown[] = [];
  for (let oldest = idle.oldest(); oldest !== undefined; oldest = idle.oldest()) {
    order.push(oldest);
    idle.leave(oldest);
  }
  assert.deepEqual(
    order.map(one => places.indexOf(one as (typeof places)[0])),
    [c, b, d, a].map(one => places.indexOf(one)),
  );
});

test('one that is closed is not idle any more', () => {
  const idle = new IdleLines();
  const [a, b] = [idle.open(socketFrom('10.0.0.1')), idle.open(socketFrom('10.0.0.1'))];
  idle.enter(a, 'stranger', 1);
  idle.enter(b, 'stranger', 2);
  idle.close(a);
  assert.equal(idle.size, 1);
  assert.equal(idle.oldest(), b);
  idle.close(b);
  assert.equal(idle.size, 0);
  const again = idle.open(socketFrom('10.0.0.1'));
  idle.enter(again, 'known', 3);
  assert.equal(idle.oldest(), again);
});
