import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { type Got, get, startHub, startOrigin, until } from './hub.ts';

const json = { 'Content-Type': 'application/json' };

function notes(body = '{"id":1}') {
  return (request: IncomingMessage, response: ServerResponse) => {
    const cc = /cc=([^&]+)/.exec(request.url ?? '')?.[1];
    response.writeHead(request.url?.startsWith('/v1/missing') ? 404 : 200, {
      ...json,
      ETag: '"1"',
      ...(cc !== undefined && { 'Cache-Control': decodeURIComponent(cc) }),
    });
    response.end(body);
  };
}

const labels = ({ headers }: Got) => [headers['replica-state'], headers['cache-status']];

test('a dead service: what was read is answered from the store at once, and says so', async t => {
  const origin = await startOrigin(t, notes());
  const hub = await startHub(t, origin.url);
  for (const path of [
    '/notes/1',
    '/list?cc=no-cache',
    '/strict?cc=max-age%3D0%2Cmust-revalidate',
    '/private?cc=private%2Cmax-age%3D0',
  ]) {
    assert.equal((await get(hub.url + path)).status, 200);
  }
  const shared = await get(`${hub.url}/private?cc=private%2Cmax-age%3D0`);
  assert.equal(shared.headers['cache-status'], 'kos; fwd=uri-miss; fwd-status=200');
  await origin.kill();
  for (const path of ['/notes/1', '/list?cc=no-cache', '/strict?cc=max-age%3D0%2Cmust-revalidate']) {
    const got = await get(hub.url + path);
    assert.deepEqual([got.status, got.text, got.headers['replica-state']], [200, '{"id":1}', 'stale'], path);
    assert.match(
      String(got.headers['cache-status']),
      /^kos; hit; ttl=-?\d+; detail=(offline|refused|suspect)$/,
    );
    assert.ok(got.headers.age !== undefined && got.headers['replica-as-of'] !== undefined);
  }
  const head = await get(`${hub.url}/notes/1`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, '8']);
  const part = await get(`${hub.url}/notes/1`, { headers: { Range: 'bytes=1-4' } });
  assert.deepEqual([part.status, part.text, part.headers['content-range']], [206, '"id"', 'bytes 1-4/8']);
  const same = await get(`${hub.url}/notes/1`, { headers: { 'If-None-Match': 'W/"1"' } });
  assert.deepEqual([same.status, same.body.length, same.headers.etag], [304, 0, '"1"']);
});

test('what was never read is a 504 that says when to come again, and a write is refused with 503', async t => {
  const origin = await startOrigin(t, notes());
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/notes/1`);
  await origin.kill();
  await get(`${hub.url}/notes/1`);
  await until(() => hub.view('api').link === 'offline', 'offline');
  const missing = await get(`${hub.url}/never`);
  assert.equal(missing.status, 504);
  assert.equal(missing.headers['content-type'], 'application/problem+json');
  assert.ok(Number(missing.headers['retry-after']) >= 1);
  const problem = JSON.parse(missing.text) as Record<string, unknown>;
  assert.deepEqual([problem.code, problem.service], ['replica/offline-miss', 'api']);
  const write = await get(`${hub.url}/notes`, { method: 'POST', payload: '{}' });
  assert.equal(write.status, 503);
  assert.ok(Number(write.headers['retry-after']) >= 1);
  assert.match(write.text, /never queued/);
});

test('a service that comes back is used again without anybody telling', async t => {
  const origin = await startOrigin(t, notes('one'));
  const hub = await startHub(t, origin.url, { more: 'defaults: { read: { patience: 500ms } }' });
  await get(`${hub.url}/notes/1`);
  await origin.kill();
  await get(`${hub.url}/notes/1`);
  await until(() => hub.view('api').link === 'offline', 'offline');
  origin.handle = notes('two');
  await origin.revive();
  await until(() => hub.view('api').link === 'online', 'online again');
  const got = await get(`${hub.url}/notes/2`);
  assert.deepEqual([got.text, got.headers['replica-state']], ['two', 'fresh']);
});

for (const [name, hang] of [
  ['before the head of its answer', () => undefined],
  [
    'in the middle of its answer',
    (_request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(200, { ...json, 'Content-Length': 1000 });
      response.write('{"half":');
    },
  ],
] as const) {
  test(`a service that hangs ${name}: the older answer comes in the time of patience, then at once`, async t => {
    const origin = await startOrigin(t, notes());
    const hub = await startHub(t, origin.url, { more: 'defaults: { read: { patience: 400ms } }' });
    for (const path of ['/notes/1', '/notes/2?cc=max-age%3D0%2Cmust-revalidate']) {
      await get(hub.url + path);
    }
    await until(() => hub.view('api').link === 'online', 'online');
    origin.handle = hang;
    const first = await get(`${hub.url}/notes/1`);
    assert.deepEqual([first.status, first.text, first.headers['replica-state']], [200, '{"id":1}', 'stale']);
    const strict = await get(`${hub.url}/notes/2?cc=max-age%3D0%2Cmust-revalidate`);
    assert.deepEqual(
      [strict.status, strict.text, strict.headers['replica-state']],
      [200, '{"id":1}', 'stale'],
    );
    await until(() => hub.view('api').link === 'offline', 'offline');
    const sent = origin.requests.length;
    const next = await get(`${hub.url}/notes/1`);
    assert.equal(next.headers['replica-state'], 'stale');
    assert.ok(
      origin.requests.slice(sent).every(({ url }) => url === '/v1/'),
      'only probes are sent while offline',
    );
  });
}

test('a captive portal is not the service: nothing of it is shown where there is an older answer, nothing is kept', async t => {
  const origin = await startOrigin(t, notes());
  const hub = await startHub(t, origin.url, { upstream: '  expect: { types: [application/json] }' });
  await get(`${hub.url}/notes/1`);
  origin.handle = (_request, response) => {
    response
      .writeHead(200, { 'Content-Type': 'text/html', 'Cache-Control': 'max-age=600' })
      .end('<h1>Pay for Wi-Fi</h1>');
  };
  const got = await get(`${hub.url}/notes/1`);
  assert.deepEqual([got.status, got.text, got.headers['replica-state']], [200, '{"id":1}', 'stale']);
  await until(() => hub.view('api').link === 'offline', 'offline');
  const missing = await get(`${hub.url}/notes/9`);
  assert.equal(missing.status, 504);
  assert.equal(hub.view('api').cached.entries, 1);
  assert.match(hub.view('api').reason ?? '', /not itself/);
  origin.handle = (_request, response) => {
    response.writeHead(302, { Location: 'http://login.portal.example/' }).end();
  };
  assert.equal((await get(`${hub.url}/notes/1`)).text, '{"id":1}');
  origin.handle = notes('back');
  await until(() => hub.view('api').link === 'online', 'online again');
});

test('an error of the service is answered by an older answer, unless the service forbids it', async t => {
  const origin = await startOrigin(t, notes());
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/notes/1`);
  await get(`${hub.url}/notes/2?cc=max-age%3D0%2Cmust-revalidate`);
  origin.handle = (_request, response) => response.writeHead(503, { 'Retry-After': '7' }).end('busy');
  const stale = await get(`${hub.url}/notes/1`);
  assert.deepEqual(labels(stale), ['stale', stale.headers['cache-status']]);
  assert.match(String(stale.headers['cache-status']), /detail=status-503/);
  const strict = await get(`${hub.url}/notes/2?cc=max-age%3D0%2Cmust-revalidate`);
  assert.deepEqual([strict.status, strict.text, strict.headers['retry-after']], [503, 'busy', '7']);
  assert.equal(hub.view('api').link, 'online');
});

test('switched offline by hand nothing is sent, and switched on again it goes on', async t => {
  const origin = await startOrigin(t, notes());
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/notes/1`);
  await until(() => origin.requests.length === 2, 'probe and read');
  hub.desk.force('api', true);
  const got = await get(`${hub.url}/notes/1`);
  assert.match(String(got.headers['cache-status']), /detail=offline/);
  assert.equal((await get(`${hub.url}/notes/2`)).status, 504);
  assert.equal(origin.requests.length, 2);
  hub.desk.force('api', false);
  await until(() => hub.view('api').link === 'online', 'online');
});

test('what was read survives a restart', async t => {
  const origin = await startOrigin(t, notes('x'.repeat(200_000)));
  const hub = await startHub(t, origin.url);
  await get(`${hub.url}/large`);
  origin.handle = notes('small');
  await get(`${hub.url}/small`);
  await origin.kill();
  const again = await hub.restart();
  assert.equal((await get(`${again.url}/small`)).text, 'small');
  const large = await get(`${again.url}/large`);
  assert.deepEqual([large.status, large.body.length], [200, 200_000]);
});

test('many identical reads at once are one request to the service', async t => {
  let release: (() => void) | undefined;
  const origin = await startOrigin(t, (request, response) => {
    if (request.url === '/v1/slow') {
      release = () => response.writeHead(200, { ...json, 'Cache-Control': 'max-age=60' }).end('{"n":1}');
    } else {
      response.end();
    }
  });
  const hub = await startHub(t, origin.url);
  const asked = Array.from({ length: 20 }, () => get(`${hub.url}/slow`));
  await until(() => release !== undefined, 'asked');
  await new Promise(resolve => setTimeout(resolve, 100));
  release?.();
  const got = await Promise.all(asked);
  assert.deepEqual(new Set(got.map(({ text }) => text)), new Set(['{"n":1}']));
  assert.equal(origin.requests.filter(({ url }) => url === '/v1/slow').length, 1);
  assert.ok(got.some(({ headers }) => /collapsed/.test(String(headers['cache-status']))));
});

test('a name that leads to a private address is not followed there, unless the definition allows it', async t => {
  const origin = await startOrigin(t, notes());
  const lookup = (
    _name: string,
    found: (error: null, addresses: { address: string; family: number }[]) => void,
  ) => found(null, [{ address: '127.0.0.1', family: 4 }]);
  const url = `http://rebound.example:${origin.port}/v1`;
  const hub = await startHub(t, url, { allowPrivate: false, replicas: { lookup } });
  const got = await get(`${hub.url}/x`);
  assert.ok(got.status === 502 || got.status === 504);
  assert.match(got.text, /private address/);
  assert.equal(origin.requests.length, 0);
  const allowed = await startHub(t, url, { replicas: { lookup } });
  assert.equal((await get(`${allowed.url}/x`)).status, 200);
});
