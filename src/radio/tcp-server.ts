import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { HdlcSocket, inWords } from './hdlc-socket.ts';
import { tcpBitrate, tcpMtu } from './tcp-client.ts';

export interface TcpServerOptions {
  readonly name: string;
  /** Address to listen on. */
  readonly host: string;
  /** 0 picks a free one: see `TcpServer.address`. */
  readonly port: number;
  /** Connections at once; one more takes the place of the oldest that said nothing, or is closed and counted. Default 500. */
  readonly maxClients?: number;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number;
}

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

export interface TcpServerParts {
  readonly clock: Clock;
  readonly counters: Counters;
}

const defaultMaxClients = 500;

/** Lets other nodes connect: each connection is an interface of its own, HDLC framed. */
export class TcpServer implements Interface {
  readonly name: string;
  readonly mtu = tcpMtu;
  readonly bitrate: number;
  readonly listens = true;
  readonly #options: TcpServerOptions;
  readonly #parts: TcpServerParts;
  /** The oldest first. */
  readonly #sockets = new Set<Socket>();
  /** Those that have not said anything yet: they give way when it is full. */
  readonly #silent = new Set<Socket>();
  #address: TcpAddress | undefined;

  constructor(options: TcpServerOptions, parts: TcpServerParts) {
    this.name = options.name;
    this.bitrate = options.bitrate ?? tcpBitrate;
    this.#options = options;
    this.#parts = parts;
  }

  /** Where it listens, while it does. */
  get address(): TcpAddress | undefined {
    return this.#address;
  }

  /** Connections now. */
  get clients(): number {
    return this.#sockets.size;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const server = createServer({ noDelay: true }, socket => this.#accept(socket, port));
    const ended = Promise.withResolvers<void>();
    const stop = () => ended.resolve();
    server.once('error', error => {
      const { host, port: number } = this.#options;
      ended.reject(
        new GatewayError('radio/offline', `${host}:${number}: ${inWords(error)}`, {
          retryable: true,
          cause: error,
        }),
      );
    });
    server.once('listening', () => {
      this.#address = boundAddress(server);
      port.ready();
    });
    signal.addEventListener('abort', stop, { once: true });
    server.listen(this.#options.port, this.#options.host);
    try {
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#address = undefined;
      await this.#close(server);
    }
  }

  /** Nothing is sent to a listener: what it found is attached and sends for itself. */
  async send(): Promise<void> {
    throw new GatewayError('radio/offline', `${this.name} only listens`);
  }

  #accept(socket: Socket, port: InterfacePort): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || !this.#hasRoom()) {
      this.#parts.counters.add('radio/too-many-clients');
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#silent.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#silent.delete(socket);
    });
    const address = remoteAddress.replace(/^::ffff:/, '');
    const name = `${this.name}/${address.includes(':') ? `[${address}]` : address}:${remotePort}`;
    const spoke = () => this.#silent.delete(socket);
    port.attach(tcpPeer(name, this.bitrate, new HdlcSocket(socket, this.#parts), this.#parts.clock, spoke));
  }

  /** Whether one more may come. Where it is full, whoever has been here longest without a packet goes. */
  #hasRoom(): boolean {
    if (this.#sockets.size < (this.#options.maxClients ?? defaultMaxClients)) {
      return true;
    }
    const [idle] = this.#silent;
    if (idle === undefined) {
      return false;
    }
    this.#parts.counters.add('radio/idle-client-gave-way');
    this.#sockets.delete(idle);
    this.#silent.delete(idle);
    idle.destroy();
    return true;
  }

  async #close(server: Server): Promise<void> {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed.promise;
  }
}

/**
 * ms that a new connection is listened to before anything is said over it, unless it speaks first. A reference
 * node connects before its interface is complete, and loses for good the one on which a packet comes that
 * early. Source: RNS 1.5.7, observed.
 */
const politeness = 1000;

function tcpPeer(
  name: string,
  bitrate: number,
  connection: HdlcSocket,
  clock: Clock,
  spoke: () => void,
): Interface {
  const { promise: mayTalk, resolve: talk } = Promise.withResolvers<void>();
  let listening = true;
  return {
    name,
    mtu: tcpMtu,
    bitrate,
    async run(port, signal) {
      const heard = () => {
        listening = false;
        talk();
      };
      const cancel = clock.after(politeness, heard);
      try {
        await connection.run(
          {
            ...port,
            receive(packet, quality) {
              if (listening) {
                heard();
              }
              spoke();
              return port.receive(packet, quality);
            },
          },
          signal,
        );
      } finally {
        cancel();
        heard();
      }
    },
    send: packet => (listening ? mayTalk.then(() => connection.send(packet)) : connection.send(packet)),
  };
}

function boundAddress(server: Server): TcpAddress | undefined {
  const address = server.address();
  return address === null || typeof address === 'string'
    ? undefined
    : { host: address.address, port: address.port };
}
