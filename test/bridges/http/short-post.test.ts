import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import { slowest } from '../../../src/bridges/http/blobs.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { eventually, openGateway, type TestGateway } from '../gateway.ts';

type Fields = Readonly<Record<string, string>>;

/** No time passes between a request and the same one to another gateway: what both say of how long to wait is the same. */
function standing(): Clock {
  const [now, monotonic] = [systemClock.now(), systemClock.monotonic()];
  return { sleep: systemClock.sleep, after: systemClock.after, now: () => now, monotonic: () => monotonic };
}

interface Answered {
  readonly status: number;
  readonly body: string;
}

interface Asked {
  readonly headers: Fields;
  readonly body: Uint8Array;
}

/** What was answered, without what differs from one time to the next. */
async function ask({ url }: TestGateway, path: string, { headers, body }: Asked, agent?: Agent) {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const call = request({
    host: '127.0.0.1',
    port: new URL(url).port,
    path,
    method: 'POST',
    headers: { ...headers, ...lengthOf(headers, body) },
    ...(agent !== undefined && { agent }),
  });
  call.on('error', reject).on('response', response => {
    const chunks: Buffer[] = [];
    response
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        const { date: _, 'x-request-id': id, ...others } = response.headers;
        const told = { ...others, id: /^[0-9a-z]{8}-[0-9a-z]+$/.test(String(id)) ? 'made here' : id };
        resolve({
          status: response.statusCode,
          headers: same(JSON.stringify(Object.entries(told).sort())),
          body: same(Buffer.concat(chunks).toString()),
        });
      });
  });
  call.end(body);
  return await promise;
}

const lengthOf = (headers: Fields, body: Uint8Array) =>
  headers['transfer-encoding'] === undefined ? { 'content-length': String(body.length) } : {};

function same(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{32}/g, 'id')
    .replaceAll(/\b1[0-9]{12}\b/g, 'time')
    .replaceAll(/\b([rt])=\d+/g, '$1=some');
}

const draft = fc.record(
  {
    to: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('app:a', 'room:hub') },
      fc.constantFrom('', 'app:no', 7),
    ),
    text: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('one', 'two'), fc.constant(5)),
    title: fc.oneof(fc.string(), fc.constant(null)),
    type: fc.constantFrom('chat.message', 'x.y', 'No'),
    data: fc.jsonValue(),
    priority: fc.constantFrom('high', 'bulk', 'never'),
    thread: fc.constantFrom('t', ''),
    correlation: fc.constantFrom('c', ''),
    inReplyTo: fc.constantFrom('0'.repeat(32), 'x'),
    expiresAt: fc.constantFrom(1, 4_000_000_000_000, -1, 'soon'),
    sentAt: fc.constantFrom(1, 0.5),
    attachments: fc.constantFrom(
      [],
      [{ name: 'x', base64: 'AA==' }],
      [{ name: 'x', sha256: '0'.repeat(64) }],
    ),
    native: fc.constantFrom({}, { 'lxmf:1': 'AA==' }, { other: '' }),
    from: fc.constant('app:b'),
    __proto__x: fc.jsonValue(),
  },
  { requiredKeys: ['to'] },
);

const body = fc.oneof(
  { weight: 8, arbitrary: draft.map(value => Buffer.from(JSON.stringify(value))) },
  fc.jsonValue().map(value => Buffer.from(JSON.stringify(value))),
  fc.uint8Array({ maxLength: 40 }),
  fc
    .constantFrom(
      '{"to":"app:a","to":"app:a"}',
      '{"to":"app:a","__proto__":1}',
      '{"to":"app:a","data":12345678901234567890}',
      `${'['.repeat(70)}${']'.repeat(70)}`,
      `{"to":"app:a","text":"${'long'.repeat(5000)}"}`,
    )
    .map(text => Buffer.from(text)),
);

const maybe = (name: string, ...values: readonly string[]) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant({}) },
    fc.constantFrom(...values).map(value => ({ [name]: value })),
  );

const extras = fc
  .tuple(
    maybe('accept', '*/*', 'application/json', 'text/plain', 'image/png', 'application/json;q=0'),
    maybe('idempotency-key', 'one', '"one"', 'two', 'a b', '""', 'k'.repeat(300)),
    maybe('origin', 'http://localhost', 'http://elsewhere.example', 'https://page.example'),
    maybe('sec-fetch-site', 'cross-site'),
    maybe('content-encoding', 'gzip', 'identity'),
    maybe('cookie', 'kos=1'),
    maybe('x-request-id', 'mine', 'kos_x', 'a b', ''),
    maybe('connection', 'close'),
    maybe('transfer-encoding', 'chunked'),
  )
  .map(parts => Object.assign({}, ...parts) as Fields);

const type = fc.oneof(
  { weight: 8, arbitrary: fc.constant('application/json') },
  fc.constantFrom(
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/x+json',
    'text/plain',
    '',
  ),
);

for (const cors of [[], ['https://page.example']]) {
  const where = cors.length === 0 ? '' : ', also where other pages may call';
  test(`what goes around the router is answered as by it${where}`, async () => {
    const clock = standing();
    await using around = await openGateway({ clock, http: { cors } });
    await using through = await openGateway({ clock, http: { cors } });
    const tokens: string[][] = [];
    for (const gateway of [around, through]) {
      const writer = await gateway.client('a');
      const reader = await gateway.client('b', { scopes: ['messages:read'] });
      tokens.push([writer, reader]);
    }
    const [mine = [], theirs = []] = tokens;
    const bearer = fc.oneof(
      { weight: 8, arbitrary: fc.constant(0) },
      fc.constantFrom(
        1,
        'owner',
        undefined,
        'Bearer wrong',
        'Bearer  ',
        'Basic eA==',
        `Bearer kos_${'A'.repeat(43)}`,
      ),
    );
    const authorization = (who: string | number | undefined, of: readonly string[], { hub }: TestGateway) =>
      who === undefined
        ? {}
        : {
            authorization:
              typeof who === 'number'
                ? `Bearer ${of[who]}`
                : who === 'owner'
                  ? `Bearer ${hub.ownerToken}`
                  : who,
          };
    await fc.assert(
      fc.asyncProperty(bearer, type, extras, body, async (who, mediaType, extra, bytes) => {
        const headers = { ...(mediaType !== '' && { 'content-type': mediaType }), ...extra };
        const one = { headers: { ...headers, ...authorization(who, mine, around) }, body: bytes };
        const other = { headers: { ...headers, ...authorization(who, theirs, through) }, body: bytes };
        assert.deepEqual(await ask(around, '/v1/messages', one), await ask(through, '/v1/messages?', other));
      }),
      { numRuns: 250, endOnFailure: true },
    );
    const counts = (gateway: TestGateway) => {
      const { 'http/short-way': short = 0, ...others } = gateway.hub.counters.snapshot();
      return { short, others };
    };
    assert.ok(counts(around).short > 80, `${counts(around).short} went around`);
    assert.equal(counts(through).short, 0);
    assert.deepEqual(counts(around).others, counts(through).others);
  });
}

test('who asks for more than its share is refused on both ways alike', async () => {
  const http = { rates: { requests: { quota: 3, window: 60 } } };
  const clock = standing();
  await using around = await openGateway({ clock, http });
  await using through = await openGateway({ clock, http });
  const answers = [];
  for (const [gateway, path] of [
    [around, '/v1/messages'],
    [through, '/v1/messages?'],
  ] as const) {
    const headers = {
      authorization: `Bearer ${await gateway.client('a')}`,
      'content-type': 'application/json',
    };
    const asked = { headers, body: Buffer.from('{"to":"app:a"}') };
    const remote = { ...asked };
    const all = [];
    for (let n = 0; n < 5; n++) {
      all.push(await ask(gateway, path, remote));
    }
    answers.push(all);
  }
  assert.deepEqual(answers[0], answers[1]);
  assert.deepEqual(
    (answers[0] as { status: number }[]).map(({ status }) => status),
    [201, 201, 201, 429, 429],
  );
});

test('on a connection that stays open every request has the rights that its token has by then', async () => {
  let passed = 0;
  const now = () => systemClock.now() + passed;
  await using gateway = await openGateway({ clock: { ...systemClock, now } });
  const { clients } = gateway.desk;
  let connections = 0;
  gateway.listener.app.server.on('connection', () => {
    connections += 1;
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = async (token: string) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const asked = { headers, body: Buffer.from('{"to":"room:hub"}') };
    const { status, body } = (await ask(gateway, '/v1/messages', asked, agent)) as Answered;
    return `${status} ${/"from":"([^"]+)"|"code":"([^"]+)"/.exec(body)?.slice(1).join('')}`;
  };
  const before = await gateway.client('a', { expiresAt: now() + 3_600_000 });
  const other = await gateway.client('b');
  const said: string[] = [];
  for (const token of [before, other, before, before]) {
    said.push(await post(token));
  }
  assert.deepEqual(said.splice(0), ['201 app:a', '201 app:b', '201 app:a', '201 app:a']);
  const { token } = await clients.rotate('a', 600_000);
  said.push(await post(before), await post(token), await post(before));
  passed += 600_001;
  said.push(await post(before), await post(token));
  passed += 3_600_000;
  said.push(await post(token), await post(other));
  assert.deepEqual(said.splice(0), [
    ...['201 app:a', '201 app:a', '201 app:a'],
    ...['401 request/unauthenticated', '201 app:a'],
    ...['401 request/unauthenticated', '201 app:b'],
  ]);
  await clients.change('b', { scopes: ['messages:read'] });
  said.push(await post(other));
  await clients.change('b', { scopes: ['messages:send'] });
  said.push(await post(other));
  await clients.revoke('b');
  said.push(await post(other));
  assert.deepEqual(said, ['403 request/forbidden', '201 app:b', '401 request/unauthenticated']);
  assert.equal(connections, 1);
  agent.destroy();
});

const dial = ({ url }: TestGateway) => connect(Number(new URL(url).port), '127.0.0.1');

/** What is answered to raw bytes until the other side ends: each status, what becomes of the connection, and the code. */
async function speak(gateway: TestGateway, bytes: string): Promise<readonly string[]> {
  const socket = dial(gateway);
  socket.write(bytes);
  return (await text(socket)).match(/HTTP\/1\.1 \d+|^connection: \S+|"code":"[^"]+"/gim) ?? [];
}

const posts =
  (path: string, token: string) =>
  (body: string, extra: Fields = {}) => {
    const fields = {
      host: 'hub',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...extra,
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    return `POST ${path} HTTP/1.1\r\n${lines.join('')}content-length: ${body.length}\r\n\r\n${body}`;
  };

const message = '{"to":"app:a","text":"one"}';
const ways = ['/v1/messages', '/v1/messages?'] as const;

test('requests that do not wait for answers are answered in their order, whatever became of those before', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  for (const path of ways) {
    const post = posts(path, token);
    const all = [
      post(message),
      post(message, { 'idempotency-key': 'a b' }),
      post(message, { authorization: `Bearer kos_${'A'.repeat(43)}` }),
      post('{'),
      post(message, { expect: '100-continue', connection: 'close' }),
    ];
    assert.deepEqual(
      await speak(gateway, all.join('')),
      [
        ...['HTTP/1.1 201', 'Connection: keep-alive'],
        ...['HTTP/1.1 400', 'Connection: keep-alive', '"code":"request/invalid"'],
        ...['HTTP/1.1 401', 'Connection: keep-alive', '"code":"request/unauthenticated"'],
        ...['HTTP/1.1 400', 'Connection: keep-alive', '"code":"request/invalid"'],
        ...['HTTP/1.1 100', 'HTTP/1.1 201', 'Connection: close'],
      ],
      path,
    );
  }
});

test('a byte too many behind a message takes nothing of its answer', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  for (const path of ways) {
    assert.deepEqual(
      await speak(gateway, `${posts(path, token)(message)}\0`),
      [
        ...['HTTP/1.1 201', 'Connection: keep-alive'],
        ...['HTTP/1.1 400', 'connection: close', '"code":"request/invalid"'],
      ],
      path,
    );
  }
});

test('who leaves in the middle of a body has sent nothing and is counted, and others are served', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  const counts = () => gateway.hub.counters.snapshot();
  for (const [index, path] of ways.entries()) {
    const post = posts(path, token);
    const socket = dial(gateway).on('error', () => {});
    const isTaken = once(gateway.listener.app.server, 'request');
    socket.write(post(message).slice(0, -5));
    await isTaken;
    socket.resetAndDestroy();
    await eventually(async () => counts()['http/refused/request/invalid'], index + 1);
    const answers = await speak(gateway, post(message, { connection: 'close' }));
    assert.deepEqual(answers, ['HTTP/1.1 201', 'Connection: close']);
  }
  assert.equal(counts()['accept/stored'], 2);
  assert.equal(counts()['http/refused/internal'], undefined);
});

for (const path of ways) {
  test(`what has begun to arrive when the gateway stops is answered, and its connection is not kept: ${path}`, async () => {
    // It waits for as long as that takes here.
    await using gateway = await openGateway({ clock: standing() });
    const bytes = posts(path, await gateway.client('a'))(message);
    const socket = dial(gateway);
    const isTaken = once(gateway.listener.app.server, 'request');
    socket.write(bytes.slice(0, -5));
    await isTaken;
    const isClosed = gateway.listener.close();
    const answer = text(socket);
    socket.write(bytes.slice(-5));
    assert.match(await answer, /^HTTP\/1\.1 201 (?:.+\r\n)+connection: close\r\n/i);
    await isClosed;
  });
}

test('what takes too long is told so, and nothing else afterwards', async () => {
  let ahead = 0;
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + ahead,
    monotonic: () => systemClock.monotonic() + ahead,
    // That long is over before anything can be on disk.
    after(delay, callback) {
      if (delay !== slowest) {
        return systemClock.after(delay, callback);
      }
      const timer = setImmediate(() => {
        ahead += delay;
        callback();
      });
      return () => clearImmediate(timer);
    },
  };
  await using gateway = await openGateway({ clock });
  const token = await gateway.client('a');
  for (const path of ways) {
    assert.deepEqual(
      await speak(gateway, posts(path, token)(message, { connection: 'close' })),
      ['HTTP/1.1 503', 'Connection: close', '"code":"bridge/unavailable"'],
      path,
    );
  }
});

test('a request with two Host lines is refused on either way', async () => {
  await using gateway = await openGateway();
  const token = await gateway.client('a');
  for (const path of ways) {
    const answers = await speak(gateway, posts(path, token)(message, { Host: 'other', connection: 'close' }));
    assert.deepEqual([answers[0], answers.at(-1)], ['HTTP/1.1 400', '"code":"request/invalid"'], path);
  }
});
