import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { kissFraming } from '../../../src/radio/framing/framing.ts';
import { KissDeframer, kissFrame, packetOf } from '../../../src/radio/framing/kiss.ts';

const hex = (text: string) => Uint8Array.fromHex(text);

test('a frame stands between two FENDs, with both special bytes escaped', () => {
  assert.equal(kissFrame(0, hex('01c0db02')).toHex(), 'c00001dbdcdbdd02c0');
  assert.equal(kissFrame(0x08, hex('73')).toHex(), 'c00873c0');
});

test('one FEND may end a frame and begin the next, and empty frames are nothing', () => {
  const frames = new KissDeframer().feed(hex('c00846c0500156c0c0c04880c0'));
  assert.deepEqual(
    frames.map(({ command, data }) => [command, data.toHex()]),
    [
      [0x08, '46'],
      [0x50, '0156'],
      [0x48, '80'],
    ],
  );
});

test('frames come out whole however the stream is cut', () => {
  const frame = fc.record(
    {
      command: fc.integer({ min: 0, max: 0xbf }),
      data: fc
        .uint8Array({ maxLength: 60 })
        .map(bytes => bytes.map(byte => (byte & 1 ? 0xc0 : byte & 2 ? 0xdb : byte))),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(frame), fc.infiniteStream(fc.integer({ min: 1, max: 50 })), (frames, cuts) => {
      const stream = Buffer.concat(frames.map(({ command, data }) => kissFrame(command, data)));
      const deframer = new KissDeframer();
      const found = [];
      for (let at = 0; at < stream.length; ) {
        const next = at + cuts.next().value;
        found.push(...deframer.feed(stream.subarray(at, next)));
        at = next;
      }
      assert.deepEqual(found, frames);
      assert.deepEqual(deframer.discarded, { oversize: 0, malformed: 0, noise: 0 });
    }),
  );
});

test('a packet comes from any port of a TNC, and what is no data is none', () => {
  const data = Uint8Array.of(1, 2, 3);
  assert.equal(packetOf({ command: 0x00, data }), data);
  assert.equal(packetOf({ command: 0x20, data }), data);
  assert.equal(packetOf({ command: 0x06, data }), undefined);
});

test('noise, bad escapes and frames without end are counted, and the next FEND begins anew', () => {
  const deframer = new KissDeframer({ maxData: 8 });
  const frames = deframer.feed(
    Buffer.concat([
      Buffer.from('boot: ok\r\n'),
      hex('c000db01c0'),
      hex('c000db'),
      hex('c000'),
      Buffer.alloc(5000, 1),
      hex('c0080846c0'),
    ]),
  );
  assert.deepEqual(frames, [{ command: 0x08, data: hex('0846') }]);
  assert.deepEqual(deframer.discarded, { oversize: 1, malformed: 2, noise: 10 });
});

test('of a packet that is too long for a TNC its beginning is taken, and it is counted', () => {
  const deframer = kissFraming.deframer({ longest: 4 });
  assert.deepEqual(deframer.feed(hex('c00001020304c000010203dbdc05dbdcc0100607c0')), [
    hex('01020304'),
    hex('010203c0'),
    hex('0607'),
  ]);
  assert.equal(deframer.broken, 1);
});

test('any bytes are read to their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
      const deframer = new KissDeframer({ maxData: 100 });
      for (const { data } of deframer.feed(bytes)) {
        assert.ok(data.length <= 100);
      }
      assert.deepEqual(deframer.feed(hex('c0c00846c0')).at(-1), { command: 8, data: hex('46') });
    }),
  );
});
