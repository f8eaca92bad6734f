import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { IdleLines, type Standing } from './idle-lines.ts';
import { type Line, Lines } from './lines.ts';

export interface ConnectionLimits {
  /** Connections in all: more are not taken. */
  readonly connections: number;
  /** Connections nobody's request is answered on now: silent, half a request, or kept alive. The oldest give way. */
  readonly idleConnections: number;
  /** As many may be idle where the oldest is not so for `idleGrace` ms yet: what comes all at once is let speak. */
  readonly idleBurst: number;
  readonly idleGrace: number;
  /** A stranger's request is none before its body is there: for a server that does nothing with one before it knows whose it is. */
  readonly wantsWhole?: boolean;
}

/** Who holds connections open and asks for nothing gives way to whoever comes. */
export interface ConnectionRoom {
  /** The connection is somebody's whom the hub knows, for as long as it lasts: it does not give way. */
  keep(socket: Socket): void;
  /** Somebody has proven on it who they are: it gives way after those of strangers. What a request says of itself proves nothing. */
  prove(socket: Socket): void;
  readonly lines: Lines;
}

/**
 * Watches the connections of a server. Opening one costs nothing, so what is merely open may not shut others out: above
 * the limit an idle one is closed, first of those on which nobody ever proved who they are, and of these the oldest of
 * the address that has most of them. A request that has arrived whole is never cut off by this.
 */
export function watchConnections(
  server: Server,
  { connections, idleConnections, idleBurst, idleGrace, wantsWhole = false }: ConnectionLimits,
  { clock, counters }: { readonly clock: Clock; readonly counters: Counters },
  name: string,
): ConnectionRoom {
  const idle = new IdleLines();
  const kept = new WeakSet<Socket>();
  server.maxConnections = connections;

  function enter({ socket, place }: Line, standing: Standing): void {
    if (place === undefined || socket.destroyed || kept.has(socket)) {
      return;
    }
    const now = clock.monotonic();
    idle.enter(place, standing, now);
    // Two for one, so that a burst that was let in is worn down again.
    for (let n = 0; n < 2 && idle.size > idleConnections; n++) {
      const oldest = idle.oldest();
      if (oldest === undefined || (idle.size <= idleBurst && now - oldest.since < idleGrace)) {
        return;
      }
      idle.leave(oldest);
      counters.add(`${name}/idle-closed`);
      oldest.socket.destroy();
    }
  }

  function leave({ place }: Line): void {
    if (place !== undefined) {
      idle.leave(place);
    }
  }

  /** Whether what was asked last is half a request of a stranger. */
  function isHalf({ isProven, request }: Line): boolean {
    return wantsWhole && !isProven && request !== undefined && !request.complete && hasBody(request);
  }

  const lines = new Lines(server, {
    opened(line) {
      line.place = idle.open(line.socket);
      enter(line, 'stranger');
    },
    asked(line) {
      if (!isHalf(line)) {
        leave(line);
        return;
      }
      const { request } = line;
      request?.once('end', () => {
        if (line.request === request) {
          leave(line);
        }
      });
    },
    wentOn(line) {
      if (isHalf(line)) {
        enter(line, 'stranger');
      }
    },
    answered(line, { statusCode }) {
      enter(line, line.isProven && statusCode < 400 ? 'known' : 'stranger');
    },
    closed({ place }) {
      if (place !== undefined) {
        idle.close(place);
      }
    },
  });
  server.on('drop', () => counters.add(`${name}/dropped`));
  return {
    keep(socket) {
      kept.add(socket);
      const line = lines.of(socket);
      if (line !== undefined) {
        leave(line);
      }
    },
    prove(socket) {
      const line = lines.of(socket);
      if (line !== undefined) {
        line.isProven = true;
        if (line.open > 0) {
          leave(line);
        }
      }
    },
    lines,
  };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
