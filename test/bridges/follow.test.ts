import assert from 'node:assert/strict';
import { test } from 'node:test';
import { followEvents } from '../../src/bridges/follow.ts';
import type { Desk } from '../../src/gateway/desk.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type LogFacts, silentLog } from '../../src/lib/log.ts';
import { openTestSwitch } from '../gateway/fixture.ts';

test('a stream goes on where what it pushed cannot be marked, and says so once', async () => {
  await using hub = await openTestSwitch();
  const { client: a } = await hub.client('a');
  const { client: b } = await hub.client('b');
  const lines: LogFacts[] = [];
  const log = { ...silentLog, warn: (facts: LogFacts) => void lines.push(facts) };
  const full = new GatewayError('store/full', 'the disk is full', { retryable: true });
  const desk: Desk = { ...hub.desk, inbox: { ...hub.desk.inbox, pushed: () => Promise.reject(full) } };
  const stop = new AbortController();
  const start = desk.events.cursor;
  const wanted = ['one', 'two', 'three'];
  await desk.messages.post(a, { to: 'app:b', text: 'one' });
  const texts: string[] = [];
  for await (const { items } of followEvents({ desk, log }, b, start, stop.signal)) {
    texts.push(...items.flatMap(({ kind, message }) => (kind === 'message.accepted' ? [message!.text] : [])));
    if (texts.length === wanted.length) {
      stop.abort();
    } else if (items.length > 0) {
      await desk.messages.post(a, { to: 'app:b', text: wanted[texts.length]! });
    }
  }
  assert.deepEqual(texts, wanted);
  assert.deepEqual(
    lines.map(({ code, client }) => [code, client]),
    [['store/full', 'b']],
  );
});
