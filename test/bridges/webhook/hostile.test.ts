import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { webhookLimits } from '../../../src/bridges/webhook/config.ts';
import { createGuard } from '../../../src/bridges/webhook/guard.ts';
import { createPoster } from '../../../src/bridges/webhook/post.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { Log } from '../../../src/lib/log.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { Lookup } from '../../../src/lib/names.ts';
import { type Answer, openGateway } from '../gateway.ts';
import { openReceiver, status, until } from './receiver.ts';

const loopback = ['127.0.0.0/8'];
const quick = { firstRetry: 20, longestRetry: 40, timeout: 60_000, idleWrite: 0 };

const open = (webhook: NonNullable<Parameters<typeof openGateway>[0]>['webhook'] = {}, log?: Log) =>
  openGateway({
    ...(log !== undefined && { log }),
    webhook: { allowPrivate: loopback, ...webhook, limits: { ...quick, ...webhook.limits } },
  });

/** Refused, because of where the URL leads. */
function assertForbidden({ status: code, body }: Answer, url = ''): void {
  assert.deepEqual([code, body.code, body.errors?.[0]?.pointer], [403, 'request/forbidden', '/url'], url);
}

/** A server that does what it wants with each connection, and counts them. */
async function rawServer(serve: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    // Who does not read does not notice that the other side has gone.
    socket.resume();
    serve(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}/`,
    sockets,
    async [Symbol.asyncDispose]() {
      const closed = new Promise(resolve => server.close(resolve));
      for (const socket of sockets) {
        socket.destroy();
      }
      await closed;
    },
  };
}

/** Answers names from a table; each list of answers is used up and its last one stays. */
function names(table: Readonly<Record<string, string[]>>): Lookup & { readonly asked: string[] } {
  const asked: string[] = [];
  const left = new Map(Object.entries(table).map(([name, answers]) => [name, [...answers]]));
  const lookup: Lookup = (hostname, callback) => {
    asked.push(hostname);
    const answers = left.get(hostname) ?? [];
    const address = answers.length > 1 ? answers.shift() : answers[0];
    const found: LookupAddress[] =
      address === undefined ? [] : [{ address, family: address.includes(':') ? 6 : 4 }];
    const error = Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
    setImmediate(() => callback(address === undefined ? error : null, found));
  };
  return Object.assign(lookup, { asked });
}

test('private, local, reserved and disguised addresses are refused at once, with the line that would allow them', async () => {
  await using gateway = await open({ allowPrivate: [] });
  const token = await gateway.client('a');
  const forms: readonly (readonly [string, RegExp])[] = [
    ['https://127.0.0.1/', /127\.0\.0\.1 .* allowPrivate: \['127\.0\.0\.1\/32'\]/],
    ['https://0x7f.1/', /127\.0\.0\.1/],
    ['https://2130706433/', /127\.0\.0\.1/],
    ['https://[::1]/', /allowPrivate: \['::1\/128'\]/],
    ['https://[::ffff:127.0.0.1]/', /127\.0\.0\.1\/32/],
    ['https://[::ffff:a9fe:a9fe]/', /169\.254\.169\.254/],
    ['https://[64:ff9b::7f00:1]/', /127\.0\.0\.1/],
    ['https://10.1.2.3/', /10\.1\.2\.3\/32/],
    ['https://172.31.0.1/', /private|public internet/],
    ['https://192.168.1.20/', /192\.168\.1\.20\/32/],
    ['https://169.254.169.254/latest/meta-data/', /169\.254\.169\.254/],
    ['https://100.64.0.1/', /100\.64\.0\.1/],
    ['https://[fd00::1]/', /fd00::1\/128/],
    ['https://[fe80::1]/', /fe80::1/],
    ['https://[2002:7f00:1::]/', /public internet/],
    ['https://0.0.0.0/', /no address of one machine/],
    ['https://224.0.0.1/', /no address of one machine/],
    ['https://255.255.255.255/', /no address of one machine/],
    ['https://[ff02::1]/', /no address of one machine/],
    ['https://[::]/', /no address of one machine/],
    ['http://93.184.215.14/', /use https/],
  ];
  for (const [url, said] of forms) {
    const answer = await gateway.call(token, 'POST', '/v1/webhooks', { url });
    assertForbidden(answer, url);
    assert.match(answer.body.detail, said, url);
  }
  const fine = await gateway.call(token, 'POST', '/v1/webhooks', {
    url: 'https://93.184.215.14/',
    enabled: false,
  });
  assert.equal(fine.status, 201);
  const moved = await gateway.call(token, 'PATCH', `/v1/webhooks/${fine.body.id}`, {
    url: 'https://10.0.0.1/',
  });
  assertForbidden(moved);
});

test('what is nobody’s address is refused even where the configuration allows everything', async () => {
  await using gateway = await open({ allowPrivate: ['0.0.0.0/0', '::/0'] });
  const token = await gateway.client('a');
  for (const url of ['http://0.0.0.0/', 'http://224.0.0.1/', 'http://[::]/', 'http://[ff02::1]/']) {
    assertForbidden(await gateway.call(token, 'POST', '/v1/webhooks', { url }), url);
  }
});

test('a name that comes to mean another address after it was checked is not followed there', async () => {
  await using receiver = await openReceiver();
  const lookup = names({
    'rebind.example': ['93.184.215.14', '127.0.0.1'],
    'inner.example': ['192.168.7.7'],
  });
  await using gateway = await open({ allowPrivate: [], lookup });
  const token = await gateway.client('a');
  const url = `https://rebind.example:${receiver.port}/`;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url, events: ['message.accepted'] });
  assert.equal(made.status, 201);
  const tried = await gateway.call(token, 'POST', `/v1/webhooks/${made.body.id}/test`);
  assert.equal(tried.status, 200);
  assert.equal(tried.body.state, 'failed');
  assert.equal(tried.body.code, 'blocked');
  assert.match(tried.body.reason, /127\.0\.0\.1/);
  await gateway.call(token, 'POST', '/v1/messages', { to: 'app:a', text: 'x' });
  await until('it waits', async () => {
    const { body } = await gateway.call(token, 'GET', `/v1/webhooks/${made.body.id}`);
    return body.lastFailure?.code === 'blocked';
  });
  assert.equal(receiver.received.length, 0);
  const inner = await gateway.call(token, 'POST', '/v1/webhooks', { url: 'https://inner.example/' });
  assert.match(inner.body.detail, /192\.168\.7\.7\/32/);
});

test('the address that was judged is the one that is connected to: the name is looked up once for a connection', async () => {
  await using receiver = await openReceiver();
  const lookup = names({ 'lan.example': ['127.0.0.1'] });
  await using gateway = await open({ lookup });
  const token = await gateway.client('a');
  const url = `http://lan.example:${receiver.port}/`;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url });
  assert.deepEqual(lookup.asked, ['lan.example']);
  await gateway.call(token, 'POST', `/v1/webhooks/${made.body.id}/test`);
  await gateway.call(token, 'POST', `/v1/webhooks/${made.body.id}/test`);
  assert.equal(receiver.received.length, 2);
  // The second request went over the connection of the first.
  assert.deepEqual(lookup.asked, ['lan.example', 'lan.example']);
});

test('a name that nobody knows now may be one later: the webhook is made, and each attempt asks again', async () => {
  await using gateway = await open({ lookup: names({}) });
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: 'https://away.example/' });
  assert.equal(made.status, 201);
  const tried = await gateway.call(token, 'POST', `/v1/webhooks/${made.body.id}/test`);
  assert.equal(tried.body.code, 'dns');
});

test('redirects are not followed, wherever they lead', async () => {
  await using inner = await openReceiver();
  await using receiver = await openReceiver();
  await using gateway = await open();
  const token = await gateway.client('a');
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url: receiver.url });
  for (const code of [301, 302, 303, 307, 308]) {
    receiver.answer = status(code, { location: inner.url });
    const tried = await gateway.call(token, 'POST', `/v1/webhooks/${made.body.id}/test`);
    assert.deepEqual([tried.body.state, tried.body.code, tried.body.status], ['failed', 'redirect', code]);
  }
  assert.equal(inner.received.length, 0);
});

test('endpoints that hang, drip, talk nonsense or never stop are given up in time, and nothing of what they say is kept', async () => {
  const drip = (socket: Socket, text: string, every = 20) => {
    let at = 0;
    const timer = setInterval(() => {
      socket.write(text[at % text.length] ?? ' ');
      at += 1;
    }, every);
    socket.on('close', () => clearInterval(timer));
  };
  await using hanging = await rawServer(() => undefined);
  await using dripping = await rawServer(socket =>
    drip(socket, 'HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'),
  );
  await using nonsense = await rawServer(socket => socket.end('what?\r\n\r\n'));
  await using closing = await rawServer(socket => socket.destroy());
  await using giant = await rawServer(socket =>
    socket.write(`HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(1000)}\r\n`.repeat(64)}\r\n`),
  );
  await using informing = await rawServer(socket => drip(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n', 1));
  await using switching = await rawServer(socket =>
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
  );
  let sent = 0;
  await using endless = await rawServer(socket => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    const more = () => {
      while (!socket.destroyed && socket.write(`1000\r\n${'z'.repeat(4096)}\r\n`)) {
        sent += 4096;
      }
    };
    socket.on('drain', more);
    more();
  });
  await using impatient = await open({ limits: { timeout: 500 } });
  await using gateway = await open();
  const attempt = async (url: string, at = gateway) => {
    const { ownerToken } = at.hub;
    const made = await at.call(ownerToken, 'POST', '/v1/webhooks', { url, enabled: false });
    return (await at.call(ownerToken, 'POST', `/v1/webhooks/${made.body.id}/test`)).body;
  };
  for (const { url } of [hanging, dripping, informing]) {
    // Where the machine is busy the connection itself may take so long.
    assert.match((await attempt(url, impatient)).code, /^(?:timeout|connect)$/);
  }
  assert.equal((await attempt(nonsense.url)).code, 'malformed');
  assert.equal((await attempt(closing.url)).code, 'reset');
  assert.equal((await attempt(giant.url)).code, 'malformed');
  assert.equal((await attempt(switching.url)).code, 'malformed');
  assert.equal((await attempt('http://127.0.0.1:1/')).code, 'refused');
  // 200 is 200; what follows is not read for long.
  assert.equal((await attempt(endless.url)).state, 'delivered');
  await until('all connections are closed', () =>
    [hanging, dripping, informing, giant, switching, endless].every(({ sockets }) => sockets.size === 0),
  );
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
});

test('an endpoint that answers without reading keeps no connection', async () => {
  const length = 32 * 1024 * 1024;
  let received = 0;
  const raw = await rawServer(socket => {
    socket.pause();
    socket.on('data', bytes => {
      received += bytes.length;
    });
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  });
  await using _ = raw;
  const clock = systemClock;
  const guard = createGuard({ clock, lookup: () => undefined, allowPrivate: loopback, patience: 1 });
  using poster = createPoster({ clock, guard, limits: webhookLimits });
  const reply = await poster.post(new URL(raw.url), {}, Buffer.alloc(length));
  assert.equal(reply.state, 'delivered');
  for (const socket of raw.sockets) {
    socket.resume();
  }
  await until('it is closed', () => raw.sockets.size === 0);
  assert.ok(received < length, 'the rest was not sent');
});

test('endpoints that hang do not hold up those of others, nor the hub', async () => {
  await using hanging = await rawServer(() => undefined);
  await using receiver = await openReceiver();
  await using gateway = await open({
    limits: { slots: 4, doubtful: 2, perClientSlots: 2, timeout: 60_000, firstRetry: 1, longestRetry: 1 },
  });
  const bad = await gateway.client('bad');
  const good = await gateway.client('good');
  for (let n = 0; n < 8; n++) {
    await gateway.call(bad, 'POST', '/v1/webhooks', { url: hanging.url, events: ['message.accepted'] });
  }
  await gateway.call(good, 'POST', '/v1/webhooks', { url: receiver.url, events: ['message.accepted'] });
  await gateway.call(bad, 'POST', '/v1/messages', { to: 'app:bad', text: 'x' });
  await until('they hang', () => hanging.sockets.size === 2);
  for (let n = 0; n < 20; n++) {
    await gateway.call(good, 'POST', '/v1/messages', { to: 'app:good', text: String(n) });
  }
  await until('the good one has all', () => receiver.received.length === 20);
  assert.equal(hanging.sockets.size, 2);
});

test('endpoints whose names nobody answers for hold up no other, not even of the same client', async () => {
  await using receiver = await openReceiver();
  const asked = new Set<string>();
  const lookup: Lookup = (hostname, callback) => {
    asked.add(hostname);
    if (hostname === 'good.example') {
      setImmediate(() => callback(null, [{ address: '127.0.0.1', family: 4 }]));
    }
  };
  await using gateway = await open({ lookup, limits: { lookup: 1000, firstRetry: 1, longestRetry: 1 } });
  const token = await gateway.client('a');
  const events = ['message.accepted'];
  const made = await Promise.all([
    ...Array.from({ length: 15 }, (_, n) =>
      gateway.call(token, 'POST', '/v1/webhooks', { url: `http://dead-${n}.example/`, events }),
    ),
    gateway.call(token, 'POST', '/v1/webhooks', { url: `http://good.example:${receiver.port}/`, events }),
  ]);
  assert.deepEqual([...new Set(made.map(one => one.status))], [201]);
  asked.clear();
  for (let n = 0; n < 20; n++) {
    await gateway.call(token, 'POST', '/v1/messages', { to: 'app:a', text: String(n) });
    await until('the good one has it', () => receiver.received.length === n + 1);
  }
  assert.equal(asked.size, 16, 'all of them were tried at once');
  const dead = made[0]?.body.id;
  const failure = await until('a dead one says why', async () => {
    const { body } = await gateway.call(token, 'GET', `/v1/webhooks/${dead}`);
    return body.lastFailure;
  });
  assert.equal(failure.code, 'dns');
  assert.match(failure.reason, /EAI_AGAIN/);
});

test('what a URL and a secret say is in no log', async () => {
  const lines: string[] = [];
  const note = (facts: object, message: string) => void lines.push(JSON.stringify({ ...facts, message }));
  const log: Log = {
    ...silentLog,
    trace: note,
    debug: note,
    info: note,
    warn: note,
    error: note,
    child: () => log,
  };
  await using receiver = await openReceiver();
  await using gateway = await open({}, log);
  const token = await gateway.client('a');
  receiver.answer = status(410);
  const url = `${receiver.url}/T0P-S3CRET?key=hidden`;
  const made = await gateway.call(token, 'POST', '/v1/webhooks', { url, events: ['message.accepted'] });
  await gateway.call(token, 'POST', '/v1/messages', { to: 'app:a', text: 'private words' });
  await until('it is off', async () => {
    const { body } = await gateway.call(token, 'GET', `/v1/webhooks/${made.body.id}`);
    return body.state === 'disabled';
  });
  const all = lines.join('\n');
  assert.match(all, /a webhook was disabled/);
  assert.doesNotMatch(all, /T0P-S3CRET|hidden|private words/);
  assert.ok(!all.includes(made.body.secret));
});
