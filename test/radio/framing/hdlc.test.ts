import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { frame, HdlcDeframer } from '../../../src/radio/framing/hdlc.ts';
import { SendRoom } from '../../../src/radio/send-room.ts';

interface Vector {
  readonly name: string;
  readonly bytes: string;
  readonly value: { readonly payloads: readonly string[] };
}

const vectors: { readonly cases: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/hdlc.json', import.meta.url), 'utf8'),
);

const hex = (text: string) => Uint8Array.fromHex(text);
const packet = (length: number, byte = 1) => new Uint8Array(length).fill(byte);

for (const { name, bytes, value } of vectors.cases) {
  test(`${name}: framed and found like the reference's`, () => {
    assert.deepEqual(
      new HdlcDeframer().feed(hex(bytes)).map(found => found.toHex()),
      value.payloads,
    );
    if (value.payloads.length === 1 && !bytes.startsWith('7e7e')) {
      assert.equal(frame(hex(value.payloads[0]!)).toHex(), bytes);
    }
  });
}

test('packets come out whole however the stream is cut', () => {
  const payload = fc.uint8Array({ minLength: 20, maxLength: 80 }).chain(bytes =>
    fc.constantFrom(
      bytes,
      bytes.map(byte => (byte & 1 ? 0x7d : 0x7e)),
    ),
  );
  fc.assert(
    fc.property(fc.array(payload), fc.infiniteStream(fc.integer({ min: 1, max: 50 })), (packets, cuts) => {
      const stream = Buffer.concat(packets.map(frame));
      const deframer = new HdlcDeframer();
      const found: Uint8Array[] = [];
      for (let at = 0; at < stream.length; ) {
        const next = at + cuts.next().value;
        found.push(...deframer.feed(stream.subarray(at, next)));
        at = next;
      }
      assert.deepEqual(
        found,
        packets.map(bytes => new Uint8Array(bytes)),
      );
      assert.deepEqual(deframer.discarded, { runts: 0, oversize: 0, malformed: 0, noise: 0 });
    }),
  );
});

test('a packet of any length is framed in bytes of its own, every flag and escape in it escaped', () => {
  const seeds = fc.constantFrom(0x01, 0x7d, 0x7e);
  const lengths = fc.oneof(
    fc.integer({ min: 20, max: 2000 }),
    fc.constantFrom(511, 512, 513, 16_384, 40_000, 262_144),
  );
  const payload = fc.tuple(lengths, fc.array(seeds, { minLength: 1, maxLength: 40 }));
  fc.assert(
    fc.property(fc.array(payload, { minLength: 1, maxLength: 8 }), payloads => {
      const packets = payloads.map(([length, pattern]) =>
        Uint8Array.from({ length }, (_, at) => pattern[at % pattern.length]! + (at & 0x80 ? 1 : 0)),
      );
      const frames = packets.map(frame);
      for (const [index, bytes] of packets.entries()) {
        const escaped = [...bytes].flatMap(byte =>
          byte === 0x7d || byte === 0x7e ? [0x7d, byte ^ 0x20] : [byte],
        );
        assert.deepEqual(frames[index], Uint8Array.from([0x7e, escaped, 0x7e].flat()));
        assert.deepEqual(new HdlcDeframer().feed(new Uint8Array(frames[index]!)), [bytes]);
      }
    }),
    { numRuns: 10 },
  );
});

test('a frame of 19 bytes is a runt, one of 20 is a packet, nothing between flags is neither', () => {
  const deframer = new HdlcDeframer();
  assert.deepEqual(deframer.feed(hex('7e7e7e')), []);
  assert.deepEqual(deframer.feed(frame(packet(19))), []);
  assert.deepEqual(deframer.feed(frame(packet(20))), [packet(20)]);
  assert.equal(deframer.discarded.runts, 1);
});

test('a frame too long is dropped once, before it is held whole, and the next one is found', () => {
  const deframer = new HdlcDeframer({ maxFrame: 100 });
  assert.deepEqual(deframer.feed(frame(packet(101))), []);
  deframer.feed(hex('7e'));
  for (let i = 0; i < 1000; i++) {
    assert.deepEqual(deframer.feed(packet(64)), []);
  }
  assert.deepEqual(deframer.feed(frame(packet(100))), [packet(100)]);
  assert.equal(deframer.discarded.oversize, 2);
});

test('frames begun on many streams share their memory, and short ones come through whatever others hold', () => {
  const room = new SendRoom(2 ** 20);
  const streams = Array.from({ length: 40 }, () => new HdlcDeframer({ room }));
  const begun = frame(packet(200_000)).subarray(0, 150_000);
  for (const stream of streams) {
    assert.deepEqual(stream.feed(Uint8Array.from(begun)), []);
  }
  assert.ok(room.held <= 2 ** 20, `${room.held} bytes`);
  const dropped = streams.filter(({ discarded }) => discarded.oversize === 1);
  assert.equal(dropped.length, 34);
  const short = packet(30_000);
  const framed = frame(short);
  for (const stream of dropped) {
    assert.deepEqual(stream.feed(Uint8Array.from(framed.subarray(0, 20_000))), []);
    assert.deepEqual(stream.feed(Uint8Array.from(framed.subarray(20_000))), [short]);
  }
  for (const stream of streams) {
    stream.end();
  }
  assert.equal(room.held, 0);
  const long = frame(packet(200_000));
  const [again] = streams;
  assert.deepEqual(again!.feed(Uint8Array.from(long.subarray(0, 150_000))), []);
  assert.equal(again!.feed(Uint8Array.from(long.subarray(150_000))).length, 1);
  assert.equal(room.held, 0);
});

test('noise before the first flag and escapes that make no sense are counted and dropped', () => {
  const deframer = new HdlcDeframer();
  assert.deepEqual(deframer.feed(packet(30)), []);
  assert.deepEqual(deframer.feed(hex(`7e${'01'.repeat(30)}7d017e`)), []);
  assert.deepEqual(deframer.feed(hex(`7e${'01'.repeat(30)}7d7e`)), []);
  assert.deepEqual(deframer.feed(frame(packet(30))), [packet(30)]);
  assert.deepEqual(deframer.discarded, { runts: 0, oversize: 0, malformed: 2, noise: 30 });
});

test('any bytes are survived', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), chunks => {
      const deframer = new HdlcDeframer({ maxFrame: 30 });
      for (const found of chunks.flatMap(chunk => deframer.feed(chunk))) {
        assert.ok(found.length > 19 && found.length <= 30);
      }
    }),
  );
});
