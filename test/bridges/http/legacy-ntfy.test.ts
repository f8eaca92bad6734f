import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

const rooms = {
  alerts: { members: ['app:bob'] },
  'my-room': { members: [] },
  garage: { members: [] },
  secret: { members: [] },
};

async function open() {
  const gateway = await openGateway({ rooms, http: { ntfy: { topics: { Door: 'app:script' } } } });
  const token = await gateway.client('script', { rooms: ['alerts', 'garage'] });
  return { gateway, token, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const auth = (token: string) => ({ authorization: `Bearer ${token}` });

async function ask(gateway: TestGateway, token: string | undefined, path: string, init: RequestInit = {}) {
  const headers = { ...(token !== undefined && auth(token)), ...(init.headers as Record<string, string>) };
  const answer = await fetch(new URL(`/ntfy${path}`, gateway.url), { ...init, headers });
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.startsWith('application/json');
  return {
    status: answer.status,
    headers: answer.headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

/** Lines of a poll. */
async function poll(
  gateway: TestGateway,
  token: string,
  path: string,
): Promise<{ message: string; id: string }[]> {
  const { text } = await ask(gateway, token, path);
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line));
}

/** Reads a stream by what ends its pieces. */
async function* listen(
  gateway: TestGateway,
  token: string,
  path: string,
  mark = '\n',
): AsyncGenerator<string> {
  using stop = {
    controller: new AbortController(),
    [Symbol.dispose]() {
      this.controller.abort();
    },
  };
  const answer = await fetch(new URL(`/ntfy${path}`, gateway.url), {
    headers: auth(token),
    signal: stop.controller.signal,
  });
  assert.equal(answer.status, 200, answer.ok ? '' : await answer.text());
  let rest = '';
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    const pieces = (rest + chunk).split(mark);
    rest = pieces.pop() ?? '';
    yield* pieces;
  }
}

async function next(stream: AsyncGenerator<string>): Promise<string> {
  const { value, done } = await stream.next();
  assert.equal(done, false, 'the stream ended early');
  return value as string;
}

test('ntfy takes a notification in every way that its documentation shows', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const ways: [path: string, init: RequestInit, expected: Record<string, unknown>][] = [
    ['/alerts', { method: 'POST', body: 'Backup successful 😀' }, { message: 'Backup successful 😀' }],
    ['/alerts', { method: 'PUT', body: ' with space \n' }, { message: 'with space' }],
    [
      '/alerts/publish?message=Door+opened&priority=high&tags=warning,door',
      {},
      { message: 'Door opened', priority: 4, tags: ['warning', 'door'] },
    ],
    ['/alerts/send?m=short&t=Title&p=1', {}, { message: 'short', title: 'Title', priority: 1 }],
    ['/alerts/trigger', {}, { message: 'triggered' }],
    [
      '/alerts',
      { method: 'POST', headers: { 'x-message': 'one\\ntwo', ti: 'T' } },
      { message: 'one\ntwo', title: 'T' },
    ],
    [
      '/alerts',
      { method: 'POST', body: 'x', headers: { title: '=?UTF-8?B?8J+HqfCfh6o=?=' } },
      { title: '🇩🇪' },
    ],
    [
      '/alerts',
      { method: 'POST', body: 'x', headers: { title: '=?utf-8?q?W=C3=A4rme_hier?=' } },
      { title: 'Wärme hier' },
    ],
    ['/alerts', { method: 'POST', body: 'x', headers: { priority: 'u=4, i' } }, { message: 'x' }],
    [
      '/alerts',
      { method: 'POST', body: '*x*', headers: { 'content-type': 'text/markdown' } },
      { content_type: 'text/markdown' },
    ],
    [
      '/alerts',
      {
        method: 'POST',
        body: 'x',
        headers: { click: 'https://a.example/', icon: 'https://a.example/i.png' },
      },
      { click: 'https://a.example/', icon: 'https://a.example/i.png' },
    ],
    [
      '/alerts',
      { method: 'POST', headers: { attach: 'https://a.example/f/flower.jpg' } },
      {
        message: 'You received a file: flower.jpg',
        attachment: { name: 'flower.jpg', url: 'https://a.example/f/flower.jpg' },
      },
    ],
    [
      '/alerts',
      {
        method: 'POST',
        body: 'x',
        headers: {
          actions: `view, "Look, \\"ma\\"", https://a.example/; http, 'Turn; off', url=https://b.example, method=put, headers.A=b, body='{"a": 1}', clear=true`,
        },
      },
      {
        actions: [
          { action: 'view', label: 'Look, "ma"', clear: false, url: 'https://a.example/' },
          {
            action: 'http',
            label: 'Turn; off',
            clear: true,
            url: 'https://b.example',
            method: 'PUT',
            headers: { A: 'b' },
            body: '{"a": 1}',
          },
        ],
      },
    ],
    [
      '/alerts?up=1',
      { method: 'POST', body: new Uint8Array([0xff, 0, 1]) },
      { message: '/wAB', encoding: 'base64' },
    ],
    [
      '/alerts',
      { method: 'POST', body: 'x', headers: { cache: 'no', firebase: 'no', 'x-sequence-id': 'a1' } },
      { message: 'x', sequence_id: 'a1' },
    ],
    [
      '',
      {
        method: 'POST',
        headers: { 'x-tags': 'b' },
        body: JSON.stringify({
          topic: 'alerts',
          message: 'disk',
          title: null,
          priority: 4,
          attach: 'https://a.example/x.png',
          filename: 'y.png',
          actions: [{ action: 'VIEW', label: 'L', url: 'https://a.example', clear: true }],
        }),
      },
      {
        message: 'disk',
        priority: 4,
        tags: ['b'],
        attachment: { name: 'y.png', url: 'https://a.example/x.png' },
        actions: [{ action: 'view', label: 'L', clear: true, url: 'https://a.example' }],
      },
    ],
    [
      '/',
      { method: 'PUT', body: JSON.stringify({ topic: 'Door', tags: ['t'] }) },
      { topic: 'Door', message: 'triggered', tags: ['t'] },
    ],
  ];
  for (const [path, init, expected] of ways) {
    const { status, body, text } = await ask(gateway, token, path, init);
    const said = `${path} ${JSON.stringify(init)}: ${text}`;
    assert.equal(status, 200, said);
    assert.deepEqual({ ...body, ...expected }, body, said);
    assert.deepEqual([body.event, typeof body.id, typeof body.time], ['message', 'string', 'number']);
  }
  assert.equal((await ask(gateway, token, '/My_Room/trigger')).body.topic, 'My_Room');
  assert.deepEqual((await ask(gateway, token, '/alerts?up=1')).body, { unifiedpush: { version: 1 } });
  const polled = await poll(gateway, token, '/alerts/json?poll=1');
  assert.equal(
    polled.length,
    ways.length - 1,
    'all but the one of the door is in the room, and read as it was published',
  );
  assert.equal(
    (await poll(gateway, token, '/Door/json?poll=1')).length,
    1,
    'what is for the client itself is read as well',
  );
});

test('what cannot be done is refused in the words and numbers of ntfy, and nothing is sent', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const reader = await gateway.client('reader', { scopes: ['messages:read'], rooms: [] });
  const post = (headers: Record<string, string>, body = 'x') => ({ method: 'POST', body, headers });
  const cases: [token: string | undefined, path: string, init: RequestInit, code: number][] = [
    [undefined, '/alerts', post({}), 40101],
    ['wrong', '/alerts', post({}), 40101],
    [reader, '/alerts', post({}), 40301],
    [token, '/alerts', post({ delay: '10m' }), 40004],
    [token, '/alerts', post({ email: 'me@a.example' }), 40001],
    [token, '/alerts', post({ call: 'yes' }), 40032],
    [token, '/alerts', post({ template: 'github' }), 40043],
    [token, '/alerts', post({ priority: '9' }), 40007],
    [token, '/alerts', post({ attach: 'ftp://a.example' }), 40013],
    [token, '/alerts', post({ icon: 'file:///etc' }), 40021],
    [token, '/alerts', post({ actions: 'launch, x' }), 40018],
    [token, '/alerts', post({ actions: 'view, x' }), 40018],
    [token, '/alerts', post({ actions: 'view, "x' }), 40018],
    [token, '/alerts', post({ actions: 'view, a, https://a.example; '.repeat(4) }), 40018],
    [token, '/alerts', post({ title: 'x'.repeat(1001) }), 40000],
    [token, '/alerts', post({ 'content-encoding': 'gzip' }), 40000],
    [token, '/no.topic', post({}), 40009],
    [token, '/nowhere', post({}), 40401],
    [token, '', post({}, '{"topic":'), 40017],
    [token, '', post({}, '{"topic":5}'), 40000],
    [token, '', post({}, '{"topic":"alerts","priority":7}'), 40007],
    [token, '/alerts/json?poll=1&since=yesterday', {}, 40008],
    [token, '/alerts/json?poll=1&priority=7', {}, 40007],
    [token, '/secret/json?poll=1', {}, 40301],
    [token, '/alerts,nowhere/sse', {}, 40301],
    [reader, '/alerts/auth', {}, 40301],
    [token, '/alerts/ws', {}, 40016],
    [token, '/file/nothing.txt', {}, 40401],
    [token, '/alerts', {}, 40401],
  ];
  for (const [who, path, init, code] of cases) {
    const { status, body, text } = await ask(gateway, who, path, init);
    assert.equal(body?.code, code, `${path} ${JSON.stringify(init)}: ${text}`);
    assert.deepEqual([body.http, status], [status, Math.floor(code / 100)]);
    assert.equal(typeof body.error, 'string');
  }
  assert.deepEqual(await poll(gateway, token, '/alerts/json?poll=1'), []);
  assert.deepEqual((await ask(gateway, token, '/alerts/auth')).body, { success: true });
  assert.deepEqual((await ask(gateway, undefined, '/v1/health')).body, { healthy: true });
  assert.match(
    (await ask(gateway, undefined, '/config.js')).text,
    /^\/\/.*\nvar config = \{"base_url":"http:/,
  );
  assert.equal((await ask(gateway, token, '/v1/account')).body.username, 'script');
});

test('a file that is put to ntfy is kept, and given to those who may see the message', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const bob = await gateway.client('bob');
  const other = await gateway.client('other', { rooms: [] });
  const bytes = new Uint8Array(300_000).map((_, index) => index % 251);
  const named = await ask(gateway, token, '/alerts', {
    method: 'PUT',
    body: bytes,
    headers: { filename: 'a/b/flower.JPG', message: 'look' },
  });
  const { attachment, message, id } = named.body;
  assert.deepEqual(
    [message, attachment.name, attachment.type, attachment.size],
    ['look', 'flower.JPG', 'image/jpeg', 300_000],
  );
  assert.equal(attachment.url, `${gateway.url}/ntfy/file/${id}.JPG`);
  const fetched = await fetch(attachment.url, { headers: auth(bob) });
  assert.deepEqual(new Uint8Array(await fetched.arrayBuffer()), bytes);
  assert.match(fetched.headers.get('content-disposition') ?? '', /^attachment/);
  assert.equal((await fetch(attachment.url, { headers: auth(other) })).status, 404);
  assert.equal((await fetch(attachment.url)).status, 401);
  const binary = await ask(gateway, token, '/alerts', {
    method: 'PUT',
    body: bytes.subarray(0, 10).fill(0xff),
  });
  assert.deepEqual(
    [binary.body.message, binary.body.attachment.size],
    ['You received a file: attachment.bin', 10],
  );
  const long = await ask(gateway, token, '/alerts', { method: 'POST', body: 'ü'.repeat(200_000) });
  assert.deepEqual([long.body.attachment.name, long.body.attachment.size], ['attachment.txt', 400_000]);
  const text = 'y'.repeat(256 * 1024);
  assert.equal((await ask(gateway, token, '/alerts', { method: 'POST', body: text })).body.message, text);
});

test('a subscriber gets what was said and what is being said, in the shapes of ntfy', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const say = async (topic: string, body: string, headers = {}) =>
    (await ask(gateway, token, `/${topic}`, { method: 'POST', body, headers })).body;
  const first = await say('alerts', 'first');
  const second = await say('garage', 'second');
  const lines = listen(gateway, token, '/alerts,garage/json?since=all');
  const { id, time, ...opened } = JSON.parse(await next(lines));
  assert.deepEqual(opened, { event: 'open', topic: 'alerts,garage' });
  assert.match(id, /^[a-z0-9]{12}$/);
  assert.equal(typeof time, 'number');
  assert.deepEqual([JSON.parse(await next(lines)), JSON.parse(await next(lines))], [first, second]);
  const events = listen(gateway, token, '/alerts/sse', '\n\n');
  assert.match(
    await next(events),
    /^event: open\ndata: \{"id":"[a-z0-9]{12}","time":\d+,"event":"open","topic":"alerts"\}$/,
  );
  const raw = listen(gateway, token, '/alerts/raw?tags=a,b&priority=high,5');
  assert.equal(await next(raw), '');
  const third = await say('alerts', 'thi\nrd', { tags: 'b,a,c', priority: '4' });
  assert.equal(
    await next(raw),
    'thi rd',
    'what others said before is not given, and what passes the filter is',
  );
  assert.deepEqual(JSON.parse(await next(lines)), third);
  assert.equal(await next(events), `data: ${JSON.stringify(third)}`);
  await say('alerts', 'filtered out', { tags: 'a' });
  await say('alerts', 'passes', { tags: 'a,b', priority: 'max' });
  assert.equal(await next(raw), 'passes');
  for (const stream of [lines, events, raw]) {
    await stream.return(undefined);
  }
  const texts = async (query: string) =>
    (await poll(gateway, token, `/alerts,garage/json?poll=1&${query}`)).map(({ message }) => message);
  assert.deepEqual(await texts(`since=${second.id}`), ['thi\nrd', 'filtered out', 'passes']);
  assert.deepEqual(await texts('since=10m30s&title=none'), []);
  assert.deepEqual(await texts(`since=${time - 600}&scheduled=1&id=${first.id}`), ['first']);
  assert.deepEqual(
    await texts('since=abcdefghijkl&priority=5'),
    ['passes'],
    'an id of another server is nowhere: all is given',
  );
  assert.deepEqual(await texts('since=none'), []);
  assert.deepEqual(await texts('since=latest'), ['second', 'passes'], 'the newest of each topic');
});

test('over WebSocket a subscriber shows who it is in its address, and is let go when its token is', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const header = Buffer.from(`Basic ${Buffer.from(`me:${token}`).toString('base64')}`).toString('base64url');
  const url = (path: string) => `${gateway.url.replace('http', 'ws')}/ntfy${path}`;
  const socket = new WebSocket(url(`/alerts,Door/ws?auth=${header}`));
  const frames: { event: string; message?: string }[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('message', data => {
    frames.push(JSON.parse(String(data)));
    if (frames.length === 1) {
      void ask(gateway, token, '/Door', { method: 'POST', body: 'ding' });
    } else {
      resolve();
    }
  });
  await promise;
  assert.deepEqual(
    frames.map(({ event, message }) => [event, message]),
    [
      ['open', undefined],
      ['message', 'ding'],
    ],
  );
  const [client] = gateway.desk.clients.list().filter(({ name }) => name === 'script');
  const closed = once(socket, 'close');
  await gateway.desk.clients.revoke(client?.id ?? '');
  const [code] = await closed;
  assert.equal(code, 1001);
  const refused = new WebSocket(url('/alerts/ws?auth=bm90aGluZw'));
  const [, response] = (await once(refused, 'unexpected-response')) as [
    unknown,
    { statusCode: number; resume(): void },
  ];
  response.resume();
  assert.equal(response.statusCode, 401);
});

test('a client holds so many streams and no more', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const streams = Array.from({ length: 32 }, () => listen(gateway, token, '/alerts/json'));
  await Promise.all(streams.map(next));
  const { status, body } = await ask(gateway, token, '/alerts/json');
  assert.deepEqual([status, body.code], [429, 42901]);
  assert.equal((await ask(gateway, token, '/alerts/json?poll=1')).status, 200);
  await Promise.all(streams.map(one => one.return(undefined)));
});

test('what a poll gave to its reader counts as sent, and stays queued for others', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const bob = await gateway.client('bob', { rooms: ['alerts'] });
  const stateOf = async (id: string, whose: string) =>
    (await gateway.call(whose, 'GET', `/v1/messages/${id}`)).body.deliveries[0]?.state;
  const door = (await ask(gateway, bob, '/Door', { method: 'POST', body: 'ring' })).body.id;
  const alert = (await ask(gateway, token, '/alerts', { method: 'POST', body: 'fire' })).body.id;
  assert.equal((await poll(gateway, token, '/Door,alerts/json?poll=1')).length, 2);
  await eventually(() => stateOf(door, bob), 'sent');
  assert.equal(await stateOf(alert, token), 'queued', 'that of bob, who has not asked');
  assert.equal((await poll(gateway, bob, '/alerts/json?poll=1')).length, 1);
  await eventually(() => stateOf(alert, token), 'sent');
});

test('a room that is asked for under several names is given once', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  for (const body of ['one', 'two']) {
    await ask(gateway, token, '/alerts', { method: 'POST', body });
  }
  const given = await poll(gateway, token, '/alerts,Alerts,_alerts/json?poll=1');
  assert.deepEqual(
    given.map(({ message }) => message),
    ['one', 'two'],
  );
});

test('a past of many pages is given whole, in order, and once', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const texts = Array.from({ length: 130 }, (_, n) => `${n}`);
  for (const [n, body] of texts.entries()) {
    await ask(gateway, token, n % 3 === 0 ? '/garage' : '/alerts', { method: 'POST', body });
  }
  const given = await poll(gateway, token, '/alerts,garage/json?poll=1');
  assert.deepEqual(
    given.map(({ message }) => message),
    texts,
  );
});

test('a file is given whatever its sender calls it and says that it is', async () => {
  await using hub = await open();
  const { gateway, token } = hub;
  const files = async (id: string) =>
    await fetch(new URL(`/ntfy/file/${id}`, gateway.url), { headers: auth(token) });
  const filename = `=?utf-8?B?${Buffer.from(`${'a'.repeat(254)}😀.txt`).toString('base64')}?=`;
  const put = await ask(gateway, token, '/alerts', { method: 'PUT', headers: { filename }, body: 'words' });
  assert.equal(put.body.attachment.name, 'a'.repeat(254), 'no half of a character');
  assert.equal(await (await files(put.body.id)).text(), 'words');
  for (const [mediaType, told] of [
    ['text/plain; charset=utf-8', 'text/plain; charset=utf-8'],
    ['text/plain;\r\n charset=utf-8', 'application/octet-stream'],
    ['text/plain; name="😀"', 'application/octet-stream'],
    ['nothing', 'application/octet-stream'],
  ] as const) {
    // As a bridge may hear it.
    const { body } = await gateway.call(token, 'POST', '/v1/messages', { to: 'room:alerts', text: 'x' });
    const attachments = [{ name: 'half \ud800', mediaType, size: 5, sha256: await sha256Of(gateway) }];
    const get = gateway.desk.messages.get;
    gateway.desk.messages.get = (...given) => ({ ...get(...given), attachments }) as never;
    const answer = await files(body.id);
    gateway.desk.messages.get = get;
    assert.equal(answer.status, 200, mediaType);
    assert.equal(answer.headers.get('content-type'), told);
    assert.equal(await answer.text(), 'words');
  }
});

/** A blob of the hub. */
async function sha256Of(gateway: TestGateway): Promise<string> {
  return (await gateway.desk.blobs.put(Buffer.from('words'), 100)).sha256;
}
