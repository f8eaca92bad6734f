import assert from 'node:assert/strict';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Journal, openJournal } from '../../../src/bridges/mqtt/journal.ts';
import {
  acceptReading,
  type PublishFacts,
  publishKey,
  readingText,
  readReading,
} from '../../../src/bridges/mqtt/publish.ts';
import { messageId } from '../../../src/gateway/message.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { isGatewayError } from '../../../src/lib/errors.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { memoryBridge, openTestSwitch, testHub } from '../../gateway/fixture.ts';

const facts: PublishFacts = {
  session: 'pump/a',
  topic: 't',
  payload: Buffer.from('on'),
  qos: 1,
  dup: false,
  packetId: 1,
};
const keyOf = (journal: Journal, change: Partial<PublishFacts> = {}) =>
  publishKey({ ...facts, ...change }, { journal, random: systemRandom, clock: systemClock });

test('a DUP is the publish that last used its packet id', () => {
  using journal = openJournal(':memory:', 0);
  const first = keyOf(journal);
  assert.equal(keyOf(journal, { dup: true }), first);
  assert.equal(keyOf(journal, { dup: true }), first);
});

test('the same text under a packet id that is used again is a new message, and so is its DUP', () => {
  using journal = openJournal(':memory:', 0);
  const first = keyOf(journal);
  const second = keyOf(journal);
  assert.notEqual(second, first);
  assert.equal(keyOf(journal, { dup: true }), second);
});

test('with QoS 2 a packet id that was not released is the same publish, with or without DUP', () => {
  using journal = openJournal(':memory:', 0);
  const first = keyOf(journal, { qos: 2 });
  assert.equal(keyOf(journal, { qos: 2 }), first);
  assert.equal(keyOf(journal, { qos: 2, dup: true }), first);
  assert.notEqual(keyOf(journal, { qos: 2, payload: Buffer.from('off') }), first);
  journal.forget('pump/a', 1);
  assert.notEqual(keyOf(journal, { qos: 2 }), first);
});

test('a DUP of something else is a new message', () => {
  using journal = openJournal(':memory:', 0);
  const first = keyOf(journal);
  const others = [
    { payload: Buffer.from('off') },
    { topic: 'u' },
    { session: 'pump/b' },
    { packetId: 2 },
    { qos: 2 },
  ].map(change => keyOf(journal, { ...change, dup: true }));
  assert.equal(new Set([first, ...others]).size, 6);
});

test('once the acknowledgement has arrived, a DUP of the same words is a new message', () => {
  using journal = openJournal(':memory:', 0);
  const first = keyOf(journal);
  journal.forget('pump/a', 1, 'another key');
  assert.equal(keyOf(journal, { dup: true }), first);
  journal.forget('pump/a', 1, first);
  assert.notEqual(keyOf(journal, { dup: true }), first);
});

test('a DUP is known again after the hub was started anew', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'mqtt-'));
  const file = join(folder.path, 'mqtt.db');
  let first: string;
  {
    using journal = openJournal(file, systemClock.now());
    first = keyOf(journal);
    journal.retain('a', Buffer.from('1'));
    journal.retain('b', Buffer.from('2'));
    journal.retain('a', Buffer.alloc(0));
  }
  using journal = openJournal(file, systemClock.now());
  assert.equal(keyOf(journal, { dup: true }), first);
  assert.deepEqual(
    journal.retained().map(({ topic, payload }) => [topic, Buffer.from(payload).toString()]),
    [['b', '2']],
  );
});

test('a journal that cannot be read is replaced by an empty one', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'mqtt-'));
  const file = join(folder.path, 'mqtt.db');
  await writeFile(file, 'this is no database, it only looks like a file of some length'.repeat(100));
  using journal = openJournal(file, 0);
  assert.deepEqual(journal.retained(), []);
});

test('a reading is an object or one value, and reads well', () => {
  const read = (text: string) => readReading('greenhouse', Buffer.from(text), 9);
  assert.deepEqual(read('{"t":21.5,"h":44,"_":{"ts":5,"seq":1}}'), {
    device: 'greenhouse',
    values: { t: 21.5, h: 44 },
    at: 5,
  });
  assert.equal(readingText(read('{"t":21.5,"h":44}')), 'greenhouse: t 21.5, h 44');
  assert.deepEqual(read('21.5').values, { value: 21.5 });
  assert.equal(readingText(read('"open"')), 'greenhouse: value open');
  assert.equal(read('{"_":{"ts":-1}}').at, 9);
  assert.ok(readingText(read(`{"a":"${'x'.repeat(5000)}"}`)).length <= 200);
  for (const bad of ['', '[1]', '{', '{"a":1,"a":2}', '{"__proto__":1}']) {
    assert.throws(
      () => read(bad),
      error => isGatewayError(error, 'request/invalid'),
      bad,
    );
  }
  assert.throws(
    () => readReading('x', Buffer.from([0xff]), 0),
    error => isGatewayError(error, 'request/invalid'),
  );
});

test('the id of a reading is made from the hub and its key, each once', async () => {
  const bridge = memoryBridge('mqtt');
  await using hub = await openTestSwitch({ bridges: [bridge] });
  const reading = readReading('pump', Buffer.from('{"t":1}'), 5);
  await acceptReading(await bridge.port, reading, { key: 'mqtt-1', known: true });
  assert.deepEqual(
    hub.desk.messages.list(hub.owner, {}).items.map(({ id }) => id),
    [messageId('mqtt', `${testHub.id}/mqtt-1`)],
  );
});
