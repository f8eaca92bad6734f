import type { Clients } from '../gateway/client.ts';
import { type ClientEnd, endWords } from '../gateway/client-life.ts';
import type { Client } from '../gateway/desk.ts';
import { GatewayError } from '../lib/errors.ts';

/** Streams, sockets and long polls one client may hold at once, and all clients together. */
const perClient = 32;
const inAll = 2048;

/** What stays open on behalf of a client: ended when its token is revoked or expires. */
export interface Sessions {
  /** Throws `request/rate-limited` where too many are open. The signal tells when the client's right to it ends. */
  open(client: Client): Session;
}

export interface Session extends Disposable {
  /** Aborted with `request/unauthenticated`, or with `bridge/unavailable` where the client may come back at once. */
  readonly signal: AbortSignal;
}

/** Bounded, and bound to the life of tokens. */
export function createSessions({ clients }: { readonly clients: Clients }): Sessions {
  const open = new Map<string, Set<AbortController>>();
  let total = 0;
  return {
    open(client) {
      const mine = open.getOrInsertComputed(client.id, () => new Set());
      if (mine.size >= perClient || total >= inAll) {
        throw new GatewayError(
          'request/rate-limited',
          `${mine.size} streams of this client are open already`,
          {
            retryable: true,
          },
        );
      }
      const controller = new AbortController();
      mine.add(controller);
      total += 1;
      const cancel = clients.watch(client, why => controller.abort(endOf(why)));
      return {
        signal: controller.signal,
        [Symbol.dispose]() {
          cancel();
          if (!mine.delete(controller)) {
            return;
          }
          total -= 1;
          if (mine.size === 0) {
            open.delete(client.id);
          }
        },
      };
    },
  };
}

function endOf(why: ClientEnd): GatewayError {
  return why === 'changed'
    ? new GatewayError('bridge/unavailable', endWords[why], { retryable: true, detail: { retryAfter: 1 } })
    : new GatewayError('request/unauthenticated', endWords[why], {
        detail: { token: endWords[why], reason: why },
      });
}
