import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { GatewayError } from '../lib/errors.ts';
import { inWords } from './hdlc-socket.ts';

/** An address of a network adapter of this machine. */
export interface AdapterAddress {
  readonly address: string;
  readonly family: 'IPv4' | 'IPv6';
  /** Loopback, or another that leads nowhere. */
  readonly internal: boolean;
  /** The number of the adapter, with IPv6 addresses. */
  readonly scopeid?: number;
}

/** The addresses of each network adapter that is up, by the adapter's name. */
export type Adapters = Readonly<Record<string, readonly AdapterAddress[] | undefined>>;

/** Who sent a datagram. A link-local address ends in `%` and the name of the adapter it came by. */
export interface DatagramSource {
  readonly address: string;
  readonly port: number;
}

export interface DatagramOptions {
  /** Where to listen; a link-local address with `%` and the adapter's name. */
  readonly address: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Others on this machine may listen there as well. */
  readonly shared?: boolean;
  readonly broadcast?: boolean;
  /** A multicast address to listen to, on one adapter. */
  readonly join?: { readonly group: string; readonly adapter: string };
  /** The adapter by which multicasts leave. */
  readonly multicastBy?: string;
  /** The bytes change owner. */
  readonly receive: (bytes: Uint8Array, from: DatagramSource) => void;
  /** The socket does not work any more; it is to be closed all the same. */
  readonly failed: (error: GatewayError) => void;
}

/** An open UDP socket. */
export interface Datagrams {
  readonly address: string;
  readonly port: number;
  /** Rejects with `radio/offline`, `store/full` where too much waits already, `mesh/too-large`. */
  send(bytes: Uint8Array, port: number, address: string): Promise<void>;
  /** Joins its multicast group anew, which switches on the way take as news. Throws `radio/offline`. */
  rejoin(): void;
  close(): Promise<void>;
}

/** What of the machine's network the media of datagrams need; given so that tests have a network of their own. */
export interface Network {
  /** Throws `radio/device` where the machine does not say. */
  adapters(): Adapters;
  /** Rejects with `radio/offline`, in words. */
  open(options: DatagramOptions): Promise<Datagrams>;
  /** Whether datagrams would find a way to an address now; rejects with `radio/offline`, in words, where not. */
  route(address: string, port: number, broadcast: boolean): Promise<void>;
}

/** Bytes that may wait in one socket before more is refused. */
const sendLimit = 4 * 1024 * 1024;
/** Bytes the kernel is asked to hold for us: a window of parts comes in one burst. */
const receiveBuffer = 1024 * 1024;

/** The machine's own network. */
export const systemNetwork: Network = {
  adapters() {
    try {
      return networkInterfaces();
    } catch (cause) {
      throw new GatewayError('radio/device', 'the machine does not list its network adapters', {
        retryable: true,
        cause,
      });
    }
  },

  async open(options) {
    const socket = createSocket({
      type: isIPv6(options.address) ? 'udp6' : 'udp4',
      reuseAddr: options.shared === true,
      // Addresses only, so nothing is to be looked up: without this each datagram takes a turn of its own.
      lookup: (address, _, found) => found(null, address, isIPv6(address) ? 6 : 4),
    });
    try {
      await bind(socket, options);
      prepare(socket, options);
    } catch (error) {
      await close(socket);
      throw offline(error);
    }
    socket.on('message', ({ buffer, byteOffset, byteLength }, from) =>
      options.receive(new Uint8Array(buffer, byteOffset, byteLength), from),
    );
    socket.on('error', error => options.failed(offline(error)));
    const { address, port } = socket.address();
    return {
      address,
      port,
      send: (bytes, to, where) => send(socket, bytes, to, where),
      rejoin: () => rejoin(socket, options),
      close: () => close(socket),
    };
  },

  async route(address, port, broadcast) {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once('error', reject);
    try {
      // Nothing is sent: the kernel looks the way up.
      socket.bind({ exclusive: true }, () => {
        try {
          socket.setBroadcast(broadcast);
          socket.connect(port, address, (error?: Error) => (error ? reject(error) : resolve()));
        } catch (error) {
          reject(error);
        }
      });
      await promise;
    } catch (error) {
      if (!broadcast && (error as NodeJS.ErrnoException).code === 'EACCES') {
        throw new GatewayError('radio/offline', 'that is a broadcast address, which is to be asked for', {
          retryable: true,
          cause: error,
        });
      }
      throw offline(error);
    } finally {
      await close(socket);
    }
  },
};

async function bind(socket: Socket, { address, port }: DatagramOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('error', reject);
  socket.bind({ address, port, exclusive: true }, resolve);
  await promise;
  socket.off('error', reject);
}

function prepare(socket: Socket, { broadcast, join, multicastBy }: DatagramOptions): void {
  if (broadcast === true) {
    socket.setBroadcast(true);
  }
  if (join !== undefined) {
    socket.addMembership(join.group, zoneOf(join.adapter));
  }
  if (multicastBy !== undefined) {
    socket.setMulticastInterface(zoneOf(multicastBy));
  }
  try {
    socket.setRecvBufferSize(receiveBuffer);
  } catch {
    // The kernel's own size does, with more loss in bursts.
  }
}

/** How Node wants an adapter named for IPv6 multicast. */
const zoneOf = (adapter: string) => `::%${adapter}`;

function rejoin(socket: Socket, { join }: DatagramOptions): void {
  if (join === undefined) {
    return;
  }
  try {
    socket.dropMembership(join.group, zoneOf(join.adapter));
  } catch {
    // It was lost already, which is why it is joined anew.
  }
  try {
    socket.addMembership(join.group, zoneOf(join.adapter));
  } catch (error) {
    throw offline(error);
  }
}

async function send(socket: Socket, bytes: Uint8Array, port: number, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  try {
    if (socket.getSendQueueSize() > sendLimit) {
      throw new GatewayError('store/full', 'the network takes packets more slowly than they come', {
        retryable: true,
      });
    }
    socket.send(bytes, port, address, error => (error === null ? resolve() : reject(offline(error))));
  } catch (error) {
    throw offline(error);
  }
  await promise;
}

async function close(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('error', () => {});
  try {
    socket.close(resolve);
  } catch {
    resolve();
  }
  await promise;
}

/** What a socket says, as an error of ours. */
function offline(error: unknown): GatewayError {
  if (error instanceof GatewayError) {
    return error;
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EMSGSIZE') {
    return new GatewayError('mesh/too-large', 'longer than the network carries', { cause: error });
  }
  if (code === 'ENOBUFS' || code === 'EAGAIN') {
    return new GatewayError('store/full', 'the network takes nothing just now', {
      retryable: true,
      cause: error,
    });
  }
  return new GatewayError('radio/offline', inWords(error as Error), { retryable: true, cause: error });
}
