import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Counters } from '../lib/counters.ts';

export interface ConnectionLimits {
  /** Connections in all: more are not taken. */
  readonly connections: number;
  /** Connections nobody's request is answered on now: silent, half a request, or kept alive. The oldest give way. */
  readonly idleConnections: number;
}

/** Who holds connections open and asks for nothing gives way to whoever comes. */
export interface ConnectionRoom {
  /** The connection is somebody's whom the hub knows, for as long as it lasts: it does not give way. */
  keep(socket: Socket): void;
}

/**
 * Watches the connections of a server. Opening one costs nothing, so what is merely open may not shut others out: above
 * the limit an idle one is closed, first of those on which nobody ever proved who they are, and of these the oldest of
 * the address that has most of them. A request that has arrived whole is never cut off by this.
 */
export function watchConnections(
  server: Server,
  { connections, idleConnections }: ConnectionLimits,
  counters: Counters,
  name: string,
): ConnectionRoom {
  const strangers = new Idle();
  const known = new Idle();
  const kept = new WeakSet<Socket>();
  server.maxConnections = connections;

  function enter(socket: Socket, idle: Idle): void {
    if (socket.destroyed || kept.has(socket)) {
      return;
    }
    idle.add(socket);
    if (strangers.size + known.size > idleConnections) {
      const oldest = strangers.oldest() ?? known.oldest();
      if (oldest !== undefined) {
        leave(oldest);
        counters.add(`${name}/idle-closed`);
        oldest.destroy();
      }
    }
  }

  function leave(socket: Socket): void {
    strangers.delete(socket);
    known.delete(socket);
  }

  server.on('connection', socket => {
    enter(socket, strangers);
    socket.once('close', () => leave(socket));
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    leave(socket);
    response.once('close', () => {
      const { authorization, cookie } = request.headers;
      const proven = response.statusCode < 400 && (authorization ?? cookie) !== undefined;
      enter(socket, proven ? known : strangers);
    });
  });
  server.on('drop', () => counters.add(`${name}/dropped`));
  return {
    keep(socket) {
      kept.add(socket);
      leave(socket);
    },
  };
}

/** Idle connections, by address and in the order in which they became idle. */
class Idle {
  readonly #byAddress = new Map<string, Set<Socket>>();
  readonly #addresses = new Map<Socket, string>();

  get size(): number {
    return this.#addresses.size;
  }

  add(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    this.#addresses.set(socket, address);
    this.#byAddress.getOrInsertComputed(address, () => new Set()).add(socket);
  }

  delete(socket: Socket): void {
    const address = this.#addresses.get(socket);
    if (address === undefined) {
      return;
    }
    this.#addresses.delete(socket);
    const sockets = this.#byAddress.get(address);
    sockets?.delete(socket);
    if (sockets?.size === 0) {
      this.#byAddress.delete(address);
    }
  }

  /** The oldest of the address that has most. */
  oldest(): Socket | undefined {
    let most: Set<Socket> | undefined;
    for (const sockets of this.#byAddress.values()) {
      if (sockets.size > (most?.size ?? 0)) {
        most = sockets;
      }
    }
    return most?.values().next().value;
  }
}
