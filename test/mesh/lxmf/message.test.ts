import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { encode } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import {
  decodeMessage,
  encodeMessage,
  fieldLimit,
  opportunisticLimit,
  verifyMessage,
  withDestination,
  withoutDestination,
} from '../../../src/mesh/lxmf/message.ts';
import { generateIdentity, Identity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { vectors } from '../reticulum/vectors.ts';

interface Tagged {
  readonly sourcePrivateKey: string;
  readonly sourcePublicKey: string;
  readonly source: string;
  readonly destination: string;
  readonly signature: string;
  readonly id: string;
  readonly timestamp: { readonly float: number };
  readonly title: string;
  readonly content: string;
  readonly fields: { readonly map: readonly (readonly [number | string, unknown])[] };
  readonly stamp: string | null;
  readonly method: string;
}

const messages = vectors<Tagged>('lxmf');

describe('a message of the reference', () => {
  for (const { name, bytes, value } of messages) {
    test(`decodes, is verified and encodes to the same bytes: ${name}`, () => {
      const packed = fromHex(bytes);
      const message = decodeMessage(packed);
      assert.equal(toHex(message.destination), value.destination);
      assert.equal(toHex(message.source), value.source);
      assert.equal(toHex(message.signature), value.signature);
      assert.equal(toHex(message.id), value.id);
      assert.equal(message.timestamp, value.timestamp.float);
      assert.equal(toHex(message.title), value.title);
      assert.equal(toHex(message.content), value.content);
      assert.deepEqual(
        [...message.fields.keys()],
        value.fields.map.map(([key]) => key),
      );
      assert.equal(message.stamp === undefined ? null : toHex(message.stamp), value.stamp);
      assert.ok(verifyMessage(message, new PublicIdentity(fromHex(value.sourcePublicKey))));

      const again = encodeMessage(message, new Identity(fromHex(value.sourcePrivateKey)));
      assert.equal(toHex(again.id), value.id);
      assert.equal(toHex(again.packed), bytes);
    });
  }

  test('says where it ends early, wherever it is cut', () => {
    for (const { name, bytes } of messages) {
      const packed = fromHex(bytes);
      const step = packed.length > 2000 ? 97 : 1;
      for (let length = 0; length < packed.length; length += step) {
        assert.throws(
          () => decodeMessage(packed.subarray(0, length)),
          error => isGatewayError(error, 'wire/truncated'),
          `${name} cut to ${length} bytes`,
        );
      }
    }
  });
});

test('messages of other implementations get the id and the judgement the reference gives them', () => {
  const foreign = vectors<{
    sourcePublicKey: string;
    id: string;
    verified: boolean;
    stamp?: { hex: string } | null;
  }>('lxmf-foreign');
  for (const { name, bytes, value } of foreign) {
    const message = decodeMessage(fromHex(bytes));
    assert.equal(toHex(message.id), value.id, name);
    assert.equal(
      verifyMessage(message, new PublicIdentity(fromHex(value.sourcePublicKey))),
      value.verified,
      name,
    );
    assert.equal(message.stamp === undefined ? undefined : toHex(message.stamp), value.stamp?.hex, name);
  }
});

test('an opportunistic message is the packed one without its destination hash', () => {
  const cases = vectors<{ plaintext: string; packed: string; id: string }>('lxmf-opportunistic');
  for (const { name, value } of cases) {
    const packed = fromHex(value.packed);
    assert.equal(toHex(withoutDestination(packed)), value.plaintext, name);
    const whole = withDestination(packed.subarray(0, 16), fromHex(value.plaintext));
    assert.equal(toHex(decodeMessage(whole).id), value.id, name);
  }
});

test('a single packet takes what the reference puts into one', () => {
  const cases = vectors<{ desired: string; method: string }>('lxmf-representation');
  for (const { name, bytes, value } of cases.filter(one => one.value.desired === 'opportunistic')) {
    assert.equal(bytes.length / 2 <= opportunisticLimit, value.method === 'opportunistic', name);
  }
});

describe('a hostile message', () => {
  const head = new Uint8Array(96);
  const packed = (payload: Uint8Array) => Uint8Array.from([...head, ...payload]);
  const refused = (payload: Uint8Array, code: 'wire/malformed' | 'wire/truncated') =>
    assert.throws(
      () => decodeMessage(packed(payload)),
      error => isGatewayError(error, code),
    );

  test('of another shape is malformed', () => {
    refused(encode([1, new Uint8Array(), new Uint8Array()]), 'wire/malformed');
    refused(encode(['now', new Uint8Array(), new Uint8Array(), new Map()]), 'wire/malformed');
    refused(encode([1, 2, new Uint8Array(), new Map()]), 'wire/malformed');
    refused(encode([1, new Uint8Array(), new Uint8Array(), []]), 'wire/malformed');
    refused(encode(new Map([[1, 2]])), 'wire/malformed');
    refused(
      Uint8Array.of(...encode([1, new Uint8Array(), new Uint8Array(), new Map()]), 0),
      'wire/malformed',
    );
  });

  test('that claims more than it holds is truncated before anything is allocated', () => {
    refused(Uint8Array.of(0x94, 0x01, 0xc6, 0xff, 0xff, 0xff, 0xff), 'wire/truncated');
    refused(Uint8Array.of(0x94, 0x01, 0xc4, 0, 0xc4, 0, 0xdf, 0xff, 0xff, 0xff, 0xff), 'wire/truncated');
  });

  test('with the same field twice, or more fields than the limit, is malformed', () => {
    const start = [0x94, 0x01, 0xc4, 0, 0xc4, 0];
    refused(Uint8Array.of(...start, 0x82, 5, 0, 5, 0), 'wire/malformed');
    const many = new Map(Array.from({ length: fieldLimit + 1 }, (_, number) => [number, null] as const));
    refused(Uint8Array.of(...start, ...encode(many)), 'wire/malformed');
  });

  test('of any bytes is a value or a wire error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), payload => {
        for (const bytes of [payload, packed(payload), packed(Uint8Array.of(0x95, ...payload))]) {
          try {
            decodeMessage(bytes);
          } catch (error) {
            assert.ok(isGatewayError(error) && error.code.startsWith('wire/'), String(error));
          }
        }
      }),
    );
  });
});

test('what is packed is read again, whatever is in it, and only its signer is believed', () => {
  const identity = generateIdentity(systemRandom);
  const other = generateIdentity(systemRandom);
  fc.assert(
    fc.property(
      fc.record({
        destination: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        source: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        timestamp: fc.double({ noNaN: true }),
        title: fc.uint8Array(),
        content: fc.uint8Array({ maxLength: 400 }),
        keys: fc.uniqueArray(fc.oneof(fc.integer(), fc.string()), { maxLength: 20 }),
        stamp: fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }),
      }),
      ({ keys, ...parts }) => {
        const fields = new Map(keys.map((key, at) => [key, encode([at, 'value'])] as const));
        const { packed, id } = encodeMessage({ ...parts, fields }, identity);
        const message = decodeMessage(packed);
        assert.deepEqual(toHex(message.id), toHex(id));
        assert.equal(message.timestamp, parts.timestamp);
        assert.deepEqual([...message.fields.keys()], keys);
        assert.equal(message.stamp && toHex(message.stamp), parts.stamp && toHex(parts.stamp));
        assert.ok(verifyMessage(message, identity.public));
        assert.ok(!verifyMessage(message, other.public));
      },
    ),
    { numRuns: 50 },
  );
});
