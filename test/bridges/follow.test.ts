import assert from 'node:assert/strict';
import { test } from 'node:test';
import { followEvents } from '../../src/bridges/follow.ts';
import type { Desk, GatewayEvent } from '../../src/gateway/desk.ts';
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

test('a batch ends where large events fill it, each comes once, and who follows beside shares them', async () => {
  await using hub = await openTestSwitch();
  const [{ client: a }, { client: b }, { client: c }] = [
    await hub.client('a'),
    await hub.client('b'),
    await hub.client('c'),
  ];
  const start = hub.desk.events.cursor;
  const wanted = Array.from({ length: 8 }, (_, n) => `${n}`);
  for (const title of wanted) {
    await hub.desk.messages.post(a, { to: 'room:hub', title, text: 'x'.repeat(100 * 1024) });
  }
  await hub.desk.messages.post(a, { to: 'room:hub', title: 'large', text: 'x'.repeat(256 * 1024) });
  const parts = { desk: hub.desk, log: silentLog };
  const accepted = (items: readonly GatewayEvent[]) =>
    items.filter(({ kind }) => kind === 'message.accepted');
  const stop = new AbortController();
  const titles: unknown[] = [];
  for await (const { items } of followEvents(parts, b, start, stop.signal)) {
    const said = items.reduce((sum, { message }) => sum + (message?.text.length ?? 0), 0);
    assert.ok(said <= 256 * 1024 || items.length === 1, `${said} in ${items.length}`);
    titles.push(...accepted(items).map(({ message }) => message?.title));
    if (titles.at(-1) === 'large') {
      stop.abort();
    }
  }
  assert.deepEqual(titles, [...wanted, 'large']);
  const [mine, other] = [b, c].map(client => accepted(hub.desk.events.read(client, start).items));
  assert.ok(mine?.[0] !== undefined && mine[0] === other?.[0]);
});
