import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { peekOpening, watchReads } from '../../../src/bridges/mqtt/stream.ts';
import { systemClock } from '../../../src/lib/clock.ts';

/** MQTT 3.1.1, client `a`, clean session. */
const connect = Buffer.from('100d00044d5154540402003c000161', 'hex');
const subscribe = Buffer.from('8206000100017800', 'hex');

for (const pieces of ['one piece', 'single bytes'] as const) {
  test(`a connection that begins with ${pieces} at once reaches the broker whole`, async () => {
    const stream = new Duplex({ read() {}, write: (_, __, done) => done() });
    const sent = Buffer.concat([connect, subscribe]);
    const read = Promise.withResolvers<Buffer>();
    peekOpening(stream, systemClock, opening => {
      assert.equal(opening.kind, 'connect');
      watchReads(stream, () => {});
      let got = Buffer.alloc(0);
      // As the broker's library does: one read for each `readable`.
      stream.on('readable', () => {
        const chunk = stream.read() as Buffer | null;
        got = Buffer.concat([got, chunk ?? Buffer.alloc(0)]);
        if (got.length >= sent.length) {
          read.resolve(got);
        }
      });
    });
    await new Promise(resolve => setImmediate(resolve));
    for (const chunk of pieces === 'one piece' ? [sent] : [...sent].map(byte => Buffer.of(byte))) {
      stream.push(chunk);
    }
    assert.deepEqual(await read.promise, sent);
    stream.destroy();
  });
}
