import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '../../../src/lib/log.ts';
import { openGateway, type TestGateway } from '../gateway.ts';

const bob = `app:bob`;

/** A request as a device makes it: no JSON unless it says so. */
async function ask(gateway: TestGateway, path: string, init: RequestInit = {}) {
  const answer = await fetch(new URL(path, gateway.url), init);
  return { status: answer.status, type: answer.headers.get('content-type') ?? '', text: await answer.text() };
}

const form = (fields: Record<string, string>): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams(fields).toString(),
});

async function inboxOf(gateway: TestGateway, token: string) {
  const { body } = await gateway.call(token, 'GET', '/v1/inbox?limit=200');
  return body.items.map(({ message }: { message: { text: string } }) => message);
}

test('a device sends with one line, in a query or a form, and is answered in plain text', async () => {
  await using gateway = await openGateway({ http: { legacySend: true } });
  const bobs = await gateway.client('bob');
  const token = await gateway.client('bell', { scopes: ['messages:send'] });
  const line = `/v1/send?to=${bob}&text=somebody+rang%21+%C3%BC&token=${token}`;
  const sent = await ask(gateway, line);
  assert.equal(sent.status, 200);
  assert.match(sent.text, /^OK [0-9a-f]{32}\n$/);
  assert.match(sent.type, /^text\/plain/);
  const posted = await ask(
    gateway,
    '/v1/send',
    form({ to: bob, text: 'and again', token, priority: 'high', key: 'k1' }),
  );
  const repeated = await ask(
    gateway,
    '/v1/send',
    form({ to: bob, text: 'and again', token, priority: 'high', key: 'k1' }),
  );
  assert.equal(posted.text, repeated.text, 'a key makes a repeat of it harmless');
  const json = await ask(gateway, '/v1/send', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${token}`,
      accept: 'application/json',
    },
    body: JSON.stringify({ to: bob, text: 'as JSON' }),
  });
  assert.equal(JSON.parse(json.text).from, 'app:bell');
  assert.deepEqual(
    (await inboxOf(gateway, bobs)).map(({ text }: { text: string }) => text),
    ['somebody rang! ü', 'and again', 'as JSON'],
  );
});

test('a line without a right, with a mistake or while it is turned off is refused and sends nothing', async () => {
  await using off = await openGateway();
  const token = await off.client('bell');
  assert.equal((await ask(off, `/v1/send?to=${bob}&text=x&token=${token}`)).status, 404);

  await using gateway = await openGateway({ http: { legacySend: true } });
  const bobs = await gateway.client('bob');
  const reader = await gateway.client('reader', { scopes: ['messages:read'] });
  const good = await gateway.client('bell');
  for (const [path, status] of [
    [`/v1/send?to=${bob}&text=x`, 401],
    [`/v1/send?to=${bob}&text=x&token=wrong`, 401],
    [`/v1/send?to=${bob}&text=x&token=${reader}`, 403],
    [`/v1/send?to=${bob}&token=${good}`, 400],
    [`/v1/send?to=nobody&text=x&token=${good}`, 400],
    [`/v1/send?to=nobody&text=x&token=${reader}`, 403],
    [`/v1/send?to=${bob}&text=x&text=y&token=${good}`, 400],
    [`/v1/send?to=${bob}&text=%ff&token=${good}`, 400],
    [`/v1/send?to=nobody&text=x`, 401],
    [`/v1/send?to=app:nobody&text=x&token=${good}`, 404],
  ] as const) {
    const answer = await ask(gateway, path);
    assert.equal(answer.status, status, `${path}: ${answer.text}`);
  }
  const named = await ask(gateway, '/v1/send', {
    ...form({ to: bob, from: 'app:bob', text: 'x' }),
    headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: `Bearer ${good}` },
  });
  assert.equal(named.status, 400);
  assert.match(named.text, /from/);
  assert.deepEqual(await inboxOf(gateway, bobs), []);
});

test('a program for SMS gateways sends to numbers, and is told in its own words what is wrong', async () => {
  await using gateway = await openGateway({ http: { sms: { numbers: { '+4915112345': bob } } } });
  const bobs = await gateway.client('bob');
  const token = await gateway.client('alarm');
  const path = (more: string) => `/cgi-bin/sendsms?username=alarm&password=${token}&${more}`;
  const sent = await ask(gateway, path('to=4915112345&text=fire&from=1234&charset=UTF-8&coding=0'));
  assert.deepEqual([sent.status, sent.text], [202, '0: Accepted for delivery\n']);
  assert.equal((await ask(gateway, path(`to=%2B4915112345;${bob}&text=two`))).status, 202);
  const posted = form({ username: 'alarm', password: token, to: '4915112345', text: 'posted' });
  assert.equal((await ask(gateway, '/cgi-bin/sendsms', posted)).status, 202);
  assert.match((await ask(gateway, path('to=999&text=x'))).text, /^Bad request: .*number 999/);
  assert.match((await ask(gateway, path('to=4915112345'))).text, /^Bad request:/);
  assert.equal((await ask(gateway, path('to=4915112345&text=x&charset=latin1'))).status, 400);
  const denied = await ask(gateway, '/cgi-bin/sendsms?username=a&password=b&to=4915112345&text=x');
  assert.deepEqual([denied.status, denied.text], [403, 'Authorization failed for sendsms\n']);
  const texts = (await inboxOf(gateway, bobs)).map(({ text }: { text: string }) => text);
  assert.deepEqual(texts, ['fire', 'two', 'two', 'posted']);
});

test('what old programs send counts as what their client may send', async () => {
  const rates = { requests: null, sends: { quota: 2, window: 3600 } };
  await using gateway = await openGateway({
    http: { rates, legacySend: true, sms: { numbers: {} }, ntfy: { topics: { alarm: bob } } },
  });
  const bobs = await gateway.client('bob');
  const sms = await gateway.client('sms');
  const several = `/cgi-bin/sendsms?password=${sms}&to=${bob},${bob},${bob}&text=x`;
  assert.equal((await ask(gateway, several)).status, 403);
  assert.deepEqual(await inboxOf(gateway, bobs), [], 'none of several goes where not all may');
  const send = await gateway.client('send');
  const ntfy = await gateway.client('ntfy');
  const publish = { method: 'POST', body: 'x', headers: { authorization: `Bearer ${ntfy}` } };
  const statuses: number[][] = [];
  for (let turn = 0; turn < 3; turn++) {
    const one = await ask(gateway, `/v1/send?to=${bob}&text=x&token=${send}`);
    const two = await ask(gateway, '/ntfy/alarm', publish);
    statuses.push([one.status, two.status]);
  }
  assert.deepEqual(statuses, [
    [200, 200],
    [200, 200],
    [429, 429],
  ]);
});

test('a script for ntfy publishes to a topic and polls it', async () => {
  await using gateway = await openGateway({
    rooms: { alerts: { members: [bob] } },
    http: { ntfy: { topics: { Door: bob } } },
  });
  const bobs = await gateway.client('bob');
  const token = await gateway.client('script', { rooms: ['alerts'] });
  const basic = `Basic ${Buffer.from(`anybody:${token}`).toString('base64')}`;
  const published = await ask(gateway, '/ntfy/alerts', {
    method: 'PUT',
    headers: {
      authorization: basic,
      title: Buffer.from('Wärme').toString('latin1'),
      'x-priority': 'urgent',
      tags: 'fire, sos',
    },
    body: 'the boiler is hot',
  });
  assert.equal(published.status, 200);
  const note = JSON.parse(published.text);
  assert.deepEqual(
    [note.event, note.topic, note.message, note.title, note.priority, note.tags],
    ['message', 'alerts', 'the boiler is hot', 'Wärme', 5, ['fire', 'sos']],
  );
  const asJson = await ask(gateway, '/ntfy', {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ topic: 'Door', message: 'somebody rang', priority: 2 }),
  });
  assert.equal(asJson.status, 200);
  const auth = Buffer.from(basic).toString('base64url');
  assert.equal(
    (await ask(gateway, `/ntfy/alerts?auth=${auth}&title=later`, { method: 'POST', body: '' })).status,
    200,
  );
  const heard = await inboxOf(gateway, bobs);
  assert.deepEqual(
    heard.map((one: { text: string; priority: string; title?: string }) => [
      one.text,
      one.priority,
      one.title,
    ]),
    [
      ['the boiler is hot', 'critical', 'Wärme'],
      ['somebody rang', 'bulk', undefined],
      ['triggered', 'normal', 'later'],
    ],
  );
  const poll = async (query: string) => {
    const { text } = await ask(gateway, `/ntfy/alerts/json?poll=1&${query}`, {
      headers: { authorization: basic },
    });
    return text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line).message);
  };
  assert.deepEqual(await poll('since=all'), ['the boiler is hot', 'triggered']);
  assert.deepEqual(await poll(`since=${note.id}`), ['triggered']);
  assert.deepEqual(await poll('since=10m'), ['the boiler is hot', 'triggered']);
  assert.equal((await ask(gateway, '/ntfy/alerts', { method: 'POST', body: 'x' })).status, 401);
  assert.equal(
    (await ask(gateway, '/ntfy/nowhere', { method: 'POST', body: 'x', headers: { authorization: basic } }))
      .status,
    404,
  );
  const wrong = await ask(gateway, '/ntfy/alerts', {
    method: 'POST',
    body: 'x',
    headers: { authorization: basic, priority: '9' },
  });
  assert.equal(wrong.status, 400);
});

test('pages of the origins that are named may call with a token, and others may not', async () => {
  await using gateway = await openGateway({ http: { ntfy: {}, cors: ['https://app.example'] } });
  const token = await gateway.client('page');
  const preflight = (origin: string) =>
    fetch(new URL('/v1/messages', gateway.url), {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });
  const asked = await preflight('https://app.example');
  assert.equal(asked.status, 204);
  assert.equal(asked.headers.get('access-control-allow-origin'), 'https://app.example');
  assert.match(asked.headers.get('access-control-allow-headers') ?? '', /Authorization/);
  assert.equal(asked.headers.get('access-control-allow-credentials'), null);
  const ntfy = await fetch(new URL('/ntfy/hub', gateway.url), {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'PUT' },
  });
  assert.match(ntfy.headers.get('access-control-allow-headers') ?? '', /\*/, 'ntfy takes any header');
  const other = await preflight('https://evil.example');
  assert.equal(other.headers.get('access-control-allow-origin'), null);
  const read = await gateway.call(token, 'GET', '/v1/inbox', undefined, {
    headers: { origin: 'https://app.example' },
  });
  assert.equal(read.status, 200);
  assert.equal(read.headers.get('access-control-allow-origin'), 'https://app.example');
  assert.match(read.headers.get('vary') ?? '', /origin/i);
  const refused = await gateway.call('wrong', 'GET', '/v1/inbox', undefined, {
    headers: { origin: 'https://app.example' },
  });
  assert.equal(refused.status, 401);
  assert.equal(
    refused.headers.get('access-control-allow-origin'),
    'https://app.example',
    'a problem can be read as well',
  );
});

test('a token in an address is written down nowhere, whatever becomes of the request', async () => {
  const said: unknown[] = [];
  const note = (...facts: unknown[]) => void said.push(facts);
  const log: Log = { trace: note, debug: note, info: note, warn: note, error: note, child: () => log };
  await using gateway = await openGateway({
    log,
    rooms: { alerts: { members: [] } },
    http: { legacySend: true, sms: {}, ntfy: {} },
  });
  const owner = await gateway.client('boss', { scopes: ['admin'] });
  const good = await gateway.client('bell', { rooms: ['alerts'] });
  const revoked = await gateway.client('old', { rooms: ['alerts'] });
  await gateway.call(owner, 'DELETE', '/v1/tokens/old');
  const tokens = [good, revoked, `kos_${'A'.repeat(43)}`, 'chosen by a person'];
  const pathsOf = (token: string) => {
    const one = encodeURIComponent(token);
    const header = Buffer.from(`Basic ${Buffer.from(`me:${token}`).toString('base64')}`).toString(
      'base64url',
    );
    return [
      `/v1/send?to=room:alerts&text=x&token=${one}`,
      `/v1/send?to=nobody&text=x&token=${one}`,
      `/v1/send/%zz?token=${one}`,
      `/cgi-bin/sendsms?username=${one}&password=${one}&to=room:alerts&text=x`,
      `/index.php?app=ws&u=${one}&h=${one}&op=pv&to=room:alerts&msg=x`,
      `/ntfy/alerts/publish?message=x&auth=${header}`,
      `/ntfy/alerts/json?poll=1&auth=${header}`,
      `/ntfy/alerts/nothing?auth=${header}`,
    ];
  };
  const secrets = tokens.flatMap(token => [
    token,
    encodeURIComponent(token),
    Buffer.from(`me:${token}`).toString('base64'),
    Buffer.from(`Basic ${Buffer.from(`me:${token}`).toString('base64')}`).toString('base64url'),
  ]);
  const { post, postAll } = gateway.desk.messages;
  for (const fails of [false, true]) {
    const breaks = () => Promise.reject(new TypeError('a bug'));
    Object.assign(gateway.desk.messages, fails ? { post: breaks, postAll: breaks } : { post, postAll });
    for (const path of tokens.flatMap(pathsOf)) {
      const { text } = await ask(gateway, path);
      assert.ok(
        !secrets.some(secret => text.includes(secret)),
        `${path} is answered with its token: ${text}`,
      );
    }
  }
  assert.ok(said.some(one => inspect(one).includes('a bug')));
  for (const path of ['/v1/audit', '/v1/status', '/metrics', '/v1/tokens', '/v1/messages']) {
    said.push(await ask(gateway, path, { headers: { authorization: `Bearer ${owner}` } }));
  }
  const written = inspect(said, { depth: 12, maxArrayLength: null, maxStringLength: null });
  for (const secret of secrets) {
    assert.ok(!written.includes(secret), secret);
  }
});
