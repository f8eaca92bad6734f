import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { multicastAddress, tokenOf } from '../../src/radio/lan/group.ts';
import { Lan } from '../../src/radio/lan/lan.ts';
import { type DatagramOptions, type Network, systemNetwork } from '../../src/radio/network.ts';
import { interfaceContract, type Medium } from '../contract/interface.ts';

/*
 * The Interface contract of a LAN on real sockets. Run inside a network namespace that has the two ends of a cable,
 * near0 and far0, by lan.test.ts.
 */

const group = { name: 'reticulum', scope: 'link', addressType: 'temporary' } as const;
const multicast = multicastAddress(group);

/** Ten times as fast as the wall's. */
const fastClock: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 10,
  sleep: (delay, signal) => systemClock.sleep(delay / 10, signal),
};

function addressOf(adapter: string): string {
  const found = networkInterfaces()[adapter]?.find(({ address }) => address.startsWith('fe80:'));
  if (found === undefined) {
    throw new Error(`${adapter} has no link-local address`);
  }
  return found.address;
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket({ type: 'udp6', reuseAddr: true });
  socket.bind(port, `${address}%far0`);
  await once(socket, 'listening');
  return socket;
}

async function medium(): Promise<Medium> {
  const [near, far] = [addressOf('near0'), addressOf('far0')];
  const opened: DatagramOptions[] = [];
  const network: Network = {
    ...systemNetwork,
    open: options => {
      opened.push(options);
      return systemNetwork.open(options);
    },
  };
  const data = await bound(far, 42_671);
  const heard = await bound(multicast, 29_716);
  heard.addMembership(multicast, '::%far0');
  const arrived: Uint8Array[] = [];
  data.on('message', bytes => void arrived.push(new Uint8Array(bytes)));
  heard.on('message', (_, { address }) => {
    const [bare] = address.split('%');
    if (bare !== far) {
      data.send(tokenOf('reticulum', far), 29_717, `${bare}%far0`);
    }
  });
  const options = { adapters: ['near0'], ignore: [], discoveryPort: 29_716, dataPort: 42_671, maxPeers: 8 };
  return {
    iface: new Lan(
      { name: 'lan', group, ...options },
      { clock: fastClock, counters: new Counters(), network },
    ),
    async far() {
      arrived.length = 0;
      return {
        arrived,
        send: (...packets) => {
          for (const packet of packets) {
            data.send(packet, 42_671, `${near}%far0`);
          }
        },
        cut: () => opened.at(-1)?.failed(new GatewayError('radio/offline', 'broken', { retryable: true })),
      };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [data, heard]) {
        socket.close();
        await once(socket, 'close');
      }
    },
  };
}

interfaceContract('a LAN on real sockets', medium);
