import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { systemRandom } from '../../src/lib/random.ts';
import type { Interface } from '../../src/mesh/interface.ts';
import { frame, HdlcDeframer } from '../../src/radio/framing/hdlc.ts';
import { LocalClient } from '../../src/radio/local-client.ts';
import { LocalServer } from '../../src/radio/local-server.ts';
import { addressOfPlace } from '../../src/radio/local-socket.ts';
import { type FarEnd, interfaceContract, type Medium, packetOf, until } from '../contract/interface.ts';

const skip = process.platform === 'linux' ? false : 'abstract sockets are of Linux';

function parts(counters = new Counters()) {
  return { clock: systemClock, random: systemRandom, counters };
}

/** An instance name that no other test run has. */
function aName(): string {
  return `test-${randomBytes(6).toString('hex')}`;
}

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

async function dialled(place: { name: string } | { port: number }): Promise<Socket> {
  const socket = connect(addressOfPlace(place));
  await once(socket, 'connect');
  return socket;
}

async function serverMedium(place: { name: string } | { port: number }): Promise<Medium> {
  const iface = new LocalServer({ name: 'shared-instance', place, maxPrograms: 8 }, parts());
  const sockets: Socket[] = [];
  return {
    iface,
    async far() {
      const where = async () => {
        await until(() => iface.port !== undefined);
        return { port: iface.port! };
      };
      const to = 'name' in place ? place : await where();
      for (;;) {
        try {
          const socket = await dialled(to);
          sockets.push(socket);
          return farEnd(socket);
        } catch {
          await new Promise(resolve => setTimeout(resolve, 5));
        }
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.filter(one => !one.closed)) {
        socket.destroy();
        await once(socket, 'close');
      }
    },
  };
}

async function clientMedium(): Promise<Medium> {
  const name = aName();
  const server = createServer();
  const sockets: Socket[] = [];
  server.on('connection', socket => {
    sockets.push(socket);
  });
  server.listen(addressOfPlace({ name }));
  await once(server, 'listening');
  let taken = 0;
  return {
    iface: new LocalClient({ name: 'rnsd', place: { name } }, parts()),
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

interfaceContract('the socket for programs of this machine over TCP', () => serverMedium({ port: 0 }));
describe('on Linux', { skip }, () => {
  interfaceContract('the socket for programs of this machine', () => serverMedium({ name: aName() }));
  interfaceContract('the way to the instance of this machine', clientMedium);
});

/** Runs a server and its programs until it is disposed. */
function running(iface: LocalServer) {
  const stop = new AbortController();
  const peers: Interface[] = [];
  const lives: Promise<void>[] = [];
  const port = {
    ready() {},
    receive() {},
    attach(peer: Interface) {
      peers.push(peer);
      lives.push(peer.run(port, stop.signal).catch(() => {}));
    },
  };
  const run = iface.run(port, stop.signal);
  return {
    peers,
    run,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([run, ...lives].map(one => one.catch(() => {})));
    },
  };
}

describe('the socket for programs', { skip }, () => {
  test('says that another instance is there already', async () => {
    const place = { name: aName() };
    const options = { name: 'shared-instance', place, maxPrograms: 8 };
    await using first = running(new LocalServer(options, parts()));
    const socket = await eventuallyDialled(place);
    await using second = running(new LocalServer(options, parts()));
    await assert.rejects(second.run, {
      code: 'radio/offline',
      message: `rns/${place.name}: another Reticulum instance of this machine is there already`,
      retryable: true,
    });
    socket.destroy();
    assert.equal(first.peers.length, 1);
  });

  test('gives every program a name of its own, and no other after a restart', async () => {
    const place = { name: aName() };
    const names: string[] = [];
    for (let life = 0; life < 2; life++) {
      const server = new LocalServer({ name: 'shared-instance', place, maxPrograms: 8 }, parts());
      await using served = running(server);
      const sockets = [await eventuallyDialled(place), await eventuallyDialled(place)];
      await until(() => served.peers.length === 2);
      names.push(...served.peers.map(({ name }) => name));
      for (const socket of sockets) {
        socket.destroy();
      }
    }
    assert.equal(new Set(names).size, 4);
    assert.ok(names.every(name => /^shared-instance\/[0-9a-f]{8}-[12]$/.test(name)));
  });

  test('keeps at most 4 MiB for a program that takes nothing, and keeps the program', async () => {
    const place = { name: aName() };
    const server = new LocalServer({ name: 'shared-instance', place, maxPrograms: 8 }, parts());
    await using served = running(server);
    const socket = await eventuallyDialled(place);
    socket.on('error', () => {});
    socket.pause();
    socket.write(frame(packetOf(20)));
    await until(() => served.peers.length === 1);
    const [program] = served.peers;
    const packet = new Uint8Array(100_000).fill(1);
    let refused = 0;
    for (let sent = 0; sent < 80; sent++) {
      program!.send(packet).catch((error: { code: string }) => {
        if (error.code === 'store/full') {
          refused += 1;
        }
      });
      await new Promise(resolve => setImmediate(resolve));
    }
    assert.ok(refused > 30 && refused < 45, `${refused} of 80 refused`);
    assert.equal(server.programs, 1);
    socket.resume();
    await program!.send(packetOf(30));
    socket.destroy();
  });

  test('turns away who comes when it is full of programs that speak', async () => {
    const place = { name: aName() };
    const counters = new Counters();
    const server = new LocalServer({ name: 'shared-instance', place, maxPrograms: 2 }, parts(counters));
    await using served = running(server);
    const sockets: Socket[] = [];
    for (let i = 0; i < 2; i++) {
      const socket = await eventuallyDialled(place);
      socket.write(frame(packetOf(40)));
      sockets.push(socket);
    }
    await until(() => served.peers.length === 2);
    await new Promise(resolve => setTimeout(resolve, 50));
    const third = await dialled(place);
    third.on('error', () => {});
    await once(third, 'close');
    assert.equal(counters.get('radio/too-many-clients'), 1);
    assert.equal(server.programs, 2);
    for (const socket of sockets) {
      socket.destroy();
    }
  });
});

async function eventuallyDialled(place: { name: string }): Promise<Socket> {
  for (;;) {
    try {
      return await dialled(place);
    } catch {
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  }
}
