import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { isGatewayError } from '../../src/lib/errors.ts';
import { decode, decodePrefix, Extension, encode, Float, type MsgpackValue } from '../../src/lib/msgpack.ts';

const hex = (text: string) => Uint8Array.fromHex(text);
const refusedAs = (code: 'wire/truncated' | 'wire/malformed' | 'wire/unsupported') => (error: unknown) =>
  isGatewayError(error, code);

interface Vector {
  readonly name: string;
  readonly bytes: string;
  readonly value: { readonly value: unknown };
}

const vectors: { readonly cases: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('../vectors/msgpack.json', import.meta.url), 'utf8'),
);

/** The vectors' JSON: what JSON cannot say is an object with one key that names its kind. */
function fromJson(json: unknown): MsgpackValue {
  if (Array.isArray(json)) {
    return json.map(fromJson);
  }
  if (json === null || typeof json !== 'object') {
    return json as MsgpackValue;
  }
  const said = json as { hex?: string; int?: string; float?: number; map?: [unknown, unknown][] };
  if (said.hex !== undefined) {
    return hex(said.hex);
  }
  if (said.int !== undefined) {
    return BigInt(said.int);
  }
  if (said.float !== undefined) {
    return new Float(said.float);
  }
  return new Map(said.map?.map(([key, value]) => [fromJson(key), fromJson(value)]));
}

for (const { name, bytes, value } of vectors.cases) {
  test(`${name}: decoded, encoded and refused when cut like the reference's`, () => {
    const whole = hex(bytes);
    assert.deepEqual(decode(whole), fromJson(value.value));
    assert.deepEqual(encode(fromJson(value.value)), whole);
    assert.deepEqual(encode(decode(whole)), whole);
    for (let length = 0; length < Math.min(whole.length, 300); length++) {
      assert.throws(() => decode(whole.subarray(0, length)), refusedAs('wire/truncated'));
    }
  });
}

test('floats of 32 bits, extensions of every width and NaN come back as they were', () => {
  const samples = ['ca3f800000', 'cb7ff8000000000000', 'cb8000000000000000'];
  for (const length of [0, 1, 2, 3, 4, 8, 16, 17, 255, 256, 65536]) {
    samples.push(encode(new Extension(-7, new Uint8Array(length).fill(9))).toHex());
  }
  for (const sample of samples) {
    assert.equal(encode(decode(hex(sample))).toHex(), sample);
  }
});

test('a plain number is an integer on the wire where it is one, and a float otherwise', () => {
  assert.equal(encode(1).toHex(), '01');
  assert.equal(encode(1.5).toHex(), 'cb3ff8000000000000');
  assert.equal(encode(-0).toHex(), 'cb8000000000000000');
  assert.equal(encode(5n).toHex(), '05');
  assert.throws(() => encode(1n << 64n), refusedAs('wire/unsupported'));
});

test('a wider form than needed is taken', () => {
  assert.equal(decode(hex('cd0001')), 1);
  assert.equal(decode(hex('d300000000000000ff')), 255);
  assert.deepEqual(decode(hex('dd0000000101')), [1]);
});

test('what the reference refuses is malformed', () => {
  const refused = {
    'a reserved kind': 'c1',
    'no utf-8': 'a1ff',
    'a key twice': '820102cc0103',
    'a map as key': '818001',
  };
  for (const [why, bytes] of Object.entries({
    ...refused,
    'one and true as keys': '8201c0c3c0',
    'bytes left': '0101',
  })) {
    assert.throws(() => decode(hex(bytes)), refusedAs('wire/malformed'), why);
  }
});

test('a declared length is compared with the bytes there before anything is made', () => {
  for (const bytes of [
    'c6ffffffff',
    'dbffffffff',
    'ddffffffff',
    'dfffffffff',
    'c9ffffffff01',
    'dd7fffffff00',
  ]) {
    assert.throws(() => decode(hex(bytes)), refusedAs('wire/truncated'));
  }
});

test('depth, number of values and input are bounded', () => {
  const nested = (depth: number) => hex(`${'91'.repeat(depth)}c0`);
  assert.doesNotThrow(() => decode(nested(32)));
  assert.throws(() => decode(nested(33)), refusedAs('wire/malformed'));
  assert.throws(() => decode(hex('9101'), { maxDepth: 0 }), refusedAs('wire/malformed'));
  assert.throws(() => decode(hex('93010203'), { maxItems: 3 }), refusedAs('wire/malformed'));
  assert.throws(() => decode(hex('93010203'), { maxBytes: 3 }), refusedAs('wire/malformed'));
  const endless: MsgpackValue[] = [];
  endless.push(endless);
  assert.throws(() => encode(endless), refusedAs('wire/unsupported'));
});

test('a prefix is decoded and what follows is not looked at', () => {
  assert.deepEqual(decodePrefix(hex('9101c1c1')), { value: [1], length: 2 });
});

test('any value comes back, and its bytes are the same again', () => {
  const { value } = fc.letrec<{ value: MsgpackValue }>(tie => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.bigInt({ min: 1n << 54n, max: (1n << 64n) - 1n }),
      fc.string({ unit: 'binary' }),
      fc.uint8Array(),
      fc.double().map(number => new Float(number)),
      fc.array(tie('value'), { maxLength: 20 }),
      fc
        .dictionary(fc.string(), tie('value'), { maxKeys: 20 })
        .map(entries => new Map(Object.entries(entries))),
    ),
  }));
  fc.assert(
    fc.property(value, sample => {
      const bytes = encode(sample);
      assert.deepEqual(encode(decode(bytes)), bytes);
      assert.deepEqual(decode(bytes), structurallySafe(sample));
    }),
  );
});

/** -0 as a plain number becomes a float; nothing else changes on its way. */
function structurallySafe(value: MsgpackValue): MsgpackValue {
  if (Object.is(value, -0)) {
    return new Float(-0);
  }
  if (Array.isArray(value)) {
    return value.map(structurallySafe);
  }
  return value instanceof Map
    ? new Map([...value].map(([key, item]) => [key, structurallySafe(item)]))
    : value;
}

test('any bytes decode or are refused with a wire code', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        decode(bytes);
      } catch (error) {
        assert.ok(isGatewayError(error, 'wire/truncated', 'wire/malformed'), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
