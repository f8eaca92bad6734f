import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import type { Framing } from './framing/framing.ts';
import { HdlcSocket, inWords } from './hdlc-socket.ts';
import { SendRoom } from './send-room.ts';

export interface SocketServerParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /** See `HdlcSocketParts`. */
  readonly framing?: Framing;
}

export interface SocketServerOptions {
  readonly listen: ListenOptions;
  /** Where that is, in words. */
  readonly where: string;
  /** Connections at once; one more takes the place of the oldest that said nothing, or is closed and counted. */
  readonly maxClients: number;
  /** What a connection is called; undefined for one that is gone already. */
  readonly nameOf: (socket: Socket) => string | undefined;
  /** Bytes of the largest packet. */
  readonly mtu: number;
  /** bit/s */
  readonly bitrate: number;
  /** See `HdlcSocketParts`. */
  readonly patient?: boolean;
}

/** Listens on a socket: each connection is an interface of its own, HDLC framed. */
export class SocketServer {
  readonly #options: SocketServerOptions;
  readonly #parts: SocketServerParts;
  /** The oldest first. */
  readonly #sockets = new Set<Socket>();
  /** Those that have not said anything yet: they give way when it is full. */
  readonly #silent = new Set<Socket>();
  readonly #room = new SendRoom();
  /** For packets whose end has not come: anybody can begin long ones over as many connections as there may be. */
  readonly #inRoom = new SendRoom();
  #server: Server | undefined;

  constructor(options: SocketServerOptions, parts: SocketServerParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** What it listens on, while it does; see `Server.address`. */
  get address(): ReturnType<Server['address']> {
    return this.#server?.address() ?? null;
  }

  /** Connections now. */
  get clients(): number {
    return this.#sockets.size;
  }

  /** See `Interface.run`. */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const server = createServer({ noDelay: true }, socket => this.#accept(socket, port));
    const ended = Promise.withResolvers<void>();
    const stop = () => ended.resolve();
    // Also while it ends: an accept that fails twice is no reason to end everything.
    server.on('error', error => {
      ended.reject(
        new GatewayError('radio/offline', `${this.#options.where}: ${inWords(error)}`, {
          retryable: true,
          cause: error,
        }),
      );
    });
    server.once('listening', () => {
      this.#server = server;
      port.ready();
    });
    signal.addEventListener('abort', stop, { once: true });
    server.listen(this.#options.listen);
    try {
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#server = undefined;
      await this.#close(server);
    }
  }

  #accept(socket: Socket, port: InterfacePort): void {
    const { nameOf, mtu, bitrate, patient = false } = this.#options;
    const name = nameOf(socket);
    if (name === undefined || !this.#hasRoom()) {
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
    const room = this.#room;
    const connection = new HdlcSocket(socket, { ...this.#parts, patient, room, inRoom: this.#inRoom });
    const spoke = () => this.#silent.delete(socket);
    port.attach(politePeer({ name, mtu, bitrate, connection, clock: this.#parts.clock, room, spoke }));
  }

  /** Whether one more may come. Where it is full, whoever has been here longest without a packet goes. */
  #hasRoom(): boolean {
    if (this.#sockets.size < this.#options.maxClients) {
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

interface PeerParts {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  readonly connection: HdlcSocket;
  readonly clock: Clock;
  readonly room: SendRoom;
  /** A packet came from it. */
  readonly spoke: () => void;
}

function politePeer({ name, mtu, bitrate, connection, clock, room, spoke }: PeerParts): Interface {
  const { promise: mayTalk, resolve: talk } = Promise.withResolvers<void>();
  let listening = true;
  /** Bytes that wait until it may be talked to. */
  let held = 0;
  return {
    name,
    mtu,
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
    send: packet => (listening ? sendLater(packet) : connection.send(packet)),
  };

  async function sendLater(packet: Uint8Array): Promise<void> {
    if (!room.take(held, packet.length)) {
      throw new GatewayError('store/full', 'too much is said before the peer is listened to', {
        retryable: true,
      });
    }
    held += packet.length;
    await mayTalk;
    held -= packet.length;
    room.give(packet.length);
    await connection.send(packet);
  }
}
