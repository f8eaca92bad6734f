import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex, utf8 } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { encode } from '../../../src/lib/msgpack.ts';
import {
  decodeDeliveryAnnounce,
  decodePropagationAnnounce,
  encodeDeliveryAnnounce,
} from '../../../src/mesh/lxmf/announce.ts';
import { vectors } from '../reticulum/vectors.ts';

interface AnnounceData {
  readonly displayName?: string | null;
  readonly stampCost: number | null;
  readonly shown: string | null;
  readonly compression?: boolean;
}

const cases = vectors<AnnounceData>('lxmf-announce-data');

test('announce data reads as the reference reads it', () => {
  for (const { name, bytes, value } of cases) {
    const announce = decodeDeliveryAnnounce(fromHex(bytes));
    assert.equal(announce.displayName ?? null, value.shown, name);
    assert.equal(announce.stampCost ?? null, value.stampCost, name);
    // With nothing said the reference answers no, and then sends compressed all the same.
    assert.equal(announce.compression, bytes === '' ? true : (value.compression ?? true), name);
  }
});

test('our announce data is what the reference makes of the same name', () => {
  for (const { name, bytes, value } of cases) {
    if (value.displayName !== undefined && value.stampCost === null) {
      assert.equal(toHex(encodeDeliveryAnnounce(value.displayName ?? undefined)), bytes, name);
    }
  }
});

test('a name is shown without control characters and outer space', () => {
  const data = encode([utf8(' \u001b[31mEve\u0000\n '), null, [0]]);
  assert.equal(decodeDeliveryAnnounce(data).displayName, '[31mEve');
});

test('a peer that lists no features cannot take compressed Resources', () => {
  assert.equal(decodeDeliveryAnnounce(encode([utf8('Eve'), null, []])).compression, false);
});

test('a propagation node is told from a delivery destination', () => {
  const node = encode([false, 1_760_000_000, true, 256, 10_240, [16, 3, 18], new Map([[1, utf8('node')]])]);
  assert.deepEqual(decodePropagationAnnounce(node), { active: true });
  assert.equal(decodePropagationAnnounce(encodeDeliveryAnnounce('Alice')), undefined);
  assert.equal(decodePropagationAnnounce(utf8('Alice')), undefined);
});

test('any bytes are announce data or a wire error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, list) => {
      const data = list ? Uint8Array.of(0x93, ...bytes) : bytes;
      decodePropagationAnnounce(data);
      try {
        decodeDeliveryAnnounce(data);
      } catch (error) {
        assert.ok(isGatewayError(error) && error.code.startsWith('wire/'), String(error));
      }
    }),
  );
});
