import { toHex } from '../lib/bytes.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { addressOfPlace, type LocalPlace, localBitrate, localMtu, placeInWords } from './local-socket.ts';
import { SocketServer, type SocketServerParts } from './socket-server.ts';

export interface LocalServerOptions {
  readonly name: string;
  readonly place: LocalPlace;
  /** Programs at once; one more takes the place of the oldest that said nothing, or is turned away and counted. */
  readonly maxPrograms: number;
}

export interface LocalServerParts extends SocketServerParts {
  readonly random: Random;
}

/**
 * Lets programs of this machine use this node as their Reticulum instance: each is an interface of its own.
 * Attach it with the policy `local: 'programs'`. A program that takes nothing is not given up, for it may only
 * be stopped: at most 4 MiB wait for it, and what comes then is lost to it.
 */
export class LocalServer implements Interface {
  readonly name: string;
  readonly mtu = localMtu;
  readonly bitrate = localBitrate;
  readonly listens = true;
  readonly place: LocalPlace;
  readonly #server: SocketServer;
  #count = 0;

  constructor({ name, place, maxPrograms }: LocalServerOptions, parts: LocalServerParts) {
    this.name = name;
    this.place = place;
    // A program has no name, and what is remembered of one must not be taken for another after a restart.
    const life = toHex(parts.random.bytes(4));
    this.#server = new SocketServer(
      {
        listen: addressOfPlace(place),
        where: placeInWords(place),
        maxClients: maxPrograms,
        patient: true,
        mtu: localMtu,
        bitrate: localBitrate,
        nameOf: () => `${name}/${life}-${++this.#count}`,
      },
      parts,
    );
  }

  /** The TCP port it listens on, while it does; undefined on a unix socket. */
  get port(): number | undefined {
    const { address } = this.#server;
    return address === null || typeof address === 'string' ? undefined : address.port;
  }

  /** Where programs find it, in words. */
  get address(): string {
    return placeInWords(this.port === undefined ? this.place : { port: this.port });
  }

  /** Programs connected now. */
  get programs(): number {
    return this.#server.clients;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    try {
      await this.#server.run(port, signal);
    } catch (error) {
      if (error instanceof GatewayError && (error.cause as NodeJS.ErrnoException)?.code === 'EADDRINUSE') {
        throw new GatewayError(
          'radio/offline',
          `${placeInWords(this.place)}: another Reticulum instance of this machine is there already`,
          { retryable: true, cause: error },
        );
      }
      throw error;
    }
  }

  /** Nothing is sent to a listener: the programs it found are attached and send for themselves. */
  async send(): Promise<void> {
    throw new GatewayError('radio/offline', `${this.name} only listens`);
  }
}
