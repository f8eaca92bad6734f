import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairRoom } from '../../../src/mesh/reticulum/fair-room.ts';

test('places that are shared: nobody has more than are free, and who has none finds one', () => {
  const room = new FairRoom(4096);
  const fill = (source: object) => {
    let taken = 0;
    while (room.take(source)) {
      taken += 1;
    }
    return taken;
  };
  const [one, other, calm] = [{}, {}, {}];
  assert.equal(fill(one), 2048);
  assert.equal(fill(other), 1024);
  assert.ok(room.take(calm));
  room.give(calm);
  for (let count = 0; count < 2048; count++) {
    room.give(one);
  }
  assert.equal(fill(other), 2048 - 1024);
});

test('many who take all they can have as much each as they leave, once what they took first is over', () => {
  const room = new FairRoom(4096);
  const crowd = Array.from({ length: 99 }, () => ({}));
  const taken: object[] = [];
  let turn = 0;
  const ask = () => {
    for (let tries = 0; tries < crowd.length; tries++) {
      const source = crowd[turn++ % crowd.length]!;
      if (room.take(source)) {
        taken.push(source);
      }
    }
  };
  for (let round = 0; round < 10_000; round++) {
    ask();
    if (round > 1000) {
      room.give(taken.shift()!);
    }
  }
  const calm = {};
  let places = 0;
  while (room.take(calm)) {
    places += 1;
  }
  assert.ok(places >= 15, `${places} are left`);
});
