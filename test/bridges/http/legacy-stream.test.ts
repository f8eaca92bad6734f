import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import type { Note } from '../../../src/bridges/http/legacy/ntfy/note.ts';
import { forms, streamNotes } from '../../../src/bridges/http/legacy/ntfy/stream.ts';
import type { Desk } from '../../../src/gateway/desk.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { ManualClock } from '../../sim/clock.ts';
import { seededRandom } from '../../sim/random.ts';

/** A response whose reader takes what it is told to take. */
class Reader extends Writable {
  readonly taken: string[] = [];
  takes = true;
  constructor() {
    super({ highWaterMark: 100 });
  }
  writeHead(): void {}
  override _write(chunk: Buffer, _encoding: string, taken: () => void): void {
    if (this.takes) {
      this.taken.push(String(chunk));
      taken();
    }
  }
}

function open(notes: AsyncIterable<readonly Note[]>) {
  const clock = new ManualClock();
  const reader = new Reader();
  const gone = new AbortController();
  reader.on('close', () => gone.abort());
  const counters = new Counters();
  const parts = { clock, random: seededRandom(1), log: silentLog, counters, desk: {} as Desk };
  const response = reader as unknown as ServerResponse;
  const ended = streamNotes(parts, { names: 'a,b', poll: false }, notes, forms.json, response, gone.signal);
  return { clock, reader, gone, ended, counters };
}

const note = (message: string): Note => ({ id: message, time: 0, event: 'message', topic: 'a', message });

async function* silence(signal: Promise<void>): AsyncGenerator<readonly Note[]> {
  yield [];
  await signal;
}

test('a silent stream of ntfy shows every 45 s that it lives', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { clock, reader, ended } = open(silence(promise));
  for (let sign = 0; sign < 3; sign++) {
    await clock.advance(45_000);
  }
  resolve();
  await ended;
  const events = reader.taken.map(line => JSON.parse(line));
  assert.deepEqual(
    events.map(({ event, topic }) => [event, topic]),
    [
      ['open', 'a,b'],
      ['keepalive', 'a,b'],
      ['keepalive', 'a,b'],
      ['keepalive', 'a,b'],
    ],
  );
  assert.equal(new Set(events.map(({ id }) => id)).size, 4);
});

test('a subscriber that takes nothing holds one batch in memory, and is closed after 30 s', async () => {
  let made = 0;
  async function* flood(): AsyncGenerator<readonly Note[]> {
    for (;;) {
      made += 1;
      yield [note('x'.repeat(1000))];
    }
  }
  const { clock, reader, ended, counters } = open(flood());
  reader.takes = false;
  await clock.advance(29_000);
  assert.equal(reader.destroyed, false);
  assert.ok(made <= 2, `${made} batches were made for nobody`);
  await clock.advance(2000);
  assert.equal(reader.destroyed, true);
  await ended;
  assert.equal(counters.snapshot()['legacy/ntfy/slow'], 1);
});
