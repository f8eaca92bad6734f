import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createListener, type Listener, listenerLimits } from '../../src/bridges/listener.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';

async function open(
  routes: (listener: Listener) => void = () => {},
  clock = systemClock,
  origins: readonly string[] = [],
): Promise<Listener> {
  const listener = await createListener({
    host: '127.0.0.1',
    port: 0,
    clock,
    log: silentLog,
    counters: new Counters(),
    origins,
  });
  listener.app.get('/things/:id', async () => ({ ok: true }));
  listener.app.delete('/things/:id', async () => ({ ok: true }));
  listener.app.get('/broken', async () => {
    throw new TypeError('a secret of /home/somebody');
  });
  routes(listener);
  await listener.listen();
  return listener;
}

/** Sends raw bytes and reads until the server closes. */
async function raw(listener: Listener, bytes: string): Promise<string> {
  const socket = connect(listener.address().port, '127.0.0.1');
  socket.write(bytes);
  return text(socket);
}

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'listener-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** A request over a unix socket. */
async function overSocket(path: string, url: string): Promise<{ status: number | undefined; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; body: string }>();
  httpRequest({ socketPath: path, path: url }, response => {
    text(response).then(body => resolve({ status: response.statusCode, body }), reject);
  })
    .on('error', reject)
    .end();
  return promise;
}

test('a path that is not there is a problem', async () => {
  await using listener = await open();
  const answer = await fetch(`${listener.address().url}/nowhere`);
  assert.equal(answer.status, 404);
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.equal(((await answer.json()) as { type: string }).type, 'urn:kos:problem:request/not-found');
});

test('a method a path does not have is 405 with Allow, for methods nobody has heard of too', async () => {
  await using listener = await open();
  for (const method of ['POST', 'PUT', 'PROPFIND']) {
    const answer = await fetch(`${listener.address().url}/things/1?x=1`, { method });
    assert.equal(answer.status, 405, method);
    assert.equal(answer.headers.get('allow'), 'DELETE, GET');
  }
  const options = await fetch(`${listener.address().url}/things/1`, { method: 'OPTIONS' });
  assert.deepEqual([options.status, options.headers.get('allow')], [204, 'DELETE, GET, OPTIONS']);
  assert.equal((await fetch(`${listener.address().url}/nowhere`, { method: 'OPTIONS' })).status, 404);
});

test('a bug is a 500 that tells nothing of the inside', async () => {
  await using listener = await open();
  const answer = await fetch(`${listener.address().url}/broken`);
  assert.equal(answer.status, 500);
  const body = await answer.text();
  assert.match(body, /urn:kos:problem:internal/);
  assert.doesNotMatch(body, /secret|home|TypeError| at /);
});

test('every answer forbids sniffing, caching and running', async () => {
  await using listener = await open();
  for (const path of ['/things/1', '/nowhere', '/broken']) {
    const { headers } = await fetch(`${listener.address().url}${path}`);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/);
    assert.equal(headers.get('cache-control'), 'no-store');
  }
});

test('what is not HTTP, a bad path, too long a header: each is a problem', async () => {
  await using listener = await open();
  assert.match(await raw(listener, 'hello\r\n\r\n'), /^HTTP\/1\.1 400.*urn:kos:problem:request\/invalid/s);
  assert.match(
    await raw(listener, 'GET /things/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 400.*urn:kos:problem:request\/invalid/s,
  );
  const long = 'x'.repeat(listenerLimits.headerBytes);
  assert.match(
    await raw(listener, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${long}\r\n\r\n`),
    /^HTTP\/1\.1 413.*request\/too-large/s,
  );
  assert.match(
    await raw(
      listener,
      `GET /things/${'x'.repeat(2000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    ),
    /^HTTP\/1\.1 4\d\d.*urn:kos:problem:request/s,
  );
});

/** Answers what is asked at `/slow` when it may. */
const openSlow = (go: Promise<void>) =>
  open(({ app }) => {
    app.get('/slow', async () => {
      await go;
      return { ok: true };
    });
  });

test('what follows a request and is not HTTP is refused behind its answer', async () => {
  const go = Promise.withResolvers<void>();
  await using listener = await openSlow(go.promise);
  const isBroken = once(listener.app.server, 'clientError');
  const answers = raw(listener, `${'GET /slow HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(2)}\0`);
  await isBroken;
  go.resolve();
  assert.deepEqual((await answers).match(/HTTP\/1\.1 \d+/g), [
    'HTTP/1.1 200',
    'HTTP/1.1 200',
    'HTTP/1.1 400',
  ]);
});

test('an expectation nobody knows is a problem, in its turn like any other answer', async () => {
  const go = Promise.withResolvers<void>();
  await using listener = await openSlow(go.promise);
  const isBroken = once(listener.app.server, 'clientError');
  const expects = 'POST /things/1 HTTP/1.1\r\nhost: x\r\nexpect: tea\r\ncontent-length: 2\r\n\r\nhi';
  const answers = raw(listener, `GET /slow HTTP/1.1\r\nhost: x\r\n\r\n${expects.repeat(2)}\0`);
  await isBroken;
  go.resolve();
  assert.deepEqual((await answers).match(/HTTP\/1\.1 \d+/g), [
    'HTTP/1.1 200',
    'HTTP/1.1 417',
    'HTTP/1.1 417',
    'HTTP/1.1 400',
  ]);
  const alone = await raw(listener, expects.replace('host: x', 'host: x\r\nconnection: close'));
  assert.match(alone, /x-request-id: .*"code":"request\/unsupported"/s);
});

test('whoever goes on sending what is not HTTP holds no more for each piece, and is refused once', async () => {
  const go = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<ServerResponse>();
  await using listener = await open(({ app }) => {
    app.get('/slow', async (_request, reply) => {
      asked.resolve(reply.raw);
      await go.promise;
      return { ok: true };
    });
  });
  const { server } = listener.app;
  const socket = connect(listener.address().port, '127.0.0.1').setNoDelay(true);
  const answers = text(socket);
  socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n');
  const response = await asked.promise;
  const held: number[] = [];
  for (let n = 0; n < 20; n++) {
    const isHeard = once(server, 'clientError');
    socket.write('\0\r\n');
    await isHeard;
    held.push(response.listenerCount('close'));
  }
  assert.equal(held.at(-1), held[0]);
  go.resolve();
  assert.deepEqual((await answers).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400']);
});

test('a browser that calls a loopback listener by a strange name is refused', async () => {
  await using listener = await open();
  const ask = (host: string, more = '') =>
    raw(listener, `GET /things/1 HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`);
  assert.match(await ask('evil.example:8080', 'Origin: http://evil.example:8080\r\n'), /^HTTP\/1\.1 403/);
  assert.match(await ask('evil.example', 'Sec-Fetch-Site: same-origin\r\n'), /^HTTP\/1\.1 403/);
  assert.match(await ask('localhost:8080', 'Origin: http://localhost:8080\r\n'), /^HTTP\/1\.1 200/);
  assert.match(await ask('[::1]:8080', 'Origin: http://[::1]:8080\r\n'), /^HTTP\/1\.1 200/);
  assert.match(await ask('gateway.lan'), /^HTTP\/1\.1 200/, 'a program is no browser');
});

test('a request with two Host lines is refused, whatever it asks for', async () => {
  await using listener = await open(({ onUpgrade }) =>
    onUpgrade('/echo', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')),
  );
  const two = 'Host: localhost\r\nhOST: localhost\r\n';
  const plain = await raw(listener, `GET /things/1 HTTP/1.1\r\n${two}Connection: close\r\n\r\n`);
  assert.match(plain, /^HTTP\/1\.1 400 .*"\/header\/host"/s);
  const upgrade = `GET /echo HTTP/1.1\r\n${two}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  assert.match(await raw(listener, upgrade), /^HTTP\/1\.1 400 /);
});

test('upgrades go to the handler of their path, from pages of this host only', async () => {
  await using listener = await open(({ onUpgrade }) => {
    onUpgrade('/echo', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    onUpgrade('/broken', () => {
      throw new TypeError('a secret');
    });
  });
  const ask = (path: string, more = '') =>
    raw(
      listener,
      `GET ${path} HTTP/1.1\r\nHost: localhost:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`,
    );
  assert.match(await ask('/echo?x=1'), /^HTTP\/1\.1 101/);
  assert.match(await ask('/echo', 'Origin: http://localhost:1\r\n'), /^HTTP\/1\.1 101/);
  assert.match(await ask('/echo', 'Origin: http://localhost:2\r\n'), /^HTTP\/1\.1 403/);
  assert.match(await ask('/echo', 'Origin: null\r\n'), /^HTTP\/1\.1 403/);
  assert.match(await ask('/other'), /^HTTP\/1\.1 404.*urn:kos:problem/s);
  const broken = await ask('/broken');
  assert.match(broken, /^HTTP\/1\.1 500/);
  assert.doesNotMatch(broken, /secret/);
});

test('pages of other sites that are named may open a WebSocket, and no others', async () => {
  await using listener = await open(
    ({ onUpgrade }) =>
      onUpgrade('/echo', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')),
    systemClock,
    ['https://app.example'],
  );
  const ask = (origin: string, host = 'localhost:1') =>
    raw(
      listener,
      `GET /echo HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: ${origin}\r\n\r\n`,
    );
  assert.match(await ask('https://app.example'), /^HTTP\/1\.1 101/);
  assert.match(await ask('http://localhost:1'), /^HTTP\/1\.1 101/);
  for (const other of [
    'http://app.example',
    'https://app.example:8443',
    'https://app.example.evil.example',
    'https://evil.example',
    'null',
  ]) {
    assert.match(await ask(other), /^HTTP\/1\.1 403/, other);
  }
  assert.match(
    await ask('https://app.example', 'evil.example'),
    /^HTTP\/1\.1 403/,
    'a name that was re-bound',
  );
});

test('an upgrade to something else than WebSocket is an ordinary request', async () => {
  await using listener = await open();
  const answer = await raw(
    listener,
    'GET /things/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 200/);
});

test('a busy port is bridge/unavailable, and another can be tried', async () => {
  await using first = await open();
  await using second = await createListener({
    host: '127.0.0.1',
    port: first.address().port,
    clock: systemClock,
    log: silentLog,
    counters: new Counters(),
  });
  await assert.rejects(
    second.listen(),
    error => isGatewayError(error, 'bridge/unavailable') && error.detail.errno === 'EADDRINUSE',
  );
  await second.listen(0);
  assert.equal((await fetch(`${second.address().url}/`)).status, 404);
});

test('the control socket serves the same routes, to its owner only, and is known as such', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'control.sock');
  const seen: boolean[] = [];
  await using listener = await open(({ app, isControl }) => {
    app.get('/who', async request => {
      seen.push(isControl(request.raw));
      return {};
    });
  });
  await listener.control(path);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await overSocket(path, '/who')).status, 200);
  await fetch(`${listener.address().url}/who`);
  assert.deepEqual(seen, [true, false]);
  assert.equal((await overSocket(path, '/nowhere')).status, 404);
});

test('the socket file of a dead process is replaced, that of a living one is not', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'control.sock');
  await writeFile(path, '');
  await using first = await open();
  await first.control(path);
  await using second = await open();
  await assert.rejects(second.control(path), error => isGatewayError(error, 'bridge/unavailable'));
  assert.equal((await overSocket(path, '/things/1')).status, 200);
});

test('closing ends what waits for the signal, lets the rest finish and removes the control socket', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'control.sock');
  const started = Promise.withResolvers<void>();
  const listener = await open(({ app, closing }) => {
    app.get('/wait', async () => {
      started.resolve();
      await new Promise(resolve => closing.addEventListener('abort', resolve));
      return { ended: true };
    });
  });
  await listener.control(path);
  const waiting = fetch(`${listener.address().url}/wait`);
  await started.promise;
  await Promise.all([listener.close(), listener.close()]);
  assert.deepEqual(await (await waiting).json(), { ended: true });
  await assert.rejects(stat(path));
});

test('a socket that nobody ends does not hold up closing', async () => {
  let now = 0;
  const listener = await open(({ onUpgrade }) => onUpgrade('/hold', () => {}), {
    ...systemClock,
    monotonic: () => (now += listenerLimits.drain),
  });
  const held = raw(
    listener,
    'GET /hold HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  );
  await new Promise(resolve => listener.app.server.once('upgrade', resolve));
  await listener.close();
  await held.catch(() => {});
});
