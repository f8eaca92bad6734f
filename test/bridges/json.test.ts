import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deepestJson, mostJsonValues, parseJson } from '../../src/bridges/json.ts';
import { type GatewayError, isGatewayError } from '../../src/lib/errors.ts';

function refusal(text: string): GatewayError {
  try {
    parseJson(text);
  } catch (error) {
    assert.ok(isGatewayError(error, 'request/invalid'));
    return error;
  }
  assert.fail(`${text} was taken`);
}

test('any JSON value that a serializer writes is read back', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), value => {
      const text = JSON.stringify(value);
      fc.pre(!text.includes('__proto__'));
      assert.deepEqual(parseJson(text), JSON.parse(text));
      assert.deepEqual(parseJson(JSON.stringify(value, null, 2)), JSON.parse(text));
    }),
  );
});

test('any text is a value or request/invalid', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]":,\\ 1ae\n') }), text => {
      try {
        parseJson(text);
      } catch (error) {
        assert.ok(isGatewayError(error, 'request/invalid'));
      }
    }),
    { numRuns: 2000 },
  );
});

test('a key given twice is refused with its pointer, however it is written', () => {
  assert.deepEqual(refusal('{"a":1,"b":{"c/d":1,"c\\u002fd":2}}').errors, [
    { pointer: '/b/c~1d', detail: 'given twice' },
  ]);
  assert.deepEqual(parseJson('{"a":{"x":1},"b":{"x":"x"},"c":["x",{"x":1},{"x":2}]}'), {
    a: { x: 1 },
    b: { x: 'x' },
    c: ['x', { x: 1 }, { x: 2 }],
  });
});

test('a key that could reach a prototype is refused', () => {
  assert.equal(refusal('{"to":"x","__proto__":{"admin":true}}').errors[0]?.pointer, '/__proto__');
  assert.equal(refusal('[{"\\u005f_proto__":1}]').errors[0]?.pointer, '/-/__proto__');
});

test('the values of a text are bounded, and counted before it is read', () => {
  const array = (count: number, one: string) => `[${Array(count).fill(one).join(',')}]`;
  for (const one of ['1', '[]', '""', 'null']) {
    assert.doesNotThrow(() => parseJson(array(mostJsonValues / 2 - 1, one)));
    assert.match(refusal(array(mostJsonValues + 1, one)).message, /more than 65536 values/);
  }
  assert.match(refusal(`${array(mostJsonValues + 1, '{"a":1}')} and no JSON`).message, /values/);
  assert.doesNotThrow(
    () => parseJson(JSON.stringify([',[{"\\'.repeat(mostJsonValues)])),
    'words are no values',
  );
  assert.match(refusal(`["${','.repeat(mostJsonValues)}`).message, /not JSON/);
  assert.match(refusal(`["${'\\"'.repeat(mostJsonValues)}`).message, /not JSON/);
});

test('nesting is bounded', () => {
  assert.doesNotThrow(() => parseJson('['.repeat(deepestJson) + ']'.repeat(deepestJson)));
  assert.match(refusal('['.repeat(deepestJson + 1) + ']'.repeat(deepestJson + 1)).message, /deep/);
  assert.match(refusal(`${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`).message, /deep/);
});

test('a number that would be changed in silence is refused with its place', () => {
  for (const [text, pointer] of [
    ['{"a":1e400}', '/a'],
    ['{"a":[1,12345678901234567890]}', '/a/-'],
    ['-9007199254740993', ''],
  ] as const) {
    assert.throws(
      () => parseJson(text),
      error => isGatewayError(error, 'request/invalid') && error.errors[0]?.pointer === pointer,
      text,
    );
  }
  assert.deepEqual(parseJson('{"a":[1.5e3,-0.25,9007199254740991,"1e400"]}'), {
    a: [1500, -0.25, 9007199254740991, '1e400'],
  });
});
