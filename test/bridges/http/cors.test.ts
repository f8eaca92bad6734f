import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openGateway } from '../gateway.ts';

const origin = 'https://app.example';
const words = (header: string | null) => (header ?? '').split(',').map(one => one.trim().toLowerCase());

test('a page of a named origin may read what the answers of the API say in their headers', async () => {
  await using gateway = await openGateway({ http: { cors: [origin] } });
  const token = await gateway.client('page');
  const call = (method: string, path: string, body?: unknown, headers = {}) =>
    gateway.call(token, method, path, body, { headers: { origin, ...headers } });
  const key = { 'idempotency-key': 'once' };
  await call('POST', '/v1/messages', { to: 'app:page', text: 'x' }, key);
  const answers = [
    await call('POST', '/v1/messages', { to: 'app:page', text: 'x' }, key),
    await call('GET', '/v1/messages?limit=1'),
    await call('GET', '/v1/inbox'),
    await call('POST', '/v1/uploads', undefined, { 'upload-length': '3', 'tus-resumable': '1.0.0' }),
    await call('OPTIONS', '/v1/uploads'),
    await call('POST', '/v1/blobs', new Uint8Array([1])),
    await call('DELETE', '/v1/inbox'),
    await gateway.call('wrong', 'GET', '/v1/inbox', undefined, { headers: { origin } }),
  ];
  const own =
    /^(?:allow|etag|link|location|retry-after|ratelimit.*|www-authenticate|x-request-id|idempotency-.*|kos-.*|tus-.*|upload-.*)$/;
  const seen = new Set<string>();
  for (const { headers, status } of answers) {
    assert.equal(headers.get('access-control-allow-origin'), origin, String(status));
    assert.equal(headers.get('access-control-allow-credentials'), null);
    assert.match(headers.get('vary') ?? '', /origin/i);
    const exposed = words(headers.get('access-control-expose-headers'));
    for (const name of headers.keys()) {
      if (own.test(name)) {
        seen.add(name);
        assert.ok(exposed.includes(name), `${name} can be read`);
      }
    }
    for (const name of [
      'ratelimit',
      'ratelimit-policy',
      'retry-after',
      'etag',
      'last-modified',
      'location',
    ]) {
      assert.ok(exposed.includes(name), name);
    }
  }
  for (const name of [
    'idempotency-replayed',
    'tus-resumable',
    'upload-offset',
    'kos-cursor',
    'x-request-id',
  ]) {
    assert.ok(seen.has(name), `${name} was in an answer`);
  }
});

test('a preflight is answered without a token, for every method and header of the API, and for no other origin', async () => {
  await using gateway = await openGateway({ http: { cors: [origin, 'http://localhost:5173'] } });
  const preflight = (from: string, path: string, method: string, headers: string) =>
    fetch(`${gateway.url}${path}`, {
      method: 'OPTIONS',
      headers: {
        origin: from,
        'access-control-request-method': method,
        'access-control-request-headers': headers,
      },
    });
  const wanted =
    'authorization, content-type, idempotency-key, if-match, if-modified-since, if-none-match, if-range, last-event-id, range, tus-resumable, upload-checksum, upload-length, upload-metadata, upload-offset, x-request-id';
  for (const [path, method] of [
    ['/v1/messages', 'POST'],
    ['/v1/rooms/plaza', 'PATCH'],
    ['/v1/rooms/plaza', 'PUT'],
    ['/v1/uploads', 'POST'],
    ['/v1/tokens/a', 'DELETE'],
    ['/openapi.json', 'GET'],
  ] as const) {
    const answer = await preflight(origin, path, method, wanted);
    assert.equal(answer.status, 204, path);
    assert.equal(answer.headers.get('access-control-allow-origin'), origin);
    assert.ok(words(answer.headers.get('access-control-allow-methods')).includes(method.toLowerCase()));
    const allowed = words(answer.headers.get('access-control-allow-headers'));
    for (const name of words(wanted)) {
      assert.ok(allowed.includes(name), `${name} may be sent`);
    }
    assert.ok(!allowed.includes('kos-page'), 'the log-in of the page stays with the page');
    assert.ok(Number(answer.headers.get('access-control-max-age')) > 0);
  }
  for (const from of ['https://evil.example', `${origin}.evil.example`, 'http://app.example', 'null']) {
    const answer = await preflight(from, '/v1/messages', 'POST', 'authorization');
    for (const name of answer.headers.keys()) {
      assert.ok(!name.startsWith('access-control-'), `${from}: ${name}`);
    }
  }
  const page = await preflight(origin, '/', 'GET', 'authorization');
  assert.equal(page.headers.get('access-control-allow-origin'), null, 'only the API');
});

test('every answer names its request, by the name its client gave where that is a plain one', async () => {
  await using gateway = await openGateway();
  const idFor = async (given?: string) => {
    const headers = given === undefined ? {} : { 'x-request-id': given };
    const answer = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/rooms', undefined, { headers });
    return answer.headers.get('x-request-id');
  };
  assert.equal(await idFor('trace-7f'), 'trace-7f');
  for (const strange of ['a b', 'x'.repeat(65), `kos_${'a'.repeat(43)}`, '']) {
    assert.match((await idFor(strange)) ?? '', /^[0-9a-z]+-[0-9a-z]+$/, strange);
  }
  assert.notEqual(await idFor(), await idFor());
  const lost = await gateway.call(undefined, 'GET', '/nowhere');
  assert.ok(lost.headers.get('x-request-id'));
});
