import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { type Adapters, type DatagramOptions, type Network, systemNetwork } from '../../src/radio/network.ts';
import { Udp, type UdpOptions } from '../../src/radio/udp.ts';
import { interfaceContract, type Medium, packetOf, until } from '../contract/interface.ts';
import { ManualClock } from '../sim/clock.ts';

const silent = { ready() {}, receive() {}, attach() {} };

async function bound(): Promise<{ socket: Socket; port: number; arrived: Uint8Array[] }> {
  const socket = createSocket('udp4');
  const arrived: Uint8Array[] = [];
  socket.on('message', bytes => void arrived.push(new Uint8Array(bytes)));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, port: socket.address().port, arrived };
}

function options(forward: number, more: Partial<UdpOptions> = {}): UdpOptions {
  return {
    name: 'udp',
    listen: { host: '127.0.0.1', port: 0 },
    forward: { host: '127.0.0.1', port: forward },
    broadcast: false,
    ...more,
  };
}

async function medium(): Promise<Medium> {
  const { socket, port, arrived } = await bound();
  const open: DatagramOptions[] = [];
  const network: Network = {
    ...systemNetwork,
    open: wanted => {
      open.push(wanted);
      return systemNetwork.open(wanted);
    },
  };
  const iface = new Udp(options(port), { clock: systemClock, counters: new Counters(), network });
  return {
    iface,
    async far() {
      await until(() => iface.address !== undefined);
      arrived.length = 0;
      const to = iface.address!;
      return {
        arrived,
        send: (...packets) => {
          for (const packet of packets) {
            socket.send(packet, to.port, to.host);
          }
        },
        cut: () => open.at(-1)?.failed(new GatewayError('radio/offline', 'broken', { retryable: true })),
      };
    },
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

interfaceContract('UDP', medium);

describe('UDP', () => {
  test('says where it listens while it does', async () => {
    const { socket, port } = await bound();
    const udp = new Udp(options(port), { clock: systemClock, counters: new Counters() });
    const where = () => udp.address;
    assert.equal(where(), undefined);
    const stop = new AbortController();
    const run = udp.run(silent, stop.signal);
    await until(() => where() !== undefined);
    assert.equal(where()?.host, '127.0.0.1');
    assert.notEqual(where()?.port, 0);
    stop.abort();
    await run;
    assert.equal(where(), undefined);
    socket.close();
  });

  test('says that its port is taken', async () => {
    const { socket, port } = await bound();
    const udp = new Udp(options(1, { listen: { host: '127.0.0.1', port } }), {
      clock: systemClock,
      counters: new Counters(),
    });
    await assert.rejects(udp.run(silent, new AbortController().signal), {
      code: 'radio/offline',
      message: `127.0.0.1:${port} to 127.0.0.1:1: the port is in use by another program`,
      retryable: true,
    });
    socket.close();
  });

  test('sends to a broadcast address only when that is asked for', async () => {
    const forward = { host: '127.255.255.255', port: 9 };
    const parts = { clock: systemClock, counters: new Counters() };
    const modest = new Udp(options(9, { forward }), parts);
    await assert.rejects(modest.run(silent, new AbortController().signal), {
      code: 'radio/offline',
      message: /: that is a broadcast address, which is to be asked for$/,
    });
    const loud = new Udp(options(9, { forward, broadcast: true }), parts);
    const stop = new AbortController();
    const run = loud.run(silent, stop.signal);
    await until(() => loud.address !== undefined);
    await loud.send(packetOf(20));
    stop.abort();
    await run;
  });

  test('does not hear itself where what it broadcasts comes back', async () => {
    const counters = new Counters();
    const received: number[] = [];
    let wanted: DatagramOptions | undefined;
    const network: Network = {
      ...systemNetwork,
      open: given => {
        wanted = given;
        return systemNetwork.open(given);
      },
    };
    const udp = new Udp(options(9, { broadcast: true }), { clock: systemClock, counters, network });
    const stop = new AbortController();
    const port = { ...silent, receive: (packet: Uint8Array) => void received.push(packet.length) };
    const run = udp.run(port, stop.signal);
    await until(() => udp.address !== undefined);
    const own = udp.address!.port;
    wanted?.receive(packetOf(30), { address: '127.0.0.1', port: own });
    wanted?.receive(packetOf(40), { address: '192.0.2.9', port: own });
    wanted?.receive(packetOf(50), { address: '127.0.0.1', port: own + 1 });
    assert.deepEqual(received, [40, 50]);
    stop.abort();
    await run;
  });

  test('takes the longest packet with its access code', async () => {
    const { socket, port } = await bound();
    const received: number[] = [];
    const udp = new Udp({ ...options(port), codeSize: 16 }, { clock: systemClock, counters: new Counters() });
    const stop = new AbortController();
    const run = udp.run({ ...silent, receive: packet => void received.push(packet.length) }, stop.signal);
    await until(() => udp.address !== undefined);
    for (const length of [1081, 1080]) {
      socket.send(packetOf(length), udp.address!.port, '127.0.0.1');
    }
    await until(() => received.length === 1);
    assert.deepEqual(received, [1080]);
    stop.abort();
    await run;
    socket.close();
  });

  test('drops what is too short or too long for a packet, and counts it', async () => {
    const { socket, port } = await bound();
    const counters = new Counters();
    const received: number[] = [];
    const udp = new Udp(options(port), { clock: systemClock, counters });
    const stop = new AbortController();
    const run = udp.run({ ...silent, receive: packet => void received.push(packet.length) }, stop.signal);
    await until(() => udp.address !== undefined);
    for (const length of [0, 19, 1065, 1064]) {
      socket.send(packetOf(length), udp.address!.port, '127.0.0.1');
    }
    await until(() => received.length === 1);
    assert.deepEqual(received, [1064]);
    assert.deepEqual(counters.snapshot(), { 'wire/malformed': 3 });
    await assert.rejects(udp.send(new Uint8Array(70_000)), { code: 'mesh/too-large' });
    stop.abort();
    await run;
    socket.close();
  });

  test('is offline when its address or the way is gone, and runs again when they are back', async () => {
    const clock = new ManualClock();
    let addresses: Adapters = { e0: [{ address: '192.0.2.1', family: 'IPv4', internal: false }] };
    let way = true;
    const network: Network = {
      adapters: () => addresses,
      open: async ({ address }) => ({
        address,
        port: 4243,
        send: async () => {
          if (!way) {
            throw new GatewayError('radio/offline', 'network unreachable', { retryable: true });
          }
        },
        rejoin() {},
        close: async () => {},
      }),
      route: async () => {
        if (!way) {
          throw new GatewayError('radio/offline', 'network unreachable', { retryable: true });
        }
      },
    };
    const udp = new Udp(options(4244, { listen: { host: '192.0.2.1', port: 4243 } }), {
      clock,
      counters: new Counters(),
      network,
    });
    const stop = new AbortController();
    const starting = async () => {
      const run = udp.run(silent, stop.signal);
      await until(() => udp.address !== undefined);
      await turn();
      return { run };
    };
    const first = await starting();
    const moved = assert.rejects(first.run, {
      code: 'radio/offline',
      message: /this machine does not have the address 192\.0\.2\.1 any more$/,
    });
    addresses = {};
    await clock.advance(5000);
    await moved;
    addresses = { e0: [{ address: '192.0.2.1', family: 'IPv4', internal: false }] };
    const second = await starting();
    const cut = assert.rejects(second.run, { code: 'radio/offline', message: /network unreachable$/ });
    way = false;
    await assert.rejects(udp.send(packetOf(20)), { code: 'radio/offline', message: 'network unreachable' });
    await cut;
    await assert.rejects(udp.run(silent, stop.signal), { code: 'radio/offline' });
    way = true;
    const third = await starting();
    await udp.send(packetOf(20));
    stop.abort();
    await third.run;
    await turn();
    assert.equal(clock.waiting, 0);
  });
});
