import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { linkMtuOf } from '../../src/mesh/reticulum/dispatch.ts';
import { frame, HdlcDeframer } from '../../src/radio/framing/hdlc.ts';
import { backboneMtu, TcpClient } from '../../src/radio/tcp-client.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { type FarEnd, interfaceContract, type Medium, packetOf, until } from '../contract/interface.ts';
import { ManualClock } from '../sim/clock.ts';

const parts = { clock: systemClock, counters: new Counters() };

function farEnd(socket: Socket): FarEnd {
  const deframer = new HdlcDeframer();
  const arrived: Uint8Array[] = [];
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => arrived.push(...deframer.feed(chunk)));
  return {
    arrived,
    send: (...packets) => void socket.write(Buffer.concat(packets.map(frame))),
    cut: () => void socket.destroy(),
  };
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

async function clientMedium(): Promise<Medium> {
  const server = createServer();
  const sockets: Socket[] = [];
  server.on('connection', socket => {
    sockets.push(socket);
  });
  const port = await listening(server);
  let taken = 0;
  return {
    iface: new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, parts),
    async far() {
      await until(() => sockets.length > taken);
      return farEnd(sockets[taken++]!);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}

async function serverMedium(): Promise<Medium> {
  const iface = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
  const sockets: Socket[] = [];
  return {
    iface,
    async far() {
      await until(() => iface.address !== undefined);
      const socket = connect(iface.address!.port, iface.address!.host);
      sockets.push(socket);
      await once(socket, 'connect');
      return farEnd(socket);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.filter(one => !one.closed)) {
        socket.destroy();
        await once(socket, 'close');
      }
    },
  };
}

interfaceContract('a TCP client', clientMedium);
interfaceContract('a TCP server', serverMedium);

function silentPort(attach: (peer: Interface) => void = () => {}) {
  return { ready() {}, receive() {}, attach };
}

test('a backbone carries packets of one MiB, and links of what 100 Mbit/s carry', async () => {
  const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0, backbone: true }, parts);
  const stop = new AbortController();
  const arrived = Promise.withResolvers<Uint8Array>();
  const peers: Promise<void>[] = [];
  const attach = (peer: Interface) =>
    void peers.push(peer.run({ ...silentPort(), receive: packet => arrived.resolve(packet) }, stop.signal));
  const running = server.run(silentPort(attach), stop.signal);
  await until(() => server.address !== undefined);
  const client = new TcpClient({ name: 'uplink', ...server.address!, backbone: true }, parts);
  const up = Promise.withResolvers<void>();
  const dialling = client.run({ ...silentPort(), ready: up.resolve }, stop.signal);
  await up.promise;
  const packet = new Uint8Array(backboneMtu).fill(0x7e);
  assert.deepEqual(
    [client.mtu, server.mtu, linkMtuOf(client.bitrate, client.mtu)],
    [packet.length, packet.length, 32_768],
  );
  await client.send(packet);
  const { length } = await arrived.promise;
  stop.abort();
  await Promise.all([running, dialling, ...peers]);
  assert.equal(length, packet.length);
});

describe('a TCP client', () => {
  test('says that nothing listens there', async () => {
    const server = createServer();
    const port = await listening(server);
    server.close();
    await once(server, 'close');
    const client = new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, parts);
    await assert.rejects(client.run(silentPort(), new AbortController().signal), {
      code: 'radio/offline',
      message: `127.0.0.1:${port}: connection refused: nothing listens there`,
      retryable: true,
    });
  });

  test('counts frames that hold no packet', async () => {
    const counters = new Counters();
    const server = createServer(socket => {
      socket.on('error', () => {});
      socket.write(
        Buffer.concat([frame(packetOf(5)), Buffer.from('7e007d007e', 'hex'), frame(packetOf(40))]),
      );
    });
    const port = await listening(server);
    const client = new TcpClient(
      { name: 'uplink', host: '127.0.0.1', port },
      { clock: systemClock, counters },
    );
    const stop = new AbortController();
    const received: Uint8Array[] = [];
    const run = client.run({ ...silentPort(), receive: packet => void received.push(packet) }, stop.signal);
    await until(() => received.length > 0);
    assert.deepEqual(received, [packetOf(40)]);
    assert.equal(counters.get('wire/malformed'), 2);
    stop.abort();
    await run;
    server.close();
  });

  test('refuses what a slow peer leaves too much of waiting, and loses nothing that it took', async () => {
    await using medium = await clientMedium();
    const stop = new AbortController();
    const run = medium.iface.run(silentPort(), stop.signal);
    const far = await medium.far();
    const codes: string[] = [];
    const sends = Array.from({ length: 400 }, () =>
      medium.iface.send(packetOf(16_384)).catch((error: { code: string }) => {
        codes.push(error.code);
      }),
    );
    await Promise.all(sends);
    assert.ok(codes.length > 0);
    assert.ok(codes.every(code => code === 'store/full'));
    await until(() => far.arrived.length === sends.length - codes.length);
    stop.abort();
    await run;
  });
});

describe('a TCP client that brings more than the mesh has room for', () => {
  test('reads its socket no further until there is room, and loses nothing', async () => {
    await using medium = await clientMedium();
    const stop = new AbortController();
    const packets: number[] = [];
    let room: PromiseWithResolvers<void> | undefined;
    const run = medium.iface.run(
      {
        ...silentPort(),
        receive(packet) {
          packets.push(packet.length);
          if (packets.length % 100 === 0) {
            room = Promise.withResolvers<void>();
            return room.promise;
          }
          return undefined;
        },
      },
      stop.signal,
    );
    const far = await medium.far();
    far.send(...Array.from({ length: 250 }, () => packetOf(400)));
    await until(() => packets.length === 100);
    far.send(...Array.from({ length: 50 }, () => packetOf(400)));
    assert.equal(packets.length, 100);
    room?.resolve();
    await until(() => packets.length === 200);
    assert.equal(packets.length, 200);
    room?.resolve();
    await until(() => packets.length === 300);
    stop.abort();
    room?.resolve();
    await run;
  });
});

describe('a TCP client whose peer takes nothing', () => {
  test('gives it up after 12 s, and rejects what waits for it', async () => {
    const clock = new ManualClock();
    const server = createServer(socket => {
      socket.on('error', () => {});
      socket.pause();
    });
    const port = await listening(server);
    const client = new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, { clock });
    const up = Promise.withResolvers<void>();
    const run = client.run({ ...silentPort(), ready: up.resolve }, new AbortController().signal);
    await up.promise;
    let failed = 0;
    const sends = Array.from({ length: 1500 }, () =>
      client.send(packetOf(16_384)).catch(() => {
        failed += 1;
      }),
    );
    await clock.advance(11_000);
    const full = failed;
    assert.ok(full > 0);
    const lost = assert.rejects(run, { code: 'radio/offline', message: /the peer takes nothing$/ });
    await clock.advance(12_000);
    await lost;
    await Promise.all(sends);
    assert.ok(failed > full);
    server.close();
  });
});

test('both ends of a TCP connection carry no more than was agreed on', () => {
  const parts = { clock: systemClock, counters: new Counters() };
  const place = { name: 'a', host: '127.0.0.1', port: 0 };
  assert.equal(new TcpClient({ ...place, fixedMtu: 1500 }, parts).mtu, 1500);
  assert.equal(new TcpServer({ ...place, fixedMtu: 1500 }, parts).mtu, 1500);
  assert.equal(new TcpServer(place, parts).mtu, 262_144);
});

describe('a TCP server', () => {
  test('says where it listens while it does', async () => {
    const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
    const where = () => server.address;
    assert.equal(where(), undefined);
    const stop = new AbortController();
    const run = server.run(silentPort(), stop.signal);
    await until(() => where() !== undefined);
    assert.equal(where()?.host, '127.0.0.1');
    assert.notEqual(where()?.port, 0);
    stop.abort();
    await run;
    assert.equal(where(), undefined);
  });

  test('says that its port is taken', async () => {
    const other = createServer();
    const port = await listening(other);
    const server = new TcpServer({ name: 'server', host: '127.0.0.1', port }, parts);
    await assert.rejects(server.run(silentPort(), new AbortController().signal), {
      code: 'radio/offline',
      message: `127.0.0.1:${port}: the port is in use by another program`,
    });
    other.close();
  });

  test('takes no more clients than it may, counts the others and goes on', async () => {
    const counters = new Counters();
    const server = new TcpServer(
      { name: 'server', host: '127.0.0.1', port: 0, maxClients: 1 },
      { ...parts, counters },
    );
    const stop = new AbortController();
    const peers: Interface[] = [];
    const runs: Promise<void>[] = [];
    let heard = 0;
    const run = server.run(
      silentPort(peer => {
        peers.push(peer);
        const port = { ...silentPort(), receive: () => void heard++ };
        runs.push(peer.run(port, stop.signal).catch(() => {}));
      }),
      stop.signal,
    );
    await until(() => server.address !== undefined);
    const silent = connect(server.address!.port);
    await until(() => peers.length === 1);
    // Whoever has said nothing gives way to a newcomer; whoever has spoken stays.
    const first = connect(server.address!.port);
    await once(silent, 'close');
    await until(() => peers.length === 2);
    assert.equal(counters.get('radio/idle-client-gave-way'), 1);
    first.write(frame(packetOf(40)));
    await until(() => heard === 1);
    const second = connect(server.address!.port);
    second.on('error', () => {});
    await once(second, 'close');
    assert.equal(counters.get('radio/too-many-clients'), 1);
    assert.equal(peers.length, 2);
    first.destroy();
    await until(() => server.clients === 0);
    const third = connect(server.address!.port);
    await until(() => peers.length === 3);
    assert.match(peers[2]!.name, /^server\/127\.0\.0\.1:\d+$/);
    stop.abort();
    await Promise.all([run, ...runs]);
    third.destroy();
  });
});
