import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinPatches, mergePatch, overlay } from '../src/config-overlay.ts';

const file = [
  { name: 'a', kind: 'lan' },
  { name: 'b', kind: 'tcp-client', host: 'x', port: 1, announce: { cap: 1, rateGrace: 2 } },
  { name: 'c', kind: 'lan' },
];

test('an overlay adds, changes and removes interfaces, and leaves the rest of the list as it is', () => {
  const { interfaces } = overlay(file, {
    a: { removed: true },
    b: { changed: { port: 2, announce: { cap: null } } },
    d: { added: { name: 'd', kind: 'lan' } },
    c: { added: { name: 'c', kind: 'udp' } },
    gone: { changed: { port: 3 } },
    never: { removed: true },
  });
  assert.deepEqual(interfaces, [
    { name: 'b', kind: 'tcp-client', host: 'x', port: 2, announce: { rateGrace: 2 } },
    { name: 'c', kind: 'udp' },
    { name: 'd', kind: 'lan' },
  ]);
});

test('a mistake is told where it was made: in the file by its place there, or in the overlay by name', () => {
  const { pointerOf } = overlay(file, {
    a: { removed: true },
    b: { changed: { port: 2, announce: { cap: 7 } } },
    d: { added: { name: 'd', kind: 'lan' } },
  });
  assert.equal(pointerOf('interfaces.0.port'), 'interfaces.json: b.port');
  assert.equal(pointerOf('interfaces.0.announce.cap'), 'interfaces.json: b.announce.cap');
  assert.equal(pointerOf('interfaces.0.host'), 'interfaces.1.host');
  assert.equal(pointerOf('interfaces.1.kind'), 'interfaces.2.kind');
  assert.equal(pointerOf('interfaces.1'), 'interfaces.2');
  assert.equal(pointerOf('interfaces.2.kind'), 'interfaces.json: d.kind');
  assert.equal(pointerOf('hub.name'), 'hub.name');
});

test('two patches joined do what they do one after the other', () => {
  const target = { a: 1, b: { c: 2, d: 3 }, e: 4 };
  const first = { a: null, b: { c: null, x: 1 }, f: { g: 1 } };
  const second = { a: 5, b: { d: null }, f: { g: null, h: 2 }, e: null };
  assert.deepEqual(
    mergePatch(target, joinPatches(first, second)),
    mergePatch(mergePatch(target, first), second),
  );
});
