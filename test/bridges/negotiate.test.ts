import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { negotiate } from '../../src/bridges/negotiate.ts';

const offered = ['application/json', 'application/vnd.klp+json', 'text/plain'] as const;

test('the form is the one the client likes best, and the first of those it likes as much', () => {
  const cases: readonly [string | undefined, string | undefined][] = [
    [undefined, 'application/json'],
    ['', 'application/json'],
    ['*/*', 'application/json'],
    ['text/plain', 'text/plain'],
    ['TEXT/Plain; charset=utf-8', 'text/plain'],
    ['text/plain;q=0.5, application/json;q=0.4', 'text/plain'],
    ['text/plain;q=0.5, */*', 'application/json'],
    ['text/*, application/json;q=0', 'text/plain'],
    ['application/json;q=0, */*;q=0.1', 'application/vnd.klp+json'],
    ['application/*;q=0.2, application/vnd.klp+json', 'application/vnd.klp+json'],
    ['image/png', undefined],
    ['image/png, */*;q=0', undefined],
    ['nonsense', 'application/json'],
    ['nonsense, text/plain', 'text/plain'],
  ];
  for (const [accept, expected] of cases) {
    assert.equal(negotiate(accept, offered), expected, String(accept));
  }
});

test('whatever the header says, the answer is one of those offered or none', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), accept => {
      const form = negotiate(accept, offered);
      assert.ok(form === undefined || offered.includes(form));
    }),
  );
});
