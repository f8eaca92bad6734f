import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { decodeIdentity, ratchetId } from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate, publicOf } from '../../../src/mesh/reticulum/keys.ts';
import {
  contexts,
  decodePacket,
  encodePacket,
  header1Length,
  header2Length,
  packetHash,
  truncatedHash,
} from '../../../src/mesh/reticulum/packet.ts';
import { bytesOf, drawing, hexOf, vectors } from './vectors.ts';

interface PacketValue {
  readonly headerType: 1 | 2;
  readonly contextFlag: boolean;
  readonly propagation: string;
  readonly destinationType: string;
  readonly packetType: string;
  readonly hops: number;
  readonly transportId: string | null;
  readonly destinationHash: string;
  readonly context: number;
  readonly data: string;
  readonly hash: string;
  readonly truncatedHash: string;
}

interface SinglePacketValue {
  readonly privateKey: string;
  readonly destinationHash: string;
  readonly ratchetPrivate: string | null;
  readonly ratchetId: string | null;
  readonly draws: readonly string[];
  readonly plaintext: string;
  readonly hash: string;
}

const cases = vectors<PacketValue>('packet');

describe('a packet', () => {
  test('decodes to what the reference reads in it', () => {
    for (const { name, bytes, value } of cases) {
      const packet = decodePacket(bytesOf(bytes));
      assert.deepEqual(
        {
          contextFlag: packet.contextFlag,
          propagation: packet.propagation,
          destinationType: packet.destinationType,
          packetType: packet.packetType,
          hops: packet.hops,
          transportId: hexOf(packet.transportId),
          destinationHash: hexOf(packet.destinationHash),
          context: packet.context,
          data: hexOf(packet.data),
        },
        {
          contextFlag: value.contextFlag,
          propagation: value.propagation,
          destinationType: value.destinationType,
          packetType: value.packetType === 'linkrequest' ? 'link-request' : value.packetType,
          hops: value.hops,
          transportId: value.transportId,
          destinationHash: value.destinationHash,
          context: value.context,
          data: value.data,
        },
        name,
      );
    }
  });

  test('encodes to the same bytes again', () => {
    for (const { name, bytes } of cases) {
      assert.equal(hexOf(encodePacket(decodePacket(bytesOf(bytes)))), bytes, name);
    }
  });

  test('has the hash that the reference computes, whatever its hops and header', () => {
    for (const { name, bytes, value } of cases) {
      const hash = packetHash(bytesOf(bytes));
      assert.equal(hexOf(hash), value.hash, name);
      assert.equal(hexOf(truncatedHash(hash)), value.truncatedHash, name);
    }
  });

  test('is truncated wherever it ends before its data', () => {
    for (const { name, bytes, value } of cases) {
      const whole = bytesOf(bytes);
      const headerLength = value.headerType === 1 ? header1Length : header2Length;
      for (let length = 0; length <= headerLength; length++) {
        assert.throws(
          () => decodePacket(whole.subarray(0, length)),
          { code: 'wire/truncated' },
          `${name}, ${length} bytes`,
        );
      }
    }
  });

  test('is refused where the reference drops it', () => {
    for (const { name, bytes } of vectors('packet-dropped')) {
      assert.throws(() => decodePacket(bytesOf(bytes)), { name: 'GatewayError', code: /^wire\// }, name);
    }
  });

  test('sealed with an access code is unsupported', () => {
    const bytes = bytesOf(cases[0]!.bytes);
    bytes[0] = bytes[0]! | 0x80;
    assert.throws(() => decodePacket(bytes), { code: 'wire/unsupported' });
  });

  test('with 127 hops is taken and with 128 refused', () => {
    const bytes = bytesOf(cases[0]!.bytes);
    bytes[1] = 127;
    assert.equal(decodePacket(bytes).hops, 127);
    bytes[1] = 128;
    assert.throws(() => decodePacket(bytes), { code: 'wire/malformed' });
  });

  test('that is an announce of more than 500 bytes is refused, and data of more is not', () => {
    const packet = decodePacket(bytesOf(cases[0]!.bytes));
    const long = { ...packet, data: new Uint8Array(482) };
    assert.equal(decodePacket(encodePacket(long)).data.length, 482);
    assert.throws(() => decodePacket(encodePacket({ ...long, packetType: 'announce' })), {
      code: 'wire/malformed',
    });
  });

  test('without data is encoded, and read by nobody', () => {
    const raw = encodePacket({ ...decodePacket(bytesOf(cases[0]!.bytes)), data: new Uint8Array(0) });
    assert.throws(() => decodePacket(raw), { code: 'wire/truncated' });
  });

  test('that no peer would accept is not encoded', () => {
    const packet = decodePacket(bytesOf(cases[0]!.bytes));
    assert.throws(() => encodePacket({ ...packet, hops: 128 }), { code: 'wire/malformed' });
    assert.throws(() => encodePacket({ ...packet, destinationHash: new Uint8Array(15) }), {
      code: 'wire/malformed',
    });
  });

  test('keeps its hash when a transport node takes it over', () => {
    const near = decodePacket(bytesOf(cases[0]!.bytes));
    const far = {
      ...near,
      hops: 3,
      transportId: new Uint8Array(16).fill(7),
      propagation: 'transport' as const,
    };
    assert.deepEqual(packetHash(encodePacket(far)), packetHash(encodePacket(near)));
    assert.notDeepEqual(
      packetHash(encodePacket({ ...near, context: contexts.channel })),
      packetHash(encodePacket(near)),
    );
  });

  test('of any bytes decodes and encodes back, or is refused with its code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), bytes => {
        try {
          assert.deepEqual(encodePacket(decodePacket(bytes)), bytes);
        } catch (error) {
          assert.ok(isGatewayError(error) && error.code.startsWith('wire/'), String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a packet for a single destination', () => {
  for (const { name, bytes, value } of vectors<SinglePacketValue>('single-packet')) {
    test(`${name} is sealed to the bytes of the reference, and opened again`, () => {
      const identity = decodeIdentity(bytesOf(value.privateKey));
      const key = value.ratchetPrivate && importPrivate('x25519', bytesOf(value.ratchetPrivate));
      const data = identity.public.encrypt(
        bytesOf(value.plaintext),
        drawing(...value.draws),
        key ? publicOf(key) : undefined,
      );
      const packet = encodePacket({
        hops: 0,
        contextFlag: false,
        propagation: 'broadcast',
        destinationType: 'single',
        packetType: 'data',
        destinationHash: bytesOf(value.destinationHash),
        context: contexts.none,
        data,
      });
      assert.equal(hexOf(packet), bytes);
      assert.equal(hexOf(packetHash(packet)), value.hash);
      const ratchets = key ? [{ key, id: ratchetId(publicOf(key)) }] : [];
      const opened = identity.open(decodePacket(bytesOf(bytes)).data, ratchets);
      assert.equal(hexOf(opened.plaintext), value.plaintext);
      assert.equal(hexOf(opened.ratchetId), value.ratchetId);
    });
  }
});
