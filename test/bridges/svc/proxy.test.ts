import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { svcLimits } from '../../../src/bridges/svc/limits.ts';
import { get, startHub, startOrigin, until } from './hub.ts';

test('method, path and query go out byte for byte, and so does the body', async t => {
  const bodies: string[] = [];
  const origin = await startOrigin(t, (request, response) => {
    let body = '';
    request.on('data', chunk => {
      body += chunk;
    });
    request.on('end', () => {
      bodies.push(body);
      response.writeHead(201, 'Made It', { 'X-Odd': 'Value', Location: '/v1/things/7' }).end('ok');
    });
  });
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/a%2Fb//c;x=%e4?q=%20+&&r=[1]`, { method: 'PURGE', payload: 'body é' });
  assert.equal(origin.requests[0]?.method === 'PURGE' || origin.requests[1]?.method === 'PURGE', true);
  const seen = origin.requests.find(({ method }) => method === 'PURGE');
  assert.equal(seen?.url, '/v1/a%2Fb//c;x=%e4?q=%20+&&r=[1]');
  assert.deepEqual(
    bodies.filter(body => body !== ''),
    ['body é'],
  );
  assert.deepEqual([got.status, got.text, got.headers['x-odd']], [201, 'ok', 'Value']);
  assert.equal(got.headers.location, '/svc/api/things/7');
});

test('fields of one connection are not passed on, nor what Connection lists', async t => {
  const origin = await startOrigin(t, (_request, response) => {
    response
      .writeHead(
        200,
        [
          ['Connection', 'keep-alive, X-Hop'],
          ['X-Hop', '1'],
          ['Keep-Alive', 'timeout=5'],
          ['Proxy-Authenticate', 'Basic'],
          ['X-End', '2'],
        ].flat() as never,
      )
      .end('x');
  });
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/x`, {
    headers: {
      Connection: 'close, X-Mine',
      'X-Mine': '1',
      TE: 'trailers',
      'Proxy-Authorization': 'Basic x',
      'X-End': '2',
    },
  });
  assert.deepEqual(
    [got.headers['x-hop'], got.headers['proxy-authenticate'], got.headers['x-end']],
    [undefined, undefined, '2'],
  );
  const { headers } = origin.requests.find(({ url }) => url === '/v1/x') ?? { headers: {} as never };
  assert.deepEqual(
    [headers['x-mine'], headers.te, headers['proxy-authorization'], headers['x-end']],
    [undefined, undefined, undefined, '2'],
  );
  assert.equal(headers.host, `127.0.0.1:${origin.port}`);
  assert.equal(headers.via, '1.1 kos');
});

test('a Connection that would hide what means something end to end is refused', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/x`, {
    headers: { Connection: 'Authorization', Authorization: 'Bearer a' },
  });
  assert.equal(got.status, 400);
  assert.equal(got.headers['content-type'], 'application/problem+json');
});

test('forwarded fields, Host and added secrets are as the definition says', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const hub = await startHub(t, origin.url, {
    upstream:
      '  host: api.example\n  via: false\n  forwarded: x-forwarded\n  inject: [{ name: X-Api-Key, file: key }]',
    files: { key: 's3cret\n' },
  });
  await get(`${hub.url}/x`, { headers: { 'X-Forwarded-For': '192.0.2.9', 'X-Api-Key': 'mine' } });
  const { headers } = origin.requests.find(({ url }) => url === '/v1/x') ?? { headers: {} as never };
  assert.equal(headers.host, 'api.example');
  assert.equal(headers.via, undefined);
  assert.equal(headers['x-forwarded-for'], '192.0.2.9, 127.0.0.1');
  assert.equal(headers['x-forwarded-proto'], 'http');
  assert.equal(headers['x-api-key'], 's3cret');
});

test('1xx answers and trailers come through, chunked bodies stay a stream', async t => {
  const origin = await startOrigin(t, (request, response) => {
    if (request.url === '/v1/hints') {
      response.writeInformation(103, { link: '</style.css>; rel=preload' });
      response.writeHead(200, { Trailer: 'X-Sum', 'Cache-Control': 'no-store' });
      response.write('one');
      response.addTrailers({ 'X-Sum': 'abc' });
      response.end('two');
    } else {
      response.end();
    }
  });
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/hints`);
  assert.deepEqual([got.text, got.informed, got.trailers['x-sum']], ['onetwo', [103], 'abc']);
  assert.equal(got.headers['transfer-encoding'], 'chunked');
});

test('trailers of a request reach the service', async t => {
  const trailers: unknown[] = [];
  const origin = await startOrigin(t, (request, response) => {
    request.resume().on('end', () => {
      trailers.push(request.trailers['x-sum']);
      response.end('ok');
    });
  });
  const hub = await startHub(t, origin.url);
  const answer = await raw(
    hub.port,
    'POST /svc/api/up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 200/);
  assert.ok(trailers.includes('7'));
});

test('a client that asks before it sends is told by the service to go on, or not to', async t => {
  const origin = await startOrigin(t, (request, response) => {
    if (request.url === '/v1/no') {
      response.writeHead(413, { Connection: 'close' }).end('too much');
    } else {
      response.writeContinue();
      request.resume().on('end', () => response.end('thanks'));
    }
  });
  const hub = await startHub(t, origin.url);
  const yes = await raw(
    hub.port,
    'POST /svc/api/yes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
    (text, socket) => /100 Continue/.test(text) && socket.write('abc'),
  );
  assert.match(yes, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
  const no = await raw(
    hub.port,
    'POST /svc/api/no HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
  );
  assert.match(no, /^HTTP\/1\.1 413/);
});

/** An origin that answers a POST when it is let. */
async function startSlowOrigin(t: TestContext) {
  const asked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const origin = await startOrigin(t, (request, response) => {
    if (request.method === 'POST') {
      asked.resolve();
      void go.promise.then(() => response.end('thanks'));
    } else {
      response.end('x');
    }
  });
  return { origin, asked, go };
}

test('a client that asked before it sent does not give way to idle connections while the service is at its request', async t => {
  const { origin, asked, go } = await startSlowOrigin(t);
  const hub = await startHub(t, origin.url);
  const answer = raw(
    hub.port,
    'POST /svc/api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc',
  );
  await asked.promise;
  await new Promise(resolve => setTimeout(resolve, svcLimits.idleGrace + 100));
  const idle = Array.from({ length: svcLimits.idleConnections + 8 }, () => connect(hub.port, '127.0.0.1'));
  await Promise.all(
    idle.map(socket =>
      once(
        socket.on('error', () => {}),
        'connect',
      ),
    ),
  );
  go.resolve();
  const heard = await answer;
  for (const socket of idle) {
    socket.destroy();
  }
  assert.match(heard, /HTTP\/1\.1 200 OK/);
});

test('what follows a request and is not HTTP is refused behind its answer', async t => {
  const { origin, asked, go } = await startSlowOrigin(t);
  const hub = await startHub(t, origin.url);
  const answers = raw(hub.port, 'POST /svc/api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\0\r\n');
  await asked.promise;
  await until(() => hub.counters.snapshot()['replica/http/malformed'] === 1, 'the refusal');
  go.resolve();
  assert.deepEqual((await answers).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400']);
});

test('compressed bodies are not touched, HEAD has no body, a 1.0 client gets no chunks', async t => {
  const zipped = gzipSync('hello '.repeat(100));
  const origin = await startOrigin(t, (request, response) => {
    response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': zipped.length });
    response.end(request.method === 'HEAD' ? undefined : zipped);
  });
  const hub = await startHub(t, origin.url);
  const got = await get(`${hub.url}/z`, { headers: { 'Accept-Encoding': 'gzip' } });
  assert.deepEqual(got.body, zipped);
  const head = await get(`${hub.url}/other`, { method: 'HEAD' });
  assert.deepEqual(
    [head.status, head.headers['content-length'], head.body.length],
    [200, String(zipped.length), 0],
  );
  origin.handle = (_request, response) => {
    response.writeHead(200, { 'Cache-Control': 'no-store' });
    response.write('a');
    response.end('b');
  };
  const old = await raw(hub.port, 'GET /svc/api/old HTTP/1.0\r\n\r\n');
  assert.match(old, /\r\n\r\nab$/);
  assert.doesNotMatch(old, /chunked/i);
});

test('redirects, links and cookies of the service lead back here; what is elsewhere stays', async t => {
  const origin = await startOrigin(t, (request, response) => {
    const here = `http://${request.headers.host}`;
    const targets: Record<string, string> = {
      '/v1/abs': `${here}/v1/next?x=1#y`,
      '/v1/root': '/v1/next',
      '/v1/rel': 'next',
      '/v1/out': 'https://elsewhere.example/v1/x',
      '/v1/above': '/v2/x',
      '/v1/same': `${here}/v1`,
      '/v1/similar': `${here}/v10/x`,
    };
    response
      .writeHead(
        302,
        [
          ['Location', targets[request.url ?? ''] ?? '/'],
          ['Link', `<${here}/v1/p?page=2>; rel="next", <https://x.example/>; rel="help"`],
          ['Set-Cookie', 'a=1; Path=/v1/in; Domain=example.com; Secure; HttpOnly; SameSite=None'],
          ['Set-Cookie', 'b=2; Path=/'],
        ].flat() as never,
      )
      .end();
  });
  const hub = await startHub(t, origin.url);
  const locations: Record<string, string | undefined> = {};
  for (const path of ['abs', 'root', 'rel', 'out', 'above', 'same', 'similar']) {
    locations[path] = (await get(`${hub.url}/${path}`)).headers.location;
  }
  assert.deepEqual(locations, {
    abs: '/svc/api/next?x=1#y',
    root: '/svc/api/next',
    rel: 'next',
    out: 'https://elsewhere.example/v1/x',
    above: '/v2/x',
    same: '/svc/api/',
    similar: `http://127.0.0.1:${origin.port}/v10/x`,
  });
  const { headers } = await get(`${hub.url}/abs`);
  assert.equal(headers.link, '</svc/api/p?page=2>; rel="next", <https://x.example/>; rel="help"');
  assert.deepEqual(headers['set-cookie'], ['a=1; Path=/svc/api/in; HttpOnly', 'b=2; Path=/svc/api/']);
});

test('a large upload and a large download are never held whole, and wait for whoever reads slowly', async t => {
  const size = 256 * 1024 * 1024;
  const chunk = Buffer.alloc(64 * 1024, 1);
  let received = 0;
  const origin = await startOrigin(t, (request, response) => {
    request.on('data', part => {
      received += part.length;
    });
    request.on('end', () => {
      response.writeHead(200, { 'Cache-Control': 'no-store' });
      let sent = 0;
      const more = () => {
        while (sent < size) {
          sent += chunk.length;
          if (!response.write(chunk)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
    });
  });
  const hub = await startHub(t, origin.url);
  const before = process.memoryUsage().rss;
  let most = 0;
  const socket = connect(hub.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(
    `POST /svc/api/big HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`,
  );
  for (let sent = 0; sent < size; sent += chunk.length) {
    if (!socket.write(chunk)) {
      await once(socket, 'drain');
    }
    most = Math.max(most, process.memoryUsage().rss);
  }
  let got = 0;
  for await (const part of socket as AsyncIterable<Buffer>) {
    got += part.length;
    most = Math.max(most, process.memoryUsage().rss);
  }
  assert.equal(received, size);
  assert.ok(got >= size);
  assert.ok(most - before < 192 * 1024 * 1024, `grew by ${(most - before) / 1024 / 1024} MiB`);
});

test('a client that goes away in the middle ends the request to the service, both ways', async t => {
  let closed = 0;
  const origin = await startOrigin(t, (request, response) => {
    response.on('close', () => {
      closed += 1;
    });
    if (request.method === 'GET' && request.url === '/v1/endless') {
      response.writeHead(200, { 'Cache-Control': 'no-store' });
      response.write('x');
    } else if (request.method !== 'POST') {
      response.end();
    }
  });
  const hub = await startHub(t, origin.url);
  await until(() => closed > 0, 'the probe');
  closed = 0;
  const down = connect(hub.port, '127.0.0.1');
  down.write('GET /svc/api/endless HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(down, 'data');
  down.destroy();
  await until(() => closed === 1, 'the download ended at the service');
  const up = connect(hub.port, '127.0.0.1');
  up.write('POST /svc/api/up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc');
  await until(() => origin.requests.some(({ method }) => method === 'POST'), 'the upload began');
  up.destroy();
  await until(() => closed === 2, 'the upload ended at the service');
  assert.equal((await get(`${hub.url}/ok`)).status, 200);
});

test('a service that breaks off in the middle breaks off for the client, and nothing of it is kept', async t => {
  const origin = await startOrigin(t, (request, response) => {
    response.writeHead(200, { 'Content-Length': 100, 'Cache-Control': 'max-age=60' });
    response.write('half', () => request.url?.endsWith('/cut') === true && response.destroy());
    if (!request.url?.endsWith('/cut')) {
      response.end('x'.repeat(96));
    }
  });
  const hub = await startHub(t, origin.url);
  await assert.rejects(get(`${hub.url}/cut`));
  assert.equal(hub.desk.list()[0]?.cached.entries, 0);
  assert.equal((await get(`${hub.url}/whole`)).body.length, 100);
});

test('no more requests are at the service at once than the definition says, and each is answered in the end', async t => {
  let now = 0;
  let most = 0;
  const origin = await startOrigin(t, (_request, response) => {
    now += 1;
    most = Math.max(most, now);
    setTimeout(() => {
      now -= 1;
      response.writeHead(200, { 'Cache-Control': 'no-store' }).end('x');
    }, 5);
  });
  const hub = await startHub(t, origin.url, { upstream: '  concurrency: 3' });
  await until(() => hub.view('api').lastGoodAt !== undefined && now === 0, 'the probe');
  most = 0;
  const got = await Promise.all(Array.from({ length: 60 }, (_, at) => get(`${hub.url}/${at}`)));
  assert.ok(got.every(({ status }) => status === 200));
  assert.equal(most, 3);
});

test('server-sent events come one by one, at once', async t => {
  let send: ((text: string) => void) | undefined;
  const origin = await startOrigin(t, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.flushHeaders();
    send = text => void response.write(text);
  });
  const hub = await startHub(t, origin.url, { more: 'routes: [{ match: { path: /events }, stream: sse }]' });
  const socket = connect(hub.port, '127.0.0.1');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', chunk => {
    text += chunk;
  });
  socket.write('GET /svc/api/events HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => text.includes('text/event-stream'), 'the head');
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    send?.(event);
    await until(() => text.includes(event), event);
  }
});

test('a path that leads out of the service, another service, a switch of protocols: refused in words', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const hub = await startHub(t, origin.url);
  for (const [path, status] of [
    ['/svc/api/../x', 400],
    ['/svc/api/a/%2e%2E/x', 400],
    ['/svc/api/./x', 400],
    ['/svc/api/a%2f..%2Fx', 400],
    ['/svc/api/..\\x', 400],
    ['/svc/api/%5C%2e%2e', 400],
    ['/svc/other/x', 404],
    ['/svc/', 404],
    ['/', 404],
    ['/svc/apix', 404],
  ] as const) {
    const answer = await raw(hub.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), path);
    assert.match(answer, /urn:kos:problem:request/);
  }
  const upgraded = await raw(
    hub.port,
    'GET /svc/api/ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n',
  );
  assert.match(upgraded, /^HTTP\/1\.1 200/);
});

test('smuggled lengths and headers beyond measure do not get past the listener', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const hub = await startHub(t, origin.url);
  await until(() => origin.requests.length > 0, 'the probe');
  const before = origin.requests.length;
  for (const head of [
    'Content-Length: 3\r\nTransfer-Encoding: chunked',
    'Content-Length: 3\r\nContent-Length: 4',
    'Transfer-Encoding: chunked, identity',
    'Content-Length: -1',
    `X-Big: ${'a'.repeat(20_000)}`,
  ]) {
    const answer = await raw(hub.port, `POST /svc/api/x HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n0\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 4\d\d /, head);
  }
  assert.equal(origin.requests.length, before);
});

test('a path token guards a service: without it there is nothing there', async t => {
  const origin = await startOrigin(t, (request, response) =>
    response.writeHead(302, { Location: '/v1/on' }).end(request.url),
  );
  const token = 'abcdefghijklmnop';
  const hub = await startHub(t, origin.url, { more: 'guard: { tokenFile: token }', files: { token } });
  assert.equal((await get(`${hub.url}/x`)).status, 404);
  assert.equal((await get(`${hub.url}/~abcdefghijklmnoq/x`)).status, 404);
  assert.equal((await get(`${hub.url}/_replica/health`)).status, 404);
  const got = await get(`${hub.url}/~${token}/x`);
  assert.deepEqual([got.text, got.headers.location], ['/v1/x', `/svc/api/~${token}/on`]);
});

test('what is decided about a write, and what the gateway adds its own secret to, is not for other pages', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const open = await startHub(t, origin.url);
  const decide = (headers: Record<string, string>) =>
    get(`${open.url}/_replica/queue/abc/discard`, { method: 'POST', headers });
  assert.equal((await decide({ Cookie: 'session=1', Origin: 'http://evil.example' })).status, 403);
  assert.equal((await decide({ Cookie: 'session=1', 'Sec-Fetch-Site': 'cross-site' })).status, 403);
  assert.equal((await decide({ Cookie: 'session=1', Origin: `http://127.0.0.1:${open.port}` })).status, 404);
  assert.equal((await decide({ Cookie: 'session=1' })).status, 404);
  const image = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' };
  assert.equal((await get(`${open.url}/picture`, { headers: image })).status, 200);
  const injecting = await startHub(t, origin.url, {
    upstream: '  inject: [{ name: X-Api-Key, file: key }]',
    files: { key: 's3cret' },
    listen: '0.0.0.0',
  });
  const before = origin.requests.length;
  for (const site of ['cross-site', 'same-site']) {
    const got = await get(`${injecting.url}/delete-all`, { headers: { 'Sec-Fetch-Site': site } });
    assert.equal(got.status, 403, site);
  }
  assert.equal(origin.requests.slice(before).filter(({ url }) => url === '/v1/delete-all').length, 0);
  const rebound = { Host: 'evil.example:8081', Origin: 'http://evil.example:8081' };
  assert.equal((await get(`${injecting.url}/x`, { headers: rebound })).status, 403);
  for (const headers of [{}, { 'Sec-Fetch-Site': 'none' }, { 'Sec-Fetch-Site': 'same-origin' }]) {
    assert.equal((await get(`${injecting.url}/x`, { headers })).status, 200);
  }
});

test('a service says nothing about the whole of this origin, nor sets cookies beside its own path', async t => {
  const origin = await startOrigin(t, (_request, response) =>
    response
      .writeHead(200, {
        'Clear-Site-Data': '"cookies", "storage"',
        'Service-Worker-Allowed': '/',
        'Set-Cookie': ['kos-12345678=mine; Path=/v1/session; Domain=127.0.0.1', 'b=1; path=/; PATH=/v1'],
      })
      .end('x'),
  );
  const hub = await startHub(t, origin.url);
  const { headers } = await get(`${hub.url}/x`);
  assert.equal(headers['clear-site-data'], undefined);
  assert.equal(headers['service-worker-allowed'], undefined);
  assert.deepEqual(headers['set-cookie'], [
    'kos-12345678=mine; Path=/svc/api/session',
    'b=1; Path=/svc/api/; Path=/svc/api/',
  ]);
});

test('the token of the path does not reach the service in a Referer', async t => {
  const origin = await startOrigin(t, (_request, response) => response.end('x'));
  const token = 'abcdefghijklmnop';
  const hub = await startHub(t, origin.url, { more: 'guard: { tokenFile: token }', files: { token } });
  const at = `${hub.url}/~${token}/page`;
  await get(at, { headers: { Referer: at } });
  const asked = origin.requests.find(({ url }) => url === '/v1/page');
  assert.equal(asked?.headers.referer, undefined);
  assert.ok(!JSON.stringify(origin.requests).includes(token));
});

/** Sends bytes and reads until the other side closes; `reply` may answer what came so far. */
async function raw(
  port: number,
  text: string,
  reply?: (text: string, socket: Socket) => void,
): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(20_000, () => socket.destroy());
  let got = '';
  socket.on('data', chunk => {
    got += chunk.toString('latin1');
    reply?.(got, socket);
  });
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  return got;
}
