import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRange } from '../../../src/bridges/http/blobs.ts';
import { idempotencyKey } from '../../../src/bridges/http/idempotency.ts';
import { parseForm } from '../../../src/bridges/http/legacy/fields.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';

test('an Idempotency-Key is the same key as a string and bare', () => {
  assert.equal(idempotencyKey(undefined), undefined);
  assert.equal(idempotencyKey('abc-1'), 'abc-1');
  assert.equal(idempotencyKey(' "abc-1" '), 'abc-1');
  assert.equal(idempotencyKey('"say \\"hi\\" \\\\"'), 'say "hi" \\');
});

test('an Idempotency-Key that is neither is refused', () => {
  for (const header of ['', ' ', '""', 'two words', '"open', 'half"', 'ümlaut', 'x'.repeat(256), '"a\\b"']) {
    assert.throws(
      () => idempotencyKey(header),
      error => isGatewayError(error, 'request/invalid'),
      header,
    );
  }
});

test('a range is what RFC 9110 says', () => {
  assert.deepEqual(parseRange('bytes=0-9', 100), { start: 0, end: 9 });
  assert.deepEqual(parseRange('bytes=90-', 100), { start: 90, end: 99 });
  assert.deepEqual(parseRange('bytes=90-1000', 100), { start: 90, end: 99 });
  assert.deepEqual(parseRange('bytes=-10', 100), { start: 90, end: 99 });
  assert.deepEqual(parseRange('bytes=-1000', 100), { start: 0, end: 99 });
  assert.equal(parseRange('bytes=100-', 100), 'unsatisfiable');
  assert.equal(parseRange('bytes=-0', 100), 'unsatisfiable');
  assert.equal(parseRange('bytes=0-0', 0), 'unsatisfiable');
  for (const ignored of [undefined, 'bytes=-', 'bytes=9-1', 'bytes=0-1,5-6', 'lines=1-2', 'bytes=a-b']) {
    assert.equal(parseRange(ignored, 100), undefined);
  }
});

test('a range always lies inside the blob', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.nat(200), fc.nat(150), (first, last, size) => {
      for (const header of [`bytes=${first}-${last}`, `bytes=${first}-`, `bytes=-${last}`]) {
        const range = parseRange(header, size);
        if (typeof range === 'object') {
          assert.ok(range.start >= 0 && range.start <= range.end && range.end < size);
        }
      }
    }),
  );
});

test('a form says what a browser put into it, whatever the characters', () => {
  assert.deepEqual(parseForm('text=%EF%BF%BD+%E2%82%AC&a=%zz&b=100%&&c'), {
    text: '\ufffd €',
    a: '%zz',
    b: '100%',
    c: '',
  });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 12 }), points => {
      const value = String.fromCodePoint(...points).toWellFormed();
      assert.equal(parseForm(new URLSearchParams({ to: 'x', text: value }).toString()).text, value);
    }),
  );
});

test('a form that is not UTF-8 is refused with the name of the field', () => {
  for (const bytes of ['%FF', '%C3', '%C0%80', '%ED%A0%80', 'a%E2%82b', '%F4%90%80%80']) {
    assert.throws(
      () => parseForm(`to=x&text=${bytes}`),
      error => isGatewayError(error, 'request/invalid') && error.message === '/text: not UTF-8',
      bytes,
    );
    assert.throws(
      () => parseForm(`${bytes}=x`),
      error => isGatewayError(error, 'request/invalid'),
      bytes,
    );
  }
});

test('a form of more fields than anybody has is refused before they are read', () => {
  const fields = Array.from({ length: 256 }, (_, n) => `a${n}=x`).join('&');
  assert.equal(Object.keys(parseForm(`&&${fields}&`)).length, 256);
  assert.throws(
    () => parseForm(`${fields}&b=%ff`),
    error => isGatewayError(error, 'request/invalid') && error.message === 'at most 256 fields',
  );
});
