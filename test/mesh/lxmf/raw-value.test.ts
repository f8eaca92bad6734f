import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { rawValue } from '../../../src/mesh/lxmf/raw-value.ts';
import { vectors } from '../reticulum/vectors.ts';

test('a value is found whole between others, and cut short is truncated', () => {
  for (const { name, bytes } of vectors('msgpack')) {
    const value = fromHex(bytes);
    const among = Uint8Array.of(0xc0, ...value, 0xc3);
    assert.equal(toHex(rawValue(among, 1, 'value')), bytes, name);
    for (const length of [0, 1, value.length >> 1, value.length - 1].filter(cut => cut < value.length)) {
      assert.throws(
        () => rawValue(value.subarray(0, length), 0, 'value'),
        error => isGatewayError(error, 'wire/truncated'),
        `${name} cut to ${length}`,
      );
    }
  }
});

test('any bytes begin with a value or are a wire error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), bytes => {
      try {
        assert.ok(rawValue(bytes, 0, 'value').length > 0);
      } catch (error) {
        assert.ok(isGatewayError(error, 'wire/truncated', 'wire/malformed'), String(error));
      }
    }),
  );
});
