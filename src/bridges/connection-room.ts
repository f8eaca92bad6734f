import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';

export interface ConnectionLimits {
  /** Connections in all: more are not taken. */
  readonly connections: number;
  /** Connections nobody's request is answered on now: silent, half a request, or kept alive. The oldest give way. */
  readonly idleConnections: number;
  /** As many may be idle where the oldest is not so for `idleGrace` ms yet: what comes all at once is let speak. */
  readonly idleBurst: number;
  readonly idleGrace: number;
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
  { connections, idleConnections, idleBurst, idleGrace }: ConnectionLimits,
  { clock, counters }: { readonly clock: Clock; readonly counters: Counters },
  name: string,
): ConnectionRoom {
  const strangers = new Idle();
  const known = new Idle();
  const kept = new WeakSet<Socket>();
  /** Requests that are not answered yet: a client may send several before it has an answer. */
  const open = new WeakMap<Socket, number>();
  /** A request that was destroyed, half read, has no socket any more, nor has an answer that is over. */
  const sockets = new WeakMap<ServerResponse, Socket>();
  server.maxConnections = connections;

  function enter(socket: Socket, idle: Idle): void {
    if (socket.destroyed || kept.has(socket)) {
      return;
    }
    const now = clock.monotonic();
    idle.add(socket, now);
    // Two for one, so that a burst that was let in is worn down again.
    for (let n = 0; n < 2 && strangers.size + known.size > idleConnections; n++) {
      const oldest = strangers.oldest() ?? known.oldest();
      const isFull = strangers.size + known.size > idleBurst;
      if (oldest === undefined || (!isFull && now - oldest.since < idleGrace)) {
        return;
      }
      leave(oldest.socket);
      counters.add(`${name}/idle-closed`);
      oldest.socket.destroy();
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
  // The same for all: one made for each request, and taken off again, costs as much as all the rest here.
  function answered(this: ServerResponse): void {
    const socket = sockets.get(this);
    if (socket === undefined) {
      return;
    }
    const { headers } = this.req;
    const left = (open.get(socket) ?? 1) - 1;
    open.set(socket, left);
    if (left > 0) {
      return;
    }
    const { authorization, cookie } = headers;
    const proven = this.statusCode < 400 && (authorization ?? cookie) !== undefined;
    enter(socket, proven ? known : strangers);
  }
  server.on('request', (request, response) => {
    const { socket } = request;
    leave(socket);
    open.set(socket, (open.get(socket) ?? 0) + 1);
    sockets.set(response, socket);
    response.on('close', answered);
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
  readonly #addresses = new Map<Socket, { readonly address: string; readonly since: number }>();

  get size(): number {
    return this.#addresses.size;
  }

  add(socket: Socket, now: number): void {
    this.delete(socket);
    const address = socket.remoteAddress ?? '';
    this.#addresses.set(socket, { address, since: now });
    this.#byAddress.getOrInsertComputed(address, () => new Set()).add(socket);
  }

  delete(socket: Socket): void {
    const entry = this.#addresses.get(socket);
    if (entry === undefined) {
      return;
    }
    this.#addresses.delete(socket);
    const sockets = this.#byAddress.get(entry.address);
    sockets?.delete(socket);
    if (sockets?.size === 0) {
      this.#byAddress.delete(entry.address);
    }
  }

  /** The oldest of the address that has most, and since when it is idle. */
  oldest(): { readonly socket: Socket; readonly since: number } | undefined {
    let most: Set<Socket> | undefined;
    for (const sockets of this.#byAddress.values()) {
      if (sockets.size > (most?.size ?? 0)) {
        most = sockets;
      }
    }
    const socket = most?.values().next().value;
    return socket === undefined ? undefined : { socket, since: this.#addresses.get(socket)?.since ?? 0 };
  }
}
