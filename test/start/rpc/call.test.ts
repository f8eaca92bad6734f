import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { utf8 } from '../../../src/lib/bytes.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { encode, Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { decodeCall, longestCall } from '../../../src/start/rpc/call.ts';
import { encodeFrame, FrameReader } from '../../../src/start/rpc/frames.ts';

const hash = Uint8Array.from({ length: 16 }, (_, at) => at);
const packet = Uint8Array.from({ length: 32 }, (_, at) => at);

function callOf(fields: Readonly<Record<string, MsgpackValue>>) {
  return decodeCall(encode(new Map(Object.entries(fields))));
}

describe('a call', () => {
  test('of every kind that the reference knows is understood', () => {
    const destination = hash;
    const identity = hash;
    const cases: readonly [Readonly<Record<string, MsgpackValue>>, unknown][] = [
      [{ get: 'interface_stats' }, { on: 'interface-stats' }],
      [
        { get: 'path_table', max_hops: null },
        { on: 'path-table', maxHops: undefined },
      ],
      [
        { get: 'path_table', max_hops: 3 },
        { on: 'path-table', maxHops: 3 },
      ],
      [{ get: 'rate_table' }, { on: 'rate-table' }],
      [
        { get: 'next_hop_if_name', destination_hash: hash },
        { on: 'next-hop-interface', destination },
      ],
      [
        { get: 'next_hop', destination_hash: hash },
        { on: 'next-hop', destination },
      ],
      [
        { get: 'first_hop_timeout', destination_hash: hash },
        { on: 'first-hop-timeout', destination },
      ],
      [{ get: 'lowest_interface_bitrate' }, { on: 'lowest-bitrate' }],
      [{ get: 'medium_path_timeout' }, { on: 'medium-path-timeout' }],
      [{ get: 'link_count' }, { on: 'link-count' }],
      [{ get: 'active_link_count' }, { on: 'active-link-count' }],
      [
        { get: 'packet_rssi', packet_hash: packet },
        { on: 'quality', of: 'rssi', packet },
      ],
      [
        { get: 'packet_snr', packet_hash: packet },
        { on: 'quality', of: 'snr', packet },
      ],
      [
        { get: 'packet_q', packet_hash: packet },
        { on: 'quality', of: 'q', packet },
      ],
      [{ get: 'profiling_results' }, { on: 'profiling' }],
      [{ get: 'blackholed_identities' }, { on: 'blackholed' }],
      [
        { get: 'is_blackholed', identity_hash: hash },
        { on: 'is-blackholed', identity },
      ],
      [
        { manage: 'attach_interface', name: 'lora' },
        { on: 'attach', name: 'lora' },
      ],
      [
        { manage: 'detach_interface', name: 'lora' },
        { on: 'detach', name: 'lora' },
      ],
      [
        { manage: 'reload_interface', name: 'lora' },
        { on: 'reload', name: 'lora' },
      ],
      [
        { drop: 'path', destination_hash: hash },
        { on: 'drop-path', destination },
      ],
      [
        { drop: 'all_via', destination_hash: hash },
        { on: 'drop-all-via', transport: hash },
      ],
      [{ drop: 'announce_queues' }, { on: 'drop-announce-queues' }],
      [
        { blackhole_identity: hash, until: new Float(2.5), reason: 'noise' },
        { on: 'blackhole', identity, until: 2500, reason: 'noise' },
      ],
      [
        { blackhole_identity: hash, until: null, reason: null },
        { on: 'blackhole', identity, until: undefined, reason: undefined },
      ],
      [{ unblackhole_identity: hash }, { on: 'unblackhole', identity }],
      [
        { destination_data: 'used', destination_hash: hash },
        { on: 'keep-destination', destination },
      ],
      [
        { destination_data: 'retain', destination_hash: hash },
        { on: 'keep-destination', destination },
      ],
      [
        { destination_data: 'unretain', destination_hash: hash },
        { on: 'keep-destination', destination },
      ],
      [
        { identity_data: 'retain', identity_hash: hash },
        { on: 'keep-identity', identity },
      ],
    ];
    for (const [fields, expected] of cases) {
      assert.deepEqual(callOf(fields), expected);
    }
  });

  test('that nobody knows, or that lacks what it needs, is none', () => {
    for (const fields of [
      {},
      { get: 'passwords' },
      { get: 'toString' },
      { get: 7 },
      { get: 'next_hop' },
      { get: 'next_hop', destination_hash: hash.subarray(1) },
      { get: 'packet_rssi', packet_hash: hash },
      { manage: 'attach_interface' },
      { manage: 'attach_interface', name: 'x'.repeat(2000) },
      { drop: 'everything' },
      { blackhole_identity: 'me' },
    ]) {
      assert.equal(callOf(fields), undefined);
    }
    assert.equal(decodeCall(encode(['get', 'interface_stats'])), undefined);
  });

  test('never is a pickle, and is read within bounds', () => {
    const pickle = Buffer.from('8004951600000000000000 8c05706f7369789400'.replace(' ', ''), 'hex');
    for (const bytes of [pickle, new Uint8Array(longestCall + 1), utf8('cos\nsystem\n')]) {
      try {
        assert.equal(decodeCall(bytes), undefined);
      } catch (error) {
        assert.ok(isGatewayError(error, 'wire/malformed', 'wire/truncated'));
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        try {
          decodeCall(bytes);
        } catch (error) {
          assert.ok(isGatewayError(error, 'wire/malformed', 'wire/truncated'), String(error));
        }
      }),
    );
  });
});

describe('frames of a connection', () => {
  test('survive any split of the stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (payloads, sizes) => {
          const stream = Buffer.concat(payloads.map(encodeFrame));
          const reader = new FrameReader();
          const got: Uint8Array[] = [];
          for (let at = 0; at < stream.length; ) {
            const size = sizes.next().value;
            reader.push(stream.subarray(at, at + size));
            at += size;
            for (let frame = reader.next(64); frame !== undefined; frame = reader.next(64)) {
              got.push(new Uint8Array(frame));
            }
          }
          assert.deepEqual(got, payloads);
          assert.equal(reader.waiting, 0);
        },
      ),
    );
  });

  test('longer than allowed are refused by their length alone', () => {
    for (const header of ['00000100', '7fffffff', 'ffffffff', '80000000']) {
      const reader = new FrameReader();
      reader.push(Buffer.from(header, 'hex'));
      assert.throws(() => reader.next(255), { code: 'wire/malformed' });
    }
  });
});
