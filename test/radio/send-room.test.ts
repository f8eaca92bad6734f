import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { frame } from '../../src/radio/framing/hdlc.ts';
import { HdlcSocket } from '../../src/radio/hdlc-socket.ts';
import { SendRoom, sendLimit } from '../../src/radio/send-room.ts';
import { packetOf, until } from '../contract/interface.ts';

describe('the room for what waits to be sent', () => {
  test('is bounded for each peer and in all, and keeps a little for each', () => {
    const room = new SendRoom(6 * 2 ** 20);
    assert.ok(room.take(0, sendLimit));
    assert.equal(room.take(sendLimit, 1), false, 'one peer has no more');
    assert.ok(room.take(0, 2 ** 20));
    assert.equal(room.take(2 ** 20, 2 ** 20 + 1), false, 'all have no more together');
    assert.ok(room.take(0, 65_536), 'whoever has nothing waiting has a little room');
    assert.equal(room.take(65_536, 2 ** 20), false);
    room.give(sendLimit);
    assert.equal(room.held, 2 ** 20 + 65_536);
    assert.ok(room.take(65_536, 2 ** 20));
  });

  test('is given back when what waited was sent, and when its peer is gone', async () => {
    const arrived: Socket[] = [];
    const server = createServer(socket => arrived.push(socket.pause().on('error', () => {})));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const room = new SendRoom();
    const open = async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return new HdlcSocket(socket, { clock: systemClock, room });
    };
    const [one, other] = [await open(), await open()];
    const none = { ready() {}, attach() {}, receive: () => undefined };
    const stop = new AbortController();
    const running = [one, other].map(socket => socket.run(none, stop.signal).catch(() => {}));
    await until(() => arrived.length === 2);
    const sends: Promise<unknown>[] = [];
    for (const socket of [one, other]) {
      const before = room.held;
      for (let at = 0; room.held === before && at < 1000; at++) {
        sends.push(socket.send(packetOf(100_000)).catch(() => {}));
        await Promise.resolve();
      }
      sends.push(socket.send(packetOf(100_000)).catch(() => {}));
    }
    assert.ok(room.held >= 400_000);
    arrived[0]!.resume();
    await until(() => room.held < 400_000);
    stop.abort();
    await Promise.all([...running, ...sends]);
    assert.equal(room.held, 0);
    for (const socket of arrived) {
      socket.destroy();
    }
    server.close();
  });

  test('for packets that come in part is given back when their connection is gone', async () => {
    const server = createServer(socket => {
      socket.on('error', () => {}).write(frame(new Uint8Array(100_000).fill(1)).subarray(0, 80_000));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const inRoom = new SendRoom();
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const connection = new HdlcSocket(socket, { clock: systemClock, inRoom });
    const stop = new AbortController();
    const running = connection.run({ ready() {}, attach() {}, receive: () => undefined }, stop.signal);
    await until(() => inRoom.held >= 79_999);
    stop.abort();
    await running;
    assert.equal(inRoom.held, 0);
    server.close();
  });
});
