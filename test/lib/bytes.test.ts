import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, equal, fromHex, fromUtf8, Reader, utf8, Writer } from '../../src/lib/bytes.ts';
import { isGatewayError } from '../../src/lib/errors.ts';

test('what a Writer wrote, growing at every step, a Reader reads', () => {
  const writer = new Writer(1);
  writer.u8(200).i8(-2).u16(60_000).i16(-300).u32(4_000_000_000).i32(-70_000);
  writer
    .u64(2n ** 63n)
    .i64(-5n)
    .f32(0.5)
    .f64(0.1)
    .raw(Uint8Array.of(1, 2));
  assert.equal(writer.length, 44);
  const reader = new Reader(writer.finish());
  assert.deepEqual(
    [reader.u8('a'), reader.i8('b'), reader.u16('c'), reader.i16('d'), reader.u32('e'), reader.i32('f')],
    [200, -2, 60_000, -300, 4_000_000_000, -70_000],
  );
  assert.deepEqual(
    [reader.u64('g'), reader.i64('h'), reader.f32('i'), reader.f64('j')],
    [2n ** 63n, -5n, 0.5, 0.1],
  );
  assert.equal(reader.left, 2);
  assert.deepEqual(reader.rest(), Uint8Array.of(1, 2));
  reader.end('sample');
});

test('each kind of number grows the smallest Writer by itself', () => {
  for (const kind of ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'f64'] as const) {
    assert.ok(
      new Writer(0)
        [kind](1)
        .finish()
        .some(byte => byte !== 0),
      kind,
    );
  }
  for (const kind of ['u64', 'i64'] as const) {
    assert.ok(
      new Writer(0)
        [kind](1n)
        .finish()
        .some(byte => byte !== 0),
      kind,
    );
  }
});

test('reading past the end says which field was cut and where', () => {
  const reader = new Reader(Uint8Array.of(1, 2, 3));
  reader.u8('kind');
  assert.throws(
    () => reader.take(3, 'destination hash'),
    error =>
      isGatewayError(error, 'wire/truncated') &&
      error.detail.offset === 1 &&
      /destination hash/.test(error.message),
  );
  assert.throws(
    () => reader.end('packet'),
    (error: unknown) => isGatewayError(error, 'wire/malformed'),
  );
  assert.equal(reader.u16('rest'), 0x0203);
});

test('a Reader of a view reads the view alone', () => {
  const reader = new Reader(Uint8Array.of(9, 1, 2, 9).subarray(1, 3));
  assert.equal(reader.u16('both'), 0x0102);
  assert.throws(
    () => reader.u8('more'),
    (error: unknown) => isGatewayError(error, 'wire/truncated'),
  );
});

test('arrays are joined and compared', () => {
  assert.deepEqual(concat(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)), Uint8Array.of(1, 2, 3));
  assert.ok(equal(Uint8Array.of(1, 2), Uint8Array.of(1, 2)));
  assert.ok(
    !equal(Uint8Array.of(1, 2), Uint8Array.of(1, 3)) && !equal(Uint8Array.of(1), Uint8Array.of(1, 2)),
  );
});

test('text that is not hex, of another length or not UTF-8 is malformed', () => {
  const malformed = (error: unknown) => isGatewayError(error, 'wire/malformed');
  assert.deepEqual(fromHex('00fF', 2), Uint8Array.of(0, 255));
  for (const text of ['0', 'zz', ' 00', '00\n']) {
    assert.throws(() => fromHex(text), malformed, JSON.stringify(text));
  }
  assert.throws(() => fromHex('00', 2), malformed);
  assert.equal(fromUtf8(utf8('\ufeffä'), 'title'), '\ufeffä');
  assert.throws(() => fromUtf8(Uint8Array.of(0xff), 'title'), malformed);
});
