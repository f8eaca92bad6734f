import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { watchConnections } from '../../src/bridges/connection-room.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';

/** Room for one idle connection, and for no burst of them. */
const limits = { connections: 10, idleConnections: 1, idleBurst: 0, idleGrace: 0 };

test('a connection on which a second request waits is not idle when the first is answered', async () => {
  const counters = new Counters();
  const server = createServer();
  watchConnections(server, limits, { clock: systemClock, counters }, 'x');
  const waiting: ServerResponse[] = [];
  const bothAsked = Promise.withResolvers<void>();
  server.on('request', (_request, response) => {
    waiting.push(response);
    if (waiting.length === 2) {
      bothAsked.resolve();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  const answered = Promise.withResolvers<void>();
  answered.promise.catch(() => {});
  let heard = '';
  socket.on('close', () => answered.reject(new Error(`closed after ${heard}`)));
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString();
    if (heard.endsWith('two')) {
      answered.resolve();
    }
  });
  try {
    socket.write('GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
    await bothAsked.promise;
    const [first, second] = waiting as [ServerResponse, ServerResponse];
    const isOver = once(first, 'close');
    first.end('one');
    await isOver;
    // One more that says nothing: there is room for it only if the other is not idle.
    const silent = connect(port, '127.0.0.1').on('error', () => {});
    await once(server, 'connection');
    assert.equal(counters.snapshot()['x/idle-closed'], undefined);
    const isClosed = once(silent, 'close');
    second.end('two');
    await answered.promise;
    // Now both are, and the one that is so longer gives way.
    await isClosed;
    assert.equal(counters.snapshot()['x/idle-closed'], 1);
  } finally {
    socket.destroy();
    server.closeAllConnections();
    server.close();
  }
});

test('a connection is not known for what its requests say of themselves, and gives way before those that are', async () => {
  const counters = new Counters();
  const server = createServer();
  const two = { ...limits, idleConnections: 2 };
  const room = watchConnections(server, two, { clock: systemClock, counters }, 'x');
  const over: Promise<unknown>[] = [];
  server.on('request', (request, response) => {
    if (request.url === '/proven') {
      room.prove(request.socket);
    }
    over.push(once(response, 'close'));
    response.end('ok');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = () => connect(port, '127.0.0.1').on('error', () => {});
  const ask = async (path: string) => {
    const socket = open();
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: nonsense\r\n\r\n`);
    await once(socket, 'data');
    await over.at(-1);
    return socket;
  };
  const proven = await ask('/proven');
  const pretender = await ask('/');
  const closed = once(pretender, 'close');
  const newcomer = open();
  try {
    await once(server, 'connection');
    await closed;
    newcomer.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(newcomer, 'data');
    proven.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(proven, 'data');
    assert.equal(counters.snapshot()['x/idle-closed'], 1);
  } finally {
    for (const socket of [proven, pretender, newcomer]) {
      socket.destroy();
    }
    server.closeAllConnections();
    server.close();
  }
});

test('half a request of a stranger gives way, also behind one that was answered; that of whoever is known, and a whole one, does not', async () => {
  const counters = new Counters();
  const server = createServer();
  const whole = { ...limits, wantsWhole: true };
  const room = watchConnections(server, whole, { clock: systemClock, counters }, 'x');
  const waiting: ServerResponse[] = [];
  let arrived = Promise.withResolvers<void>();
  server.on('request', (request, response) => {
    if (request.url === '/known') {
      // As where who asks is found out a little later.
      queueMicrotask(() => room.prove(request.socket));
    }
    if (request.method === 'GET') {
      response.end('x');
    } else {
      waiting.push(response);
      request.resume().on('end', () => arrived.resolve());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  const say = async (bytes: string) => {
    const isAsked = once(server, 'request');
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume();
    sockets.push(socket);
    socket.write(bytes);
    await isAsked;
    return socket;
  };
  const half = (path: string) => `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na`;
  try {
    const known = await say(half('/known'));
    const first = await say(half('/'));
    const firstIsClosed = once(first, 'close');
    const second = await say(`GET / HTTP/1.1\r\nhost: x\r\n\r\n${half('/')}`);
    await firstIsClosed;
    const secondIsClosed = once(second, 'close');
    const third = await say(half('/'));
    await secondIsClosed;
    arrived = Promise.withResolvers();
    third.write('bc');
    await arrived.promise;
    const fourth = await say(half('/'));
    const fourthIsClosed = once(fourth, 'close');
    connect(port, '127.0.0.1', function (this: Socket) {
      sockets.push(this);
    });
    await fourthIsClosed;
    assert.equal(counters.snapshot()['x/idle-closed'], 3);
    for (const [socket, rest] of [
      [known, 'bc'],
      [third, ''],
    ] as const) {
      socket.write(rest);
      const heard = once(socket, 'data');
      for (const response of waiting) {
        response.end('y');
      }
      await heard;
    }
  } finally {
    for (const socket of sockets) {
      socket.destroy();
    }
    server.closeAllConnections();
    server.close();
  }
});
