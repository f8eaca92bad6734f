import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encodePublish,
  openingBytes,
  PacketScanner,
  readOpening,
  refuseVersion5,
} from '../../../src/bridges/mqtt/wire.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';

const connect4 = Buffer.from('100f00044d5154540402003c0003616263', 'hex');
const connect5 = Buffer.from('101000044d5154540502003c000003616263', 'hex');
const connect3 = Buffer.from('101100064d51497364700302003c0003616263', 'hex');

test('the opening of a connection gives its protocol level, however it is cut', () => {
  for (const [bytes, level] of [
    [connect4, 4],
    [connect5, 5],
    [connect3, 3],
  ] as const) {
    const answers = Array.from({ length: openingBytes + 1 }, (_, length) =>
      readOpening(bytes.subarray(0, length), 1000),
    );
    const known = answers.findIndex(answer => answer.kind !== 'more');
    assert.deepEqual(answers[known], { kind: 'connect', level });
    assert.ok(answers.slice(known).every(answer => answer.kind === 'connect'));
  }
});

test('what is no CONNECT, or one beyond the limit, is garbage', () => {
  for (const hex of ['47', '30', '1f', '10ffffffff', '100f0005', '100f00044d51545f', '10ff7f', '1002']) {
    assert.equal(readOpening(Buffer.from(`${hex}00`, 'hex'), 1000).kind, 'garbage', hex);
  }
});

test('any bytes have an opening and the scanner takes or refuses them', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), bytes => {
      const { kind } = readOpening(bytes.subarray(0, openingBytes), 1000);
      assert.ok(bytes.length < openingBytes || kind !== 'more');
      try {
        new PacketScanner(1000, () => {}).feed(bytes);
      } catch (error) {
        assert.ok(isGatewayError(error, 'wire/malformed', 'request/too-large'));
      }
    }),
  );
});

test('MQTT 5 is refused with reason 0x84 in a CONNACK of its own form', () => {
  assert.equal(Buffer.from(refuseVersion5('no')).toString('hex'), '20080084051f00026e6f');
});

test('the scanner names every packet and its id, however the stream is cut', () => {
  const stream = Buffer.concat([
    connect4,
    encodePublish('a/b', Buffer.alloc(300), 7),
    Buffer.from('40020102', 'hex'),
    Buffer.from('c000', 'hex'),
    encodePublish('a', Buffer.from('x')),
    Buffer.from('7002ffff', 'hex'),
    Buffer.from('e000', 'hex'),
  ]);
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), cuts => {
      const told: [number, number][] = [];
      const scanner = new PacketScanner(1000, (type, packetId) => told.push([type, packetId]));
      const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
      for (const [index, edge] of edges.slice(1).entries()) {
        scanner.feed(stream.subarray(edges[index], edge));
      }
      assert.deepEqual(
        told.map(([type]) => type),
        [1, 3, 4, 12, 3, 7, 14],
      );
      assert.equal(told[2]?.[1], 0x0102);
      assert.equal(told[5]?.[1], 0xffff);
    }),
  );
});

test('a packet beyond the largest is refused by its header, before its bytes come', () => {
  const scanner = new PacketScanner(1000, () => {});
  assert.throws(
    () => scanner.feed(Buffer.from('30ffff7f', 'hex')),
    error => isGatewayError(error, 'request/too-large'),
  );
  assert.throws(
    () => new PacketScanner(1000, () => {}).feed(Buffer.from('30ffffffff01', 'hex')),
    error => isGatewayError(error, 'wire/malformed'),
  );
});
