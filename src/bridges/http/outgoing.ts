import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { GatewayError } from '../../lib/errors.ts';

/** Bytes of answers that are made and that nobody has taken yet: of one client, of all. */
export const mostOutgoing = { ofClient: 16 * 1024 * 1024, ofAll: 64 * 1024 * 1024 };

/** Smaller ones are no more than what their sockets hold anyhow. */
const small = 16 * 1024;

/**
 * What answers hold in memory while nobody reads them: a client may ask for page after page and take none of them. Whoever
 * has too much there is told so before more is made.
 */
export interface Outgoing {
  /**
   * Resolves when what was asked before on the same connection is answered and taken: answers leave in the order of the
   * requests, so that none is made earlier than it can leave. Throws `request/invalid` where the connection is gone by then.
   */
  turn(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /**
   * Throws `request/rate-limited` where the client, or all together, have too much already. An answer that is known to have so
   * few `bytes` that they are not counted passes.
   */
  check(client: string, bytes?: number): void;
  /** Counts so many bytes until the response is over. */
  hold(client: string, response: ServerResponse, bytes: number): void;
}

export function createOutgoing(): Outgoing {
  const held = new Map<string, number>();
  let all = 0;
  const newest = new WeakMap<Socket, ServerResponse>();
  return {
    async turn({ socket }, response) {
      const before = newest.get(socket);
      newest.set(socket, response);
      if (before === undefined || before.closed) {
        return;
      }
      await new Promise(resolve => before.once('close', resolve));
      if (socket.destroyed) {
        throw new GatewayError('request/invalid', 'nobody is there for the answer');
      }
    },
    check(client, bytes = Number.POSITIVE_INFINITY) {
      if (bytes <= small) {
        return;
      }
      if ((held.get(client) ?? 0) >= mostOutgoing.ofClient || all >= mostOutgoing.ofAll) {
        throw new GatewayError('request/rate-limited', 'take the answers that are there first', {
          retryable: true,
          detail: { retryAfter: 1 },
        });
      }
    },
    hold(client, response, bytes) {
      if (bytes <= small || response.closed) {
        return;
      }
      held.set(client, (held.get(client) ?? 0) + bytes);
      all += bytes;
      response.once('close', () => {
        all -= bytes;
        const left = (held.get(client) ?? 0) - bytes;
        if (left > 0) {
          held.set(client, left);
        } else {
          held.delete(client);
        }
      });
    },
  };
}
