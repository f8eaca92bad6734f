import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { Delivery } from '../../src/gateway/bridge.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type MemoryBridge, memoryBridge, openTestSwitch, type TestSwitch, until } from './fixture.ts';

const peer = `lxmf:${'ab'.repeat(16)}`;
const other = `lxmf:${'cd'.repeat(16)}`;
const away = () => {
  throw new GatewayError('bridge/unavailable', 'away', { retryable: true });
};
const hanging = (_delivery: Delivery, signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    if (signal.aborted) {
      reject(signal.reason);
    }
  });

async function folder(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'kos-outbox-'));
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

test('a restart forgets nothing, and remembered bytes come back with the next attempt', async () => {
  await using at = await folder();
  const before = memoryBridge();
  const first = await openTestSwitch({ dir: at.dir, bridges: [before] });
  before.respond = async (delivery, signal) => {
    await (await before.port).remember(delivery.id, Uint8Array.of(1, 2, 3), 'far-id');
    return hanging(delivery, signal);
  };
  const { message } = await first.desk.messages.post(first.owner, { to: peer, text: 'kept' });
  await first.desk.messages.post(first.owner, { to: other, text: 'kept too' });
  await until(() => first.store.read.knownAs('lxmf', 'far-id'));
  await first.stop();
  const after = memoryBridge();
  await using hub = await openTestSwitch({ dir: at.dir, bridges: [after] });
  await until(() => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state === 'delivered');
  const again = after.delivered.find(delivery => delivery.to === peer);
  assert.deepEqual([...(again?.remembered ?? [])], [1, 2, 3]);
  assert.equal(again?.attempt, 2);
  assert.equal((await after.port).resolve('far-id'), message.id);
});

test('what a bridge makes of a message to one address is on disk when the message is', async () => {
  const bridge = Object.assign(memoryBridge(), {
    prepare: ({ id, to }: Pick<Delivery, 'id' | 'to'>) => ({
      bytes: Buffer.from(`${id} ${to}`),
      remoteId: id,
    }),
  });
  await using hub = await openTestSwitch({ bridges: [bridge], rooms: { two: { members: [peer, other] } } });
  await bridge.port;
  bridge.respond = hanging;
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'x' });
  const [row] = message.deliveries;
  assert.equal(String(Buffer.from(hub.store.read.remembered(row!.id)!)), `${row!.id} ${peer}`);
  assert.equal(hub.store.read.knownAs('lxmf', row!.id)?.message, message.id);

  bridge.respond = async () => ({ state: 'delivered' });
  await hub.desk.messages.post(hub.owner, { to: other, text: 'by itself' });
  const alone = await until(() => bridge.delivered.find(({ message }) => message.text === 'by itself'));
  assert.ok(alone.remembered);
  assert.equal(alone.attempt, 1);
  await hub.desk.messages.post(hub.owner, { to: 'room:two', text: 'to each' });
  await until(() => bridge.delivered.some(({ message }) => message.text === 'to each'));
  assert.equal(bridge.delivered.find(({ message }) => message.text === 'to each')?.remembered, undefined);
});

test('an attempt cut off by a stop is ambiguous where the far side cannot tell a repeat', async () => {
  await using at = await folder();
  const before = memoryBridge('mqtt', { deduplicates: false });
  before.respond = hanging;
  const first = await openTestSwitch({ dir: at.dir, bridges: [before] });
  const { message } = await first.desk.messages.post(first.owner, { to: 'mqtt:plaza', text: 'perhaps' });
  await until(() => before.delivered.length === 1);
  await first.stop();
  const after = memoryBridge('mqtt', { deduplicates: false });
  await using hub = await openTestSwitch({ dir: at.dir, bridges: [after] });
  await until(() => hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state === 'ambiguous');
  assert.equal(after.delivered.length, 0);
});

test('one absent destination does not hold up another, and order holds within each', async () => {
  const lxmf = memoryBridge('lxmf', { concurrency: 4 });
  const done: string[] = [];
  lxmf.respond = async ({ to, message }) => {
    if (to === other) {
      away();
    }
    await new Promise(resolve => setImmediate(resolve));
    done.push(message.text);
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await hub.desk.messages.post(hub.owner, { to: other, text: 'absent' });
  const texts = Array.from({ length: 50 }, (_, n) => `${n}`);
  for (const text of texts) {
    await hub.desk.messages.post(hub.owner, { to: peer, text });
  }
  await until(() => done.length === texts.length);
  assert.deepEqual(done, texts);
});

test('the most urgent destination goes first', async () => {
  const lxmf = memoryBridge('lxmf', { concurrency: 1 });
  const gate = Promise.withResolvers<void>();
  lxmf.respond = async () => {
    await gate.promise;
    return { state: 'delivered' };
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await hub.desk.messages.post(hub.owner, { to: 'lxmf:first', text: 'first' });
  await until(() => lxmf.delivered.length === 1);
  for (const priority of ['bulk', 'normal', 'critical', 'high'] as const) {
    await hub.desk.messages.post(hub.owner, { to: `lxmf:${priority}`, text: priority, priority });
  }
  gate.resolve();
  await until(() => lxmf.delivered.length === 5);
  assert.deepEqual(
    lxmf.delivered.map(one => one.message.text),
    ['first', 'critical', 'high', 'normal', 'bulk'],
  );
});

test('a late word of the far side settles what waits for another attempt', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = away;
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'heard after all' });
  await until(() => lxmf.delivered.length === 1);
  const port = await lxmf.port;
  await port.report(lxmf.delivered[0]?.id ?? '', { state: 'delivered' });
  port.reachable(peer);
  assert.equal(hub.desk.messages.get(hub.owner, message.id).deliveries[0]?.state, 'delivered');
  assert.equal(hub.desk.health().queued, 0);
  assert.equal(lxmf.delivered.length, 1);
});

test('an attempt under way that explains itself is queued with its reason, and can be called back', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = async (delivery, signal) => {
    (await lxmf.port).explain(delivery.id, 'no path yet');
    return hanging(delivery, signal);
  };
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'waiting' });
  const delivery = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0];
  await until(() => delivery()?.reason === 'no path yet');
  assert.equal(delivery()?.state, 'queued');
  await hub.desk.messages.cancel(hub.owner, message.id);
  await until(() => delivery()?.state === 'cancelled');
  assert.equal(hub.desk.health().queued, 0);
});

test('what has run out of time expires, waiting or under way', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = hanging;
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  const ids: string[] = [];
  for (const text of ['under way', 'behind it']) {
    const draft = { to: peer, text, expiresAt: Date.now() + 100 };
    ids.push((await hub.desk.messages.post(hub.owner, draft)).message.id);
  }
  await until(() => ids.every(id => hub.desk.messages.get(hub.owner, id).deliveries[0]?.state === 'expired'));
});

test('a full queue refuses in words and takes again when there is room', async () => {
  const lxmf = memoryBridge();
  lxmf.respond = away;
  await using hub = await openTestSwitch({ bridges: [lxmf], limits: { queuedPerDestination: 2 } });
  await hub.desk.messages.post(hub.owner, { to: peer, text: 'one' });
  const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'two' });
  await assert.rejects(hub.desk.messages.post(hub.owner, { to: peer, text: 'three' }), {
    code: 'store/full',
    retryable: true,
  });
  await hub.desk.messages.post(hub.owner, { to: other, text: 'elsewhere' });
  await hub.desk.messages.cancel(hub.owner, message.id);
  await hub.desk.messages.post(hub.owner, { to: peer, text: 'three' });
});

test('where the far side answers promptly several leave in order before its word, and one that is lost comes again', async () => {
  const lxmf = memoryBridge('lxmf', { window: 4 });
  const left: string[] = [];
  let most = 0;
  let underway = 0;
  let lost = false;
  lxmf.respond = async ({ id, message }) => {
    underway += 1;
    most = Math.max(most, underway);
    try {
      const port = await lxmf.port;
      await port.remember(id, Uint8Array.of(1), id);
      left.push(message.text);
      await port.report(id, { state: 'sent' });
      await new Promise(resolve => setTimeout(resolve, 20));
      if (message.text === '5' && !lost) {
        lost = true;
        away();
      }
      return { state: 'delivered' };
    } finally {
      underway -= 1;
    }
  };
  await using hub = await openTestSwitch({ bridges: [lxmf], limits: { firstRetry: 10, longestRetry: 10 } });
  const texts = Array.from({ length: 12 }, (_, n) => `${n}`);
  const posts: string[] = [];
  for (const text of texts) {
    posts.push((await hub.desk.messages.post(hub.owner, { to: peer, text })).message.id);
  }
  await until(() =>
    posts.every(id => hub.desk.messages.get(hub.owner, id).deliveries[0]?.state === 'delivered'),
  );
  assert.equal(hub.desk.health().queued, 0);
  assert.ok(most > 1 && most <= 4, `${most} at once`);
  assert.deepEqual(
    left.filter((text, at) => left.indexOf(text) === at),
    texts,
  );
  assert.equal(left.length, texts.length + 1);
});

const saysNo = async (_hub: TestSwitch, _message: string, lxmf: MemoryBridge) =>
  (await lxmf.port).report(lxmf.delivered[0]?.id ?? '', {
    state: 'failed',
    code: 'bridge/rejected',
    reason: 'no',
  });

for (const [what, act, first] of [
  ['a cancel', (hub: TestSwitch, message: string) => hub.desk.messages.cancel(hub.owner, message), away],
  ["the far side's word", saysNo, away],
  ["the far side's word of what is under way", saysNo, hanging],
] as const) {
  test(`${what} that cannot be written leaves the delivery where it was, before what is behind it`, async () => {
    const lxmf = memoryBridge();
    lxmf.respond = first;
    const writers: Worker[] = [];
    await using hub = await openTestSwitch({
      bridges: [lxmf],
      store: { onWriter: worker => writers.push(worker) },
    });
    const port = await lxmf.port;
    const { message } = await hub.desk.messages.post(hub.owner, { to: peer, text: 'still here' });
    const state = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0];
    await until(() => (first === away ? state()?.reason === 'away' : lxmf.delivered.length === 1));
    await hub.desk.messages.post(hub.owner, { to: peer, text: 'behind' });
    const heard: string[] = [];
    lxmf.respond = ({ message }) => {
      heard.push(message.text);
      return { state: 'delivered' };
    };
    // Ended first: a writer that is quick enough would have it on disk.
    const ended = writers.at(-1)?.terminate();
    const refused = assert.rejects(act(hub, message.id, lxmf), { code: 'store/unavailable' });
    // It is out of its line before anybody can know that its writer has ended.
    for (let turn = 0; turn < 1000 && hub.desk.health().queued === 2; turn++) {
      await Promise.resolve();
    }
    assert.equal(hub.desk.health().queued, 1);
    port.reachable(peer);
    await refused;
    await ended;
    assert.deepEqual(heard, []);
    assert.equal(hub.desk.health().queued, 2);
    await until(() => writers.length === 2 && hub.desk.health().ready);
    await until(() => {
      port.reachable(peer);
      return heard.length === 2;
    });
    assert.deepEqual(heard, ['still here', 'behind']);
    await until(() => state()?.state === 'delivered');
    assert.equal(hub.desk.health().queued, 0);
  });
}

test('where the far side cannot tell a repeat, an attempt whose answer is lost is ambiguous and one that had not left goes again', async () => {
  for (const tellsWhenSent of [true, false]) {
    const sms = memoryBridge('sms', { deduplicates: false, tellsWhenSent });
    await using hub = await openTestSwitch({ bridges: [sms] });
    const port = await sms.port;
    sms.respond = async ({ id }) => {
      if (sms.delivered.length === 1) {
        away();
      }
      if (tellsWhenSent) {
        await port.report(id, { state: 'sent' });
        away();
      }
      throw new GatewayError('mesh/timeout', 'no answer', { retryable: true });
    };
    const { message } = await hub.desk.messages.post(hub.owner, { to: 'sms:bell', text: 'perhaps' });
    await until(() => sms.delivered.length === 1);
    port.reachable('sms:bell');
    const first = () => hub.desk.messages.get(hub.owner, message.id).deliveries[0];
    await until(() => first()?.state === 'ambiguous');
    assert.match(first()?.reason ?? '', /may or may not have arrived/);
    port.reachable('sms:bell');
    assert.equal(hub.desk.health().queued, 0);
    assert.equal(sms.delivered.length, 2);
    // Its far side finds its tongue.
    await port.report(first()?.id ?? '', { state: 'delivered' });
    assert.equal(first()?.state, 'delivered');
  }
});

test('what waits because its bridge is busy says so', async () => {
  const lxmf = memoryBridge('lxmf', { concurrency: 1 });
  lxmf.respond = hanging;
  await using hub = await openTestSwitch({ bridges: [lxmf] });
  await hub.desk.messages.post(hub.owner, { to: peer, text: 'under way' });
  await until(() => lxmf.delivered.length === 1);
  const { message } = await hub.desk.messages.post(hub.owner, { to: other, text: 'waits' });
  assert.equal(message.deliveries[0]?.reason, 'lxmf is busy with others');
});

test('what is called back while a hub starts is not sent any more', async () => {
  await using at = await folder();
  const before = memoryBridge();
  const first = await openTestSwitch({ dir: at.dir, bridges: [before] });
  before.respond = hanging;
  const { message } = await first.desk.messages.post(first.owner, { to: peer, text: 'not after all' });
  await until(() => before.delivered.length === 1);
  await first.stop();
  const after = memoryBridge();
  await using hub = await openTestSwitch({ dir: at.dir, bridges: [after] });
  await hub.desk.messages.cancel(hub.owner, message.id);
  const [delivery] = hub.desk.messages.get(hub.owner, message.id).deliveries;
  assert.equal(delivery?.state, after.delivered.length === 0 ? 'cancelled' : 'delivered');
  assert.equal(hub.desk.health().queued, 0);
});
