import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWebhookBridge } from '../../../src/bridges/webhook/bridge.ts';
import { webhookLimits } from '../../../src/bridges/webhook/config.ts';
import { deliverTo } from '../../../src/bridges/webhook/deliver.ts';
import { createGuard } from '../../../src/bridges/webhook/guard.ts';
import { newHook } from '../../../src/bridges/webhook/hook.ts';
import { createPoster } from '../../../src/bridges/webhook/post.ts';
import { fresh } from '../../../src/bridges/webhook/progress.ts';
import { signedHeaders } from '../../../src/bridges/webhook/signature.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createTurns } from '../../../src/lib/turns.ts';
import { bridgeContract, type FarSide } from '../../contract/bridge.ts';
import { testHub } from '../../gateway/fixture.ts';
import { openGateway } from '../gateway.ts';
import { openReceiver, type Received, status, until, verifies } from './receiver.ts';

const quick = { firstRetry: 20, longestRetry: 40, timeout: 60_000, idleWrite: 0 };
const secret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

bridgeContract('the webhook bridge', async (): Promise<FarSide> => {
  const receiver = await openReceiver();
  const clock = systemClock;
  const guard = createGuard({ clock, lookup: () => undefined, allowPrivate: ['127.0.0.1'], patience: 1 });
  const poster = createPoster({ clock, guard, limits: webhookLimits });
  const hook = newHook({
    id: '0'.repeat(32),
    client: 'c',
    createdAt: 0,
    settings: { url: receiver.url, enabled: true, acknowledge: false },
    secrets: [{ text: secret, createdAt: 0 }],
    position: 'e0000-0',
    progress: fresh,
  });
  const parts = {
    hub: { ...testHub, boot: 1 },
    clock,
    keeper: { note: () => undefined, settle: async () => undefined },
    limits: webhookLimits,
    onProgress: () => undefined,
    send: (_: unknown, { id, body }: { id: string; body: Uint8Array }, signal: AbortSignal) =>
      poster.post(new URL(receiver.url), signedHeaders(hook.secrets, id, body, clock.now()), body, signal),
  };
  return {
    bridge: createWebhookBridge(() => ({
      has: id => id === hook.id,
      deliver: (_, delivery, signal) => deliverTo(hook, delivery, parts, signal),
    })),
    to: `webhook:${hook.id}`,
    // As an endpoint does that remembers ids.
    arrived: () =>
      [...new Map(receiver.received.map(one => [one.id, one])).values()].map(({ data }) => data.message.text),
    async [Symbol.asyncDispose]() {
      poster[Symbol.dispose]();
      await receiver[Symbol.asyncDispose]();
    },
  };
});

test('a webhook can be written to, and be in a room: the outbox retries, and the delivery says what became of it', async () => {
  await using receiver = await openReceiver();
  await using gateway = await openGateway({
    webhook: { allowPrivate: ['127.0.0.0/8'], limits: quick },
    limits: { firstRetry: 20, longestRetry: 40 },
  });
  const { ownerToken } = gateway.hub;
  const sender = await gateway.client('sender');
  const made = await gateway.call(ownerToken, 'POST', '/v1/webhooks', {
    url: receiver.url,
    events: ['message.accepted'],
  });
  const address = `webhook:${made.body.id}`;
  const room = await gateway.call(ownerToken, 'POST', '/v1/rooms', { name: 'yard', members: [address] });
  assert.equal(room.status, 201);
  const stateOf = async (message: string) =>
    (await gateway.call(sender, 'GET', `/v1/messages/${message}`)).body.deliveries[0];
  const answers = [500, 500, 200];
  receiver.answer = response => response.writeHead(answers.shift() ?? 202).end();

  const direct = await gateway.call(sender, 'POST', '/v1/messages', { to: address, text: 'for you' });
  assert.equal(direct.status, 201);
  await until('it is delivered', async () => (await stateOf(direct.body.id)).state === 'delivered');
  const delivery = await stateOf(direct.body.id);
  assert.equal(delivery.bridge, 'webhook');
  assert.equal(delivery.attempts, 3);
  assert.ok(delivery.history.some((step: { reason?: string }) => step.reason === 'it answered 500'));

  const said = await gateway.call(sender, 'POST', '/v1/messages', { to: 'room:yard', text: 'for all' });
  await until('202 is sent', async () => (await stateOf(said.body.id)).state === 'sent');

  const told = receiver.received.filter(({ type }) => type === 'webhook.message');
  assert.equal(told.length, 4);
  assert.equal(new Set(told.map(one => one.id)).size, 2);
  assert.deepEqual([told[0]?.data.webhook, told[0]?.data.delivery], [made.body.id, delivery.id]);
  assert.ok(told.every(one => verifies(made.body.secret, one)));
  // The owner sees every message; those that come as deliveries do not come as events too.
  await gateway.call(sender, 'POST', '/v1/messages', { to: 'app:sender', text: 'for the sender' });
  await until('the event came', () => receiver.received.some(({ type }) => type === 'message.accepted'));
  const events = receiver.received.filter(({ type }) => type === 'message.accepted') as Received[];
  assert.deepEqual(
    events.map(({ data }) => data.message.text),
    ['for the sender'],
  );
});

test('a message whose answer is lost, with the connection or with the gateway, is sent again under its id and is ambiguous nowhere', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-hooks-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await using receiver = await openReceiver();
  const open = () =>
    openGateway({
      dir,
      webhook: { allowPrivate: ['127.0.0.0/8'], limits: quick },
      limits: { firstRetry: 20, longestRetry: 40 },
    });
  let message = '';
  {
    await using gateway = await open();
    const { ownerToken } = gateway.hub;
    const made = await gateway.call(ownerToken, 'POST', '/v1/webhooks', {
      url: receiver.url,
      events: ['message.accepted'],
    });
    let cut = 2;
    // It has read all of it each time; at last it says nothing at all.
    receiver.answer = (_response, _received, request) => {
      cut -= 1;
      if (cut >= 0) {
        request.socket.destroy();
      }
    };
    const posted = await gateway.call(ownerToken, 'POST', '/v1/messages', {
      to: `webhook:${made.body.id}`,
      text: 'once',
    });
    message = posted.body.id;
    await until('the third request is there', () => receiver.received.length === 3);
  }
  receiver.answer = status(204);
  await using gateway = await open();
  const view = await until('it is delivered', async () => {
    const { body } = await gateway.call(gateway.hub.ownerToken, 'GET', `/v1/messages/${message}`);
    return body.deliveries[0].state === 'delivered' && body.deliveries[0];
  });
  assert.equal(receiver.received.length, 4);
  assert.equal(
    new Set(receiver.received.map(({ id }) => id)).size,
    1,
    'by which an endpoint knows the repeat',
  );
  const steps = view.history as { state: string; reason?: string }[];
  assert.ok(!steps.some(({ state }) => state === 'ambiguous'));
  assert.ok(steps.some(({ reason }) => reason?.includes('the connection broke')));
});

test('a message to a webhook that is off waits with the reason, and leaves when it is on; to one that is gone it fails', async () => {
  await using receiver = await openReceiver();
  await using gateway = await openGateway({
    webhook: { allowPrivate: ['127.0.0.0/8'], limits: quick },
    limits: { firstRetry: 60_000, longestRetry: 60_000 },
  });
  const { ownerToken } = gateway.hub;
  const made = await gateway.call(ownerToken, 'POST', '/v1/webhooks', {
    url: receiver.url,
    enabled: false,
    events: ['message.changed'],
  });
  const path = `/v1/webhooks/${made.body.id}`;
  const to = `webhook:${made.body.id}`;
  const sent = await gateway.call(ownerToken, 'POST', '/v1/messages', { to, text: 'x' });
  const delivery = async () =>
    (await gateway.call(ownerToken, 'GET', `/v1/messages/${sent.body.id}`)).body.deliveries[0];
  await until('it waits', async () => (await delivery()).reason === 'the webhook is disabled');
  await gateway.call(ownerToken, 'PATCH', path, { enabled: true });
  await until('it left at once', async () => (await delivery()).state === 'delivered');

  receiver.answer = status(410);
  const late = await gateway.call(ownerToken, 'POST', '/v1/messages', { to, text: 'y' });
  await until(
    '410 disables',
    async () => (await gateway.call(ownerToken, 'GET', path)).body.state === 'disabled',
  );
  await gateway.call(ownerToken, 'DELETE', path);
  const unknown = await gateway.call(ownerToken, 'POST', '/v1/messages', { to, text: 'z' });
  assert.equal(unknown.status, 404);
  await gateway.call(ownerToken, 'POST', `/v1/deliveries/${late.body.deliveries[0].id}/retry`);
  await until('it has failed', async () => {
    const { body } = await gateway.call(ownerToken, 'GET', `/v1/messages/${late.body.id}`);
    return body.deliveries[0].state === 'failed' && /no such webhook/.test(body.deliveries[0].reason);
  });
});

test('turns are taken one after the other, and whoever gives up while waiting is passed over', async () => {
  const turns = createTurns();
  const done: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turns(async () => {
    await gate.promise;
    done.push('first');
  });
  const leaving = new AbortController();
  const second = turns(async () => void done.push('second'), leaving.signal);
  const third = turns(async () => void done.push('third'));
  leaving.abort(new DOMException('gone', 'AbortError'));
  await assert.rejects(second, { name: 'AbortError' });
  await sleep(5);
  assert.deepEqual(done, []);
  gate.resolve();
  await Promise.all([first, third]);
  assert.deepEqual(done, ['first', 'third']);
  await assert.rejects(
    turns(async () => {
      throw new TypeError('x');
    }),
    TypeError,
  );
  assert.equal(await turns(async () => 1), 1);
});
