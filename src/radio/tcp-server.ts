import { GatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { hdlcFraming } from './framing/framing.ts';
import { SocketServer, type SocketServerParts } from './socket-server.ts';
import { carriedBy, upTo } from './tcp-client.ts';

export interface TcpServerOptions {
  readonly name: string;
  /** Address to listen on. */
  readonly host: string;
  /** 0 picks a free one: see `TcpServer.address`. */
  readonly port: number;
  /** Connections at once; one more takes the place of the oldest that said nothing, or is closed and counted. Default 500. */
  readonly maxClients?: number;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number | undefined;
  /** See `TcpClientOptions`. */
  readonly backbone?: boolean | undefined;
  /** Bytes of the largest packet, where both ends agreed on less than the usual: links are made no larger. */
  readonly fixedMtu?: number | undefined;
}

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

const defaultMaxClients = 500;

/** Lets other nodes connect: each connection is an interface of its own, HDLC framed. */
export class TcpServer implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  readonly listens = true;
  readonly #server: SocketServer;

  constructor(options: TcpServerOptions, parts: SocketServerParts) {
    const { name, host, port, maxClients = defaultMaxClients } = options;
    const { mtu, bitrate } = carriedBy(options);
    this.name = name;
    this.mtu = mtu;
    this.bitrate = bitrate;
    this.#server = new SocketServer(
      {
        listen: { host, port },
        where: `${host}:${port}`,
        maxClients,
        mtu,
        bitrate,
        nameOf({ remoteAddress, remotePort }) {
          const address = remoteAddress?.replace(/^::ffff:/, '');
          return address && `${name}/${address.includes(':') ? `[${address}]` : address}:${remotePort}`;
        },
      },
      { ...parts, framing: upTo(mtu, hdlcFraming) },
    );
  }

  /** Where it listens, while it does. */
  get address(): TcpAddress | undefined {
    const { address } = this.#server;
    return address === null || typeof address === 'string'
      ? undefined
      : { host: address.address, port: address.port };
  }

  /** Connections now. */
  get clients(): number {
    return this.#server.clients;
  }

  run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    return this.#server.run(port, signal);
  }

  /** Nothing is sent to a listener: what it found is attached and sends for itself. */
  async send(): Promise<void> {
    throw new GatewayError('radio/offline', `${this.name} only listens`);
  }
}
