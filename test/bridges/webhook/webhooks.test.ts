import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { webhookConfigSchema } from '../../../src/bridges/webhook/config.ts';
import { defaultLimits } from '../../../src/gateway/limits.ts';
import type { Store } from '../../../src/gateway/store/store.ts';
import { sweepOnce } from '../../../src/gateway/sweep.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { createHubWebhooks } from '../../../src/start/webhooks.ts';
import { foreign, openGateway, pointers, type TestGateway } from '../gateway.ts';
import { openReceiver, type Received, status, until, verifies } from './receiver.ts';

const loopback = ['127.0.0.0/8'];
const quick = { firstRetry: 20, longestRetry: 40, timeout: 60_000, idleWrite: 0 };

const open = (options: Parameters<typeof openGateway>[0] = {}) =>
  openGateway({
    ...options,
    webhook: { allowPrivate: loopback, ...options.webhook, limits: { ...quick, ...options.webhook?.limits } },
  });

const texts = (received: readonly Received[]) =>
  received.filter(({ type }) => type === 'message.accepted').map(({ data }) => data.message.text);

async function say(gateway: TestGateway, token: string, to: string, ...words: string[]): Promise<void> {
  for (const text of words) {
    const { status: code } = await gateway.call(token, 'POST', '/v1/messages', { to, text });
    assert.equal(code, 201);
  }
}

const messages = { events: ['message.accepted'] };

test('an endpoint is told of what its client may see, in order, signed as the standard says, with the event as streams show it', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get('location'), `/v1/webhooks/${made.body.id}`);
  assert.match(made.body.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  await say(gateway, token, 'app:a', 'one', 'two', 'three');
  await until('all have come', () => receiver.received.length === 3);

  assert.deepEqual(texts(receiver.received), ['one', 'two', 'three']);
  const [first] = receiver.received as [Received];
  assert.ok(receiver.received.every(one => verifies(made.body.secret, one)));
  assert.equal(first.method, 'POST');
  assert.ok(Math.abs(Number(first.timestamp) - Date.now() / 1000) < 60);
  const { type, timestamp, data } = JSON.parse(first.raw);
  assert.equal(type, 'message.accepted');
  assert.equal(Date.parse(timestamp), data.at);
  assert.equal(new Set(receiver.received.map(({ id }) => id)).size, 3);
  const client = gateway.desk.clients.authenticate(token).client as never;
  const shown = gateway.desk.events
    .read(client, made.body.cursor)
    .items.filter(({ kind }) => kind === 'message.accepted');
  assert.deepEqual(
    shown.map(({ cursor }) => cursor),
    receiver.received.map(one => one.data.cursor),
  );

  const view = await until('it says so', async () => {
    const { body } = await gateway.call(token, 'GET', `/v1/webhooks/${made.body.id}`);
    return body.state === 'idle' && body.pending === 0 && body;
  });
  assert.equal('secret' in view, false);
  assert.equal(view.failures, 0);
  assert.equal(view.attempts.length, 3);
  assert.equal(view.attempts[0].state, 'delivered');
  assert.equal(view.attempts[0].status, 204);
  assert.ok(view.lastSuccessAt > 0);
});

test('a webhook that is asked for again under its key is the same one, and another is refused', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const [a, b] = [await gateway.client('a'), await gateway.client('b')];
  const make = (token: string, body: object, key = '"once"') =>
    gateway.call(token, 'POST', '/v1/webhooks', body, { headers: { 'idempotency-key': key } });
  const draft = { url: receiver.url, ...messages };
  const both = await Promise.all([make(a, draft), make(a, draft)]);
  const first = both.find(({ status: code }) => code === 201);
  assert.ok(first, 'one of two at once is made, the other is the same or told to wait');
  assert.ok(both.every(({ status: code }) => code === 201 || code === 409));
  const again = await make(a, draft, 'once');
  assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [201, 'true']);
  assert.deepEqual([again.body.id, again.body.secret], [first.body.id, first.body.secret]);
  for (const other of [
    { url: receiver.url },
    { ...draft, description: 'x' },
    { ...draft, acknowledge: true },
  ]) {
    assert.equal((await make(a, other)).status, 422);
  }
  assert.equal((await make(a, draft, '')).status, 400);
  assert.notEqual((await make(b, draft)).body.id, first.body.id, 'keys of others are others');
  assert.equal((await gateway.call(a, 'GET', '/v1/webhooks')).body.items.length, 1);
  await gateway.call(a, 'DELETE', `/v1/webhooks/${first.body.id}`);
  assert.equal((await make(a, draft)).headers.get('idempotency-replayed'), null);
});

test('a client has its own webhooks only, and is told of nothing that is not for it; an admin has all', async () => {
  await using gateway = await open();
  await using mine = await openReceiver();
  await using all = await openReceiver();
  const a = await gateway.client('a', { rooms: [] });
  const b = await gateway.client('b', { rooms: [] });
  const { ownerToken } = gateway.hub;
  const made = await gateway.call(a, 'POST', '/v1/webhooks', { url: mine.url, ...messages });
  const path = `/v1/webhooks/${made.body.id}`;
  await gateway.call(ownerToken, 'POST', '/v1/webhooks', { url: all.url, ...messages });
  await say(gateway, b, 'app:b', 'not for a');
  await say(gateway, b, 'app:a', 'for a');
  await until('the admin has both', () => all.received.length === 2);
  await until('a has its own', () => mine.received.length === 1);
  assert.deepEqual(texts(mine.received), ['for a']);

  for (const [method, body] of [['GET'], ['PATCH', { enabled: false }], ['DELETE']] as const) {
    assert.equal((await gateway.call(b, method, path, body)).status, 404);
  }
  for (const [verb, body] of [
    ['test', undefined],
    ['replay', { since: 0 }],
    ['rotate-secret', {}],
  ] as const) {
    assert.equal((await gateway.call(b, 'POST', `${path}/${verb}`, body)).status, 404, verb);
  }
  assert.equal((await gateway.call(b, 'GET', '/v1/webhooks')).body.items.length, 0);
  assert.equal((await gateway.call(a, 'GET', '/v1/webhooks')).body.items.length, 1);
  const listed = await gateway.call(ownerToken, 'GET', '/v1/webhooks');
  assert.deepEqual(listed.body.items.map((one: { client: string }) => one.client).sort(), ['a', 'owner']);
  assert.equal((await gateway.call(ownerToken, 'DELETE', path)).status, 204);
  assert.equal((await gateway.call(a, 'GET', path)).status, 404);
});

test('with its token revoked a client has no webhooks any more, also after a restart', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-hooks-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await using receiver = await openReceiver();
  {
    await using gateway = await open({ dir });
    const a = await gateway.client('a');
    const b = await gateway.client('b');
    await gateway.call(a, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
    await gateway.desk.clients.revoke('a');
    await say(gateway, b, 'app:b', 'x');
    assert.deepEqual((await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/webhooks')).body.items, []);
  }
  await using gateway = await open({ dir });
  assert.deepEqual((await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/webhooks')).body.items, []);
  assert.equal(receiver.received.length, 0);
});

test('what was not answered 2xx is sent again, under the same id and before anything else, until it is', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  const answers = [500, 404, 302, 429];
  receiver.answer = response => {
    const code = answers.shift() ?? 200;
    response.writeHead(code, code === 302 ? { location: receiver.url } : {}).end();
  };
  const { body } = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  await say(gateway, token, 'app:a', 'one', 'two');
  await until('both were taken', () => texts(receiver.received).includes('two'));
  assert.deepEqual(texts(receiver.received), ['one', 'one', 'one', 'one', 'one', 'two']);
  assert.equal(new Set(receiver.received.slice(0, 5).map(({ id }) => id)).size, 1);
  const view = await until('it is well again', async () => {
    const now = (await gateway.call(token, 'GET', `/v1/webhooks/${body.id}`)).body;
    return now.state === 'idle' && now;
  });
  assert.equal(view.failures, 0);
  assert.equal('failingSince' in view, false);
  assert.equal(view.lastFailure.code, 'status');
  assert.deepEqual(
    view.attempts.map(({ state, code, status: answered }: Record<string, unknown>) => [
      state,
      code ?? answered,
    ]),
    [
      ['delivered', 200],
      ['delivered', 200],
      ['queued', 'status'],
      ['queued', 'redirect'],
      ['queued', 'status'],
      ['queued', 'status'],
    ],
  );
});

test('410 disables a webhook; enabling it goes on where it stood', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  receiver.answer = status(410);
  const { body } = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  const path = `/v1/webhooks/${body.id}`;
  await say(gateway, token, 'app:a', 'one', 'two');
  const off = await until('it is off', async () => {
    const now = (await gateway.call(token, 'GET', path)).body;
    return now.state === 'disabled' && now;
  });
  assert.equal(off.enabled, false);
  assert.match(off.reason, /410/);
  assert.equal(off.attempts[0].state, 'failed');
  assert.equal(receiver.received.length, 1);
  const failures = gateway.desk.health().failures.filter(({ name }) => name.startsWith('webhook:'));
  assert.equal(failures.length, 1);
  assert.doesNotMatch(JSON.stringify(failures), /127\.0\.0\.1/);
  assert.equal(gateway.desk.health().ready, true);

  receiver.answer = status(200);
  await gateway.call(token, 'PATCH', path, { description: 'changes nothing of that' });
  assert.equal((await gateway.call(token, 'GET', path)).body.state, 'disabled');
  const on = await gateway.call(token, 'PATCH', path, { enabled: true });
  assert.equal(on.body.enabled, true);
  await until('both came', () => receiver.received.length === 3);
  assert.deepEqual(texts(receiver.received), ['one', 'one', 'two']);
  assert.deepEqual(
    gateway.desk.health().failures.filter(({ name }) => name.startsWith('webhook:')),
    [],
  );
});

test('an endpoint that does not answer for days is disabled, with the reason', async () => {
  await using gateway = await open({
    webhook: { disableAfter: 1, limits: { firstRetry: 1, longestRetry: 1 } },
  });
  await using receiver = await openReceiver();
  receiver.answer = status(500);
  const token = await gateway.client('a');
  const { body } = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  const rows = () => gateway.hub.store.read.webhooks();
  await say(gateway, token, 'app:a', 'one');
  await until('it fails', () => (rows()[0]?.status ?? '').includes('failingSince'));
  // As if the first failure were older than a day.
  await gateway.webhooks[Symbol.asyncDispose]();
  const [row] = rows();
  assert.ok(row);
  const past = { ...JSON.parse(row.status), failingSince: Date.now() - 86_400_000 };
  await gateway.hub.store.committer.commit('webhook.put', { ...row, status: JSON.stringify(past) });
  await using again = await reopened(gateway.hub.store, gateway);
  const view = await until('it is off', () => {
    const now = again.desk.get(gateway.hub.owner, body.id);
    return now.state === 'disabled' && now;
  });
  assert.match(view.reason ?? '', /1 day; the last time: it answered 500/);
});

test('Retry-After is heeded for 429 and 503', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  receiver.answer = status(503, { 'retry-after': '120' });
  const { body } = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  await say(gateway, token, 'app:a', 'one');
  const view = await until('it waits', async () => {
    const now = (await gateway.call(token, 'GET', `/v1/webhooks/${body.id}`)).body;
    return now.nextAt !== undefined && now;
  });
  assert.ok(view.nextAt - Date.now() > 60_000, String(view.nextAt - Date.now()));
  assert.equal(view.state, 'waiting');
  assert.equal(view.reason, 'it answered 503');

  receiver.answer = status(200);
  const tried = await gateway.call(token, 'POST', `/v1/webhooks/${body.id}/test`);
  assert.equal(tried.body.state, 'delivered');
  await until('a test that got through ends the wait', () => receiver.received.length === 3);
  assert.deepEqual(
    receiver.received.map(({ type }) => type),
    ['message.accepted', 'webhook.test', 'message.accepted'],
  );
});

test('a restart forgets nothing: what was said meanwhile is told, and what was answered is not told again', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-hooks-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await using receiver = await openReceiver();
  let token = '';
  {
    await using gateway = await open({ dir });
    token = await gateway.client('a');
    const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
    await say(gateway, token, 'app:a', 'one');
    await until('the first was answered', async () => {
      const { body } = await gateway.call(token, 'GET', `/v1/webhooks/${made.body.id}`);
      return body.attempts.length === 1 && body.pending === 0;
    });
  }
  {
    // Away: no webhooks run here.
    await using gateway = await open({ dir });
    await gateway.webhooks[Symbol.asyncDispose]();
    await say(gateway, token, 'app:a', 'two', 'three');
  }
  await using _gateway = await open({ dir });
  await until('the rest came', () => receiver.received.length === 3);
  assert.deepEqual(texts(receiver.received), ['one', 'two', 'three']);
});

test('where events were forgotten before they could be told, the endpoint is told so, and of what is left', async () => {
  await using gateway = await open({ limits: { eventCount: 4 } });
  await using receiver = await openReceiver();
  receiver.answer = status(500);
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', {
    url: receiver.url,
    ...messages,
    enabled: false,
  });
  const path = `/v1/webhooks/${made.body.id}`;
  await say(gateway, token, 'app:a', 'one', 'two', 'three', 'four', 'five', 'six');
  const page = await gateway.call(token, 'GET', '/v1/inbox');
  await gateway.call(token, 'GET', `/v1/inbox?after=${page.body.cursor}`);
  await sweep(gateway);
  assert.throws(() => gateway.desk.events.read(gateway.hub.owner, made.body.cursor), /not kept/);
  await gateway.call(token, 'PATCH', path, { enabled: true });
  const waiting = await until('the gap is shown', async () => {
    const now = (await gateway.call(token, 'GET', path)).body;
    return now.gap !== undefined && now;
  });
  assert.equal(waiting.gap.after, made.body.cursor);
  receiver.answer = status(204);
  await until('it was told', async () => {
    const now = (await gateway.call(token, 'GET', path)).body;
    return now.gap === undefined && now.pending === 0;
  });
  const told = receiver.received.filter(({ type }) => type === 'webhook.gap');
  assert.ok(told.length > 0);
  assert.equal(new Set(told.map(({ id }) => id)).size, 1);
  assert.equal(told[0]?.data.after, made.body.cursor);
  assert.equal(told[0]?.data.webhook, made.body.id);
  assert.ok(texts(receiver.received).length < 6);
});

test('a replay sends again from an event or a time, under the ids of before, or passes over what the endpoint never takes', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  const path = `/v1/webhooks/${made.body.id}`;
  await say(gateway, token, 'app:a', 'one');
  const between = Date.now() + 1;
  await until('time goes on', () => Date.now() > between);
  await say(gateway, token, 'app:a', 'two', 'three');
  await until('all came', () => receiver.received.length === 3);
  const [first, second] = receiver.received as [Received, Received];

  await gateway.call(token, 'POST', `${path}/replay`, { after: first.data.cursor });
  await until('two and three again', () => receiver.received.length === 5);
  assert.deepEqual(texts(receiver.received).slice(3), ['two', 'three']);
  assert.equal(receiver.received[3]?.id, second.id);

  const since = await gateway.call(token, 'POST', `${path}/replay`, { since: between });
  assert.equal(since.status, 200);
  await until('the same by time', () => receiver.received.length === 7);
  assert.deepEqual(texts(receiver.received).slice(5), ['two', 'three']);

  receiver.answer = (response, { data }) =>
    response.writeHead(data.message.text === 'poison' ? 422 : 200).end();
  await say(gateway, token, 'app:a', 'poison', 'after it');
  await until('it is stuck', () => texts(receiver.received).filter(text => text === 'poison').length > 1);
  assert.ok(!texts(receiver.received).includes('after it'));
  const stuck = receiver.received.at(-1)?.data.cursor;
  await gateway.call(token, 'POST', `${path}/replay`, { after: stuck });
  await until('it was passed over', () => texts(receiver.received).includes('after it'));

  for (const body of [{}, { after: 'x', since: 1 }, { since: -1 }, { after: '' }, { after: 'nonsense' }]) {
    const answer = await gateway.call(token, 'POST', `${path}/replay`, body);
    assert.equal(answer.status, 400, JSON.stringify(body));
  }
  const other = await gateway.call(token, 'POST', `${path}/replay`, { after: foreign(stuck) });
  assert.equal(other.status, 410);
});

test('a replay that cannot be written is refused and changes nothing: the webhook stands where it stood', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  const path = `/v1/webhooks/${made.body.id}`;
  await say(gateway, token, 'app:a', 'one', 'two');
  await until('both came', () => receiver.received.length === 2);
  const { committer } = gateway.hub.store;
  const { commit } = committer;
  const written = Promise.withResolvers<never>();
  committer.commit = ((verb, ...rest) =>
    verb === 'webhook.put' ? written.promise : commit(verb, ...rest)) as typeof commit;

  const asked = gateway.call(token, 'POST', `${path}/replay`, { after: made.body.cursor });
  await say(gateway, token, 'app:a', 'three');
  await until('it goes on from where it stood', () => receiver.received.length === 3);
  const shown = await gateway.call(token, 'GET', path);
  assert.notEqual(shown.body.cursor, made.body.cursor);
  written.reject(new GatewayError('store/full', 'the disk is full'));
  assert.equal((await asked).status, 507);
  committer.commit = commit;
  assert.deepEqual(texts(receiver.received), ['one', 'two', 'three']);
  const { cursor } = (await gateway.call(token, 'GET', path)).body;
  await until('it is written where it stands', () =>
    gateway.hub.store.read.webhooks().every(row => row.position === cursor),
  );

  const replayed = await gateway.call(token, 'POST', `${path}/replay`, { after: made.body.cursor });
  assert.equal(replayed.status, 200);
  await until('all of them again', () => receiver.received.length === 6);
  assert.deepEqual(texts(receiver.received).slice(3), ['one', 'two', 'three']);
});

test('after a rotation both secrets sign for a while, then the new one alone', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a');
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, secret });
  assert.equal(made.body.secret, secret);
  const path = `/v1/webhooks/${made.body.id}`;
  const rotated = await gateway.call(token, 'POST', `${path}/rotate-secret`, {});
  assert.notEqual(rotated.body.secret, secret);
  assert.equal(rotated.body.secrets.length, 2);
  await gateway.call(token, 'POST', `${path}/test`);
  const [both] = receiver.received as [Received];
  assert.equal(both.signature.split(' ').length, 2);
  assert.ok(verifies(secret, both) && verifies(rotated.body.secret, both));

  const before = Date.now();
  const brief = await gateway.call(token, 'POST', `${path}/rotate-secret`, { grace: 3600 });
  const ends = brief.body.secrets.map(({ until }: { until?: number }) => until).filter(Number.isFinite);
  assert.ok(
    ends.some((until: number) => until >= before + 3_600_000 && until < before + 7_200_000),
    'seconds, as for tokens',
  );

  const cut = await gateway.call(token, 'POST', `${path}/rotate-secret`, { grace: 0 });
  await gateway.call(token, 'POST', `${path}/test`);
  const alone = receiver.received.at(-1) as Received;
  assert.equal(alone.signature.split(' ').length, 1);
  assert.ok(verifies(cut.body.secret, alone));
  for (const wrong of ['whsec_AAAA', `whsec_${Buffer.alloc(65).toString('base64')}`, 'secret']) {
    const answer = await gateway.call(token, 'POST', `${path}/rotate-secret`, { secret: wrong });
    assert.deepEqual(pointers(answer), ['/secret'], wrong);
  }
});

test('what an endpoint has taken was given to the client, and with acknowledge it counts as read', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const made = await gateway.call(a, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  const states = async (text: string) => {
    const sent = await gateway.call(b, 'POST', '/v1/messages', { to: 'app:a', text });
    return (wanted: string) =>
      until(`${text} is ${wanted}`, async () => {
        const { body } = await gateway.call(b, 'GET', `/v1/messages/${sent.body.id}`);
        return body.deliveries[0].state === wanted;
      });
  };
  await (await states('one'))('sent');
  await gateway.call(a, 'PATCH', `/v1/webhooks/${made.body.id}`, { acknowledge: true });
  await (await states('two'))('delivered');
});

test('with its rights taken a client is told nothing more of what it could see, not even of what was read for it already', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const { ownerToken } = gateway.hub;
  const token = await gateway.client('a', { scopes: ['messages:read', 'admin'] });
  const hold = Promise.withResolvers<void>();
  receiver.answer = async response => {
    await hold.promise;
    response.writeHead(200).end();
  };
  await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  await say(gateway, ownerToken, 'app:owner', 'one', 'two', 'three');
  await until('the first is under way', () => receiver.received.length === 1);
  await gateway.desk.clients.change('a', { scopes: ['messages:read'], rooms: [] });
  hold.resolve();
  await say(gateway, ownerToken, 'app:a', 'for a');
  await until('its own came', () => texts(receiver.received).includes('for a'));
  assert.deepEqual(texts(receiver.received), ['one', 'for a']);
});

test('a client that may not read any more is told nothing, neither of events nor by deliveries, until it may again', async () => {
  await using gateway = await open({ limits: { firstRetry: 20, longestRetry: 40 } });
  await using receiver = await openReceiver();
  const token = await gateway.client('a', { scopes: ['messages:read', 'messages:send'] });
  const { ownerToken } = gateway.hub;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  await say(gateway, ownerToken, 'app:a', 'before');
  await until('the first came', () => receiver.received.length === 1);
  await gateway.desk.clients.change('a', { scopes: ['messages:send'] });
  await say(gateway, ownerToken, 'app:a', 'after');
  const to = `webhook:${made.body.id}`;
  const sent = await gateway.call(ownerToken, 'POST', '/v1/messages', { to, text: 'by delivery' });
  await until('it is paused, and says why', async () => {
    const { body } = await gateway.call(ownerToken, 'GET', `/v1/webhooks/${made.body.id}`);
    return body.state === 'paused' && /may not read/.test(body.reason);
  });
  await until('the delivery waits', async () => {
    const { body } = await gateway.call(ownerToken, 'GET', `/v1/messages/${sent.body.id}`);
    return /may not read/.test(body.deliveries[0].reason);
  });
  assert.equal(receiver.received.length, 1);
  await gateway.desk.clients.change('a', { scopes: ['messages:read'] });
  await gateway.call(ownerToken, 'PATCH', `/v1/webhooks/${made.body.id}`, { enabled: true });
  await until('both came', () => receiver.received.length === 3);
});

test('a client whose token has expired is told nothing until it has one again', async () => {
  await using gateway = await open();
  await using receiver = await openReceiver();
  const token = await gateway.client('a', { expiresAt: Date.now() + 1500 });
  const { ownerToken } = gateway.hub;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url, ...messages });
  await until('it has expired', async () => (await gateway.call(token, 'GET', '/v1/inbox')).status === 401);
  await say(gateway, ownerToken, 'room:hub', 'x');
  await until('it is paused', async () => {
    const { body } = await gateway.call(ownerToken, 'GET', `/v1/webhooks/${made.body.id}`);
    return body.state === 'paused' && /expired/.test(body.reason);
  });
  assert.equal(receiver.received.length, 0);
});

test('whatever is asked of webhooks is done or refused with a problem, never a fault of the gateway', async () => {
  const nowhere = Object.assign(new Error('nowhere'), { code: 'ENOTFOUND' });
  await using gateway = await open({ webhook: { lookup: (_, callback) => callback(nowhere, []) } });
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', {
    url: 'https://board.invalid/',
    enabled: false,
  });
  assert.equal(made.status, 201);
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.webUrl(),
    fc.constantFrom('http://127.0.0.1:1/', 'https://x.invalid:99999/', made.body.cursor, made.body.secret),
  );
  const value = fc.oneof(word, fc.jsonValue(), fc.array(word, { maxLength: 3 }));
  const members = [
    'url',
    'events',
    'types',
    'rooms',
    'peers',
    'secret',
    'description',
    'enabled',
    'acknowledge',
  ];
  const body = fc.oneof(
    fc.dictionary(fc.constantFrom(...members, 'after', 'since', 'grace', '__proto__'), value, { maxKeys: 4 }),
    value,
  );
  const path = `/v1/webhooks/${made.body.id}`;
  const calls = fc.constantFrom<[string, string]>(
    ['POST', '/v1/webhooks'],
    ['PATCH', path],
    ['POST', `${path}/replay`],
    ['POST', `${path}/rotate-secret`],
  );
  await fc.assert(
    fc.asyncProperty(calls, body, async ([method, at], given) => {
      const answer = await gateway.call(token, method, at, JSON.stringify(given) ?? 'null');
      assert.ok(answer.status < 500, `${method} ${at} ${JSON.stringify(given)}: ${answer.status}`);
    }),
    { numRuns: 80 },
  );
  assert.equal((await gateway.call(token, 'GET', path)).status, 200);
});

test('bounds and mistakes are refused with a pointer or a reason', async () => {
  await using gateway = await open({ webhook: { limits: { perClient: 2, perHub: 3 } } });
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const url = 'https://hook.invalid/x';
  for (const [body, pointer] of [
    [{}, '/url'],
    [{ url: 'ftp://x/' }, '/url'],
    [{ url: 'not a url' }, '/url'],
    [{ url: 'https://user:secret@x.invalid/' }, '/url'],
    [{ url: 'https://x.invalid/#part' }, '/url'],
    [{ url, events: ['nonsense'] }, '/events/0'],
    [{ url, events: [] }, '/events'],
    [{ url, peers: ['nobody'] }, '/peers/0'],
    [{ url, from: 'app:b' }, '/from'],
    [{ url, secret: 'whsec_x' }, '/secret'],
  ] as const) {
    assert.deepEqual(pointers(await gateway.call(a, 'POST', '/v1/webhooks', body)), [pointer]);
  }
  for (const none of ['https://1.2.3.4.5/', 'https://x.invalid:99999/', 'https://[::::]/']) {
    const answer = await gateway.call(a, 'POST', '/v1/webhooks', { url: none });
    assert.deepEqual([answer.status, answer.body.errors[0].pointer], [422, '/url'], none);
  }
  const both = await Promise.all([1, 2, 3].map(() => gateway.call(a, 'POST', '/v1/webhooks', { url })));
  assert.deepEqual(both.map(one => one.status).sort(), [201, 201, 409]);
  assert.equal((await gateway.call(b, 'POST', '/v1/webhooks', { url })).status, 201);
  assert.equal((await gateway.call(b, 'POST', '/v1/webhooks', { url })).status, 409);
  const silent = await gateway.client('c', { scopes: ['peers:read'] });
  assert.equal((await gateway.call(silent, 'POST', '/v1/webhooks', { url })).status, 403);
  const allowed = await gateway.call(a, 'PUT', '/v1/webhooks', {});
  assert.equal(allowed.status, 405);
});

/** The hub's webhooks again, over a store that is open. */
async function reopened(store: Store, gateway: TestGateway) {
  const again = createHubWebhooks({
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters: gateway.hub.counters,
    store,
    gateway: gateway.hub,
    config: webhookConfigSchema.parse({ allowPrivate: loopback, disableAfter: 1 }),
    limits: quick,
  });
  await again.start();
  return again;
}

/** Forgets what is too much, as the hub does every minute. */
async function sweep(gateway: TestGateway): Promise<void> {
  const parts = {
    store: gateway.hub.store,
    clock: systemClock,
    log: silentLog,
    counters: gateway.hub.counters,
    limits: { ...defaultLimits, eventCount: 4 },
  };
  await sweepOnce(parts, Date.now(), new AbortController().signal);
}
