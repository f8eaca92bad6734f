import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonBytes } from '../../../src/bridges/http/body.ts';
import { messageViewSchema } from '../../../src/bridges/schema.ts';
import { openGateway, pointers } from '../gateway.ts';

test('a message is answered with 201, its place and its deliveries, and can be read there', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  await gateway.client('b');
  const data = { list: [1, { deep: null }], text: 'ünïcode 🌍' };
  const sent = await gateway.call(a, 'POST', '/v1/messages', {
    to: 'app:b',
    text: 'hello 👋',
    data,
    priority: 'high',
  });
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  messageViewSchema.parse(sent.body);
  assert.equal(sent.body.from, 'app:a');
  assert.equal(sent.body.text, 'hello 👋');
  assert.deepEqual(sent.body.data, data);
  assert.equal(sent.body.assurance, 'hub');
  assert.deepEqual(
    sent.body.deliveries.map((one: { to: string; bridge: string }) => [one.to, one.bridge]),
    [['app:b', 'app']],
  );
  assert.equal(sent.headers.get('location'), `/v1/messages/${sent.body.id}`);
  const read = await gateway.call(a, 'GET', sent.headers.get('location') ?? '');
  assert.equal(read.status, 200);
  assert.deepEqual(read.body, sent.body);
});

test('a reading with the tag of what is known is 304', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  await gateway.client('b');
  const sent = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'x' });
  const path = `/v1/messages/${sent.body.id}`;
  const tag = (await gateway.call(a, 'GET', path)).headers.get('etag') ?? '';
  assert.match(tag, /^"[\w-]+"$/);
  const again = await gateway.call(a, 'GET', path, undefined, {
    headers: { 'if-none-match': `"other", W/${tag}` },
  });
  assert.equal(again.status, 304);
  assert.equal(again.body, '');
  const head = await gateway.call(a, 'HEAD', path);
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('etag'), tag);
});

test('a repeat under the same Idempotency-Key gives the first answer, another body 422', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const body = { to: 'app:b', text: 'once' };
  const first = await gateway.call(a, 'POST', '/v1/messages', body, {
    headers: { 'idempotency-key': '"k-1"' },
  });
  const second = await gateway.call(a, 'POST', '/v1/messages', body, {
    headers: { 'idempotency-key': 'k-1' },
  });
  assert.deepEqual([first.status, second.status], [201, 201]);
  assert.equal(first.headers.get('idempotency-replayed'), null);
  assert.equal(second.headers.get('idempotency-replayed'), 'true');
  assert.equal(second.body.id, first.body.id);
  const other = await gateway.call(
    a,
    'POST',
    '/v1/messages',
    { ...body, text: 'twice' },
    { headers: { 'idempotency-key': 'k-1' } },
  );
  assert.equal(other.status, 422);
  assert.equal(other.body.code, 'request/idempotency-mismatch');
  const inbox = await gateway.call(b, 'GET', '/v1/inbox');
  assert.equal(inbox.body.items.length, 1);
  const ofB = await gateway.call(
    b,
    'POST',
    '/v1/messages',
    { to: 'app:a', text: 'mine' },
    { headers: { 'idempotency-key': 'k-1' } },
  );
  assert.equal(ofB.status, 201, 'a key belongs to its client');
  const broken = await gateway.call(a, 'POST', '/v1/messages', body, {
    headers: { 'idempotency-key': 'a b' },
  });
  assert.deepEqual(pointers(broken), ['/header/idempotency-key']);
});

test('every mistake of a body is told at once', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const answer = await gateway.call(a, 'POST', '/v1/messages', {
    to: 'nobody',
    from: 'app:b',
    text: 5,
    priority: 'urgent',
    expiresAt: 'soon',
    attachments: [{ name: '../x', sha256: '00' }],
    'a/b~c': 1,
  });
  assert.equal(answer.status, 400);
  assert.deepEqual(
    pointers(answer),
    [
      '/attachments/0/name',
      '/attachments/0/sha256',
      '/a~1b~0c',
      '/expiresAt',
      '/from',
      '/priority',
      '/text',
      '/to',
    ].sort(),
  );
});

test('an unknown parameter of the query and one out of range are refused', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  assert.deepEqual(pointers(await gateway.call(a, 'GET', '/v1/messages?limit=0&colour=red')), [
    '/query/colour',
    '/query/limit',
  ]);
  for (const limit of ['-1', '1e2', '201', '', ' 5', '0x10']) {
    assert.deepEqual(
      pointers(await gateway.call(a, 'GET', `/v1/messages?limit=${limit}`)),
      ['/query/limit'],
      limit,
    );
  }
  assert.deepEqual(pointers(await gateway.call(a, 'GET', '/v1/messages?limit=1&limit=2')), ['/query/limit']);
  assert.deepEqual(pointers(await gateway.call(a, 'GET', '/v1/messages/xyz')), ['/path/id']);
});

test('what is not JSON, is not said to be, is encoded or too large has an answer of its own', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const post = (body: unknown, headers = {}) => gateway.call(a, 'POST', '/v1/messages', body, { headers });
  for (const text of ['{', '', 'null', '[]', '"x"', '{"to":"app:a","to":"app:b"}', '{"__proto__":{}}']) {
    assert.equal((await post(text)).status, 400, text);
  }
  assert.equal((await post(new Uint8Array([0x22, 0xff, 0x22]))).status, 400);
  assert.equal((await post('{}', { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post('{}', { 'content-type': ';;;' })).status, 415);
  assert.equal((await post('{}', { 'content-encoding': 'gzip' })).status, 415);
  assert.equal((await gateway.call(a, 'POST', '/v1/messages')).status, 415);
  const large = await post(JSON.stringify({ to: 'app:a', text: 'x'.repeat(jsonBytes) }));
  assert.equal(large.status, 413);
});

test('a body that does not say its length is cut off at the limit and answered', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const chunk = new Uint8Array(256 * 1024).fill(0x20);
  let left = 12;
  const body = new ReadableStream({
    pull(controller) {
      left -= 1;
      if (left < 0) {
        controller.close();
      } else {
        controller.enqueue(chunk);
      }
    },
  });
  const answer = await fetch(`${gateway.url}/v1/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${a}`, 'content-type': 'application/json' },
    body,
    duplex: 'half',
  } as RequestInit);
  assert.equal(answer.status, 413);
});

test('an address nobody has is refused with a clear word', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  for (const to of ['app:nobody', 'room:nowhere', 'matrix:@a:b.example']) {
    const answer = await gateway.call(a, 'POST', '/v1/messages', { to, text: 'x' });
    assert.equal(answer.status, 404, to);
    assert.ok(answer.body.detail.length > 10);
  }
});

test('a message belongs to who sent it and who got it, and to nobody else', async () => {
  await using gateway = await openGateway();
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(name => gateway.client(name)));
  const owner = await gateway.client('boss', { scopes: ['admin'] });
  const sent = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'between us' });
  const path = `/v1/messages/${sent.body.id}`;
  assert.equal((await gateway.call(a, 'GET', path)).status, 200);
  assert.equal((await gateway.call(b, 'GET', path)).status, 200);
  assert.equal((await gateway.call(owner, 'GET', path)).status, 200);
  assert.equal((await gateway.call(c, 'GET', path)).status, 404);
  assert.ok([403, 404].includes((await gateway.call(c, 'DELETE', path)).status));
  assert.deepEqual((await gateway.call(c, 'GET', '/v1/messages')).body.items, []);
  assert.deepEqual((await gateway.call(c, 'GET', '/v1/inbox')).body.items, []);
});

test('a list goes on where its cursor and its Link say', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  await gateway.client('b');
  for (const text of ['1', '2', '3', '4', '5']) {
    await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text });
  }
  const seen: string[] = [];
  let path: string | undefined = '/v1/messages?peer=app:b&limit=2';
  while (path !== undefined) {
    const page: Awaited<ReturnType<typeof gateway.call>> = await gateway.call(a, 'GET', path);
    assert.equal(page.status, 200, JSON.stringify(page.body));
    seen.push(...page.body.items.map(({ text }: { text: string }) => text));
    path = /<(.*)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1];
    assert.equal(path === undefined, page.body.cursor === null);
  }
  assert.deepEqual(seen.sort(), ['1', '2', '3', '4', '5']);
  assert.equal((await gateway.call(a, 'GET', '/v1/messages?after=nonsense')).status, 400);
});

test('a message that is still queued can be cancelled by its sender', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  await gateway.client('b');
  const sent = await gateway.call(a, 'POST', '/v1/messages', { to: 'app:b', text: 'never mind' });
  const cancelled = await gateway.call(a, 'DELETE', `/v1/messages/${sent.body.id}`);
  assert.equal(cancelled.status, 200);
  assert.equal(cancelled.body.deliveries[0].state, 'cancelled');
  assert.equal((await gateway.call(a, 'DELETE', `/v1/messages/${'0'.repeat(32)}`)).status, 404);
});

test('an attachment inside a message becomes a blob that both sides can read', async () => {
  await using gateway = await openGateway();
  const a = await gateway.client('a');
  const b = await gateway.client('b');
  const bytes = Buffer.alloc(256 * 1024, 7);
  const sent = await gateway.call(a, 'POST', '/v1/messages', {
    to: 'app:b',
    attachments: [{ name: 'seven.bin', base64: bytes.toString('base64') }],
  });
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  const [attachment] = sent.body.attachments;
  assert.equal(attachment.size, bytes.length);
  for (const token of [a, b]) {
    const blob = await fetch(`${gateway.url}/v1/blobs/${attachment.sha256}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    assert.deepEqual(Buffer.from(await blob.arrayBuffer()), bytes);
  }
  const large = await gateway.call(a, 'POST', '/v1/messages', {
    to: 'app:b',
    attachments: [{ name: 'x', base64: Buffer.alloc(256 * 1024 + 3).toString('base64') }],
  });
  assert.deepEqual(pointers(large), ['/attachments/0/base64']);
});
