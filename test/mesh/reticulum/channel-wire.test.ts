import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toHex } from '../../../src/lib/bytes.ts';
import { compress } from '../../../src/lib/bzip2/compress.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { streamMessages } from '../../../src/mesh/reticulum/buffer-reader.ts';
import { channelTimeout } from '../../../src/mesh/reticulum/channel-sender.ts';
import { firstWindow, grown, shrunk } from '../../../src/mesh/reticulum/channel-window.ts';
import {
  decodeEnvelope,
  decodeStreamChunk,
  encodeEnvelope,
  encodeStreamChunk,
} from '../../../src/mesh/reticulum/channel-wire.ts';
import { bytesOf, vectors } from './vectors.ts';

interface Value {
  readonly kind: string;
  readonly [field: string]: unknown;
}

const cases = vectors<Value>('channel');
const of = (kind: string) => cases.filter(({ value }) => value.kind === kind);

describe('envelopes and chunks as the reference writes them', () => {
  for (const { name, bytes, value } of of('envelope')) {
    test(name, () => {
      const envelope = decodeEnvelope(bytesOf(bytes));
      assert.equal(envelope.type, value.type);
      assert.equal(envelope.sequence, value.sequence);
      assert.equal(toHex(envelope.data), value.data);
      assert.equal(toHex(encodeEnvelope(envelope)), bytes);
    });
  }

  for (const { name, bytes, value } of of('stream')) {
    test(name, () => {
      const chunk = decodeStreamChunk(bytesOf(bytes));
      assert.equal(chunk.streamId, value.streamId);
      assert.equal(chunk.end, value.end);
      assert.equal(chunk.compressed, value.compressed);
      assert.equal(toHex(encodeStreamChunk(chunk)), bytes);
      if (value.refused === true) {
        assert.throws(() => streamMessages.decode(bytesOf(bytes)), { code: 'mesh/too-large' });
        return;
      }
      const { data, compressed } = streamMessages.decode(bytesOf(bytes));
      assert.equal(compressed, false);
      if (typeof value.data === 'string') {
        assert.equal(toHex(data), value.data);
      } else {
        assert.equal(data.length, value.length ?? (value.data as { length: number }).length);
      }
    });
  }

  test('a shorter one than its header is truncated, and any other decodes', () => {
    const whole = bytesOf('0101000100056162636465');
    for (let length = 0; length < whole.length; length++) {
      try {
        assert.equal(decodeEnvelope(whole.subarray(0, length)).data.length, length - 6);
      } catch (error) {
        assert.ok(isGatewayError(error, 'wire/truncated') && length < 6);
      }
    }
    assert.throws(() => decodeStreamChunk(Uint8Array.of(1)), { code: 'wire/truncated' });
    assert.throws(() => encodeEnvelope({ type: 1, sequence: 1, data: new Uint8Array(65_536) }), {
      code: 'mesh/too-large',
    });
  });

  test('a length that says otherwise changes nothing', () => {
    assert.equal(toHex(decodeEnvelope(bytesOf('01010001ffff6162')).data), '6162');
  });

  test('what is no bzip2 stream is not taken', () => {
    const bytes = compress(new Uint8Array(1000));
    bytes[12] = bytes[12]! ^ 1;
    const chunk = encodeStreamChunk({ streamId: 1, end: false, compressed: true, data: bytes });
    assert.throws(
      () => streamMessages.decode(chunk),
      error => isGatewayError(error) && error.code.startsWith('wire/'),
    );
  });
});

describe('windows and time-outs as the reference has them', () => {
  for (const { name, value } of of('window')) {
    test(name, () => {
      const rtt = (value.rtt as number) * 1000;
      let window = firstWindow(rtt);
      for (const [step, ...expected] of value.steps as [string | null, ...number[]][]) {
        window = step === 'proven' ? grown(window, rtt) : step === 'late' ? shrunk(window) : window;
        const { size, smallest, largest, flexibility } = window;
        assert.deepEqual([size, smallest, largest, flexibility], expected);
      }
    });
  }

  test('time-outs', () => {
    const value = of('timeouts')[0]!.value;
    for (const row of value.rows as { rtt: number; tries: number; outstanding: number; timeout: number }[]) {
      const ours = channelTimeout(row.tries, row.outstanding, row.rtt * 1000);
      assert.ok(Math.abs(ours - row.timeout * 1000) < 1e-6, JSON.stringify(row));
    }
  });
});
