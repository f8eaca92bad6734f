import type { Client, Clients } from '../gateway/desk.ts';
import type { Clock } from '../lib/clock.ts';
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
  /** Aborted with `request/unauthenticated`. */
  readonly signal: AbortSignal;
}

/** Bounded, and bound to the life of tokens. */
export function createSessions(parts: { readonly clients: Clients; readonly clock: Clock }): Sessions {
  const { clients, clock } = parts;
  const open = new Map<string, Set<AbortController>>();
  let total = 0;
  const end = (controller: AbortController, why: string) => {
    controller.abort(new GatewayError('request/unauthenticated', why, { detail: { token: why } }));
  };
  clients.onRevoked(client => {
    for (const controller of open.get(client.id) ?? []) {
      end(controller, 'the token was revoked');
    }
  });
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
      let cancel = () => {};
      // A timer cannot be as long as a token may live, so it may fire early.
      const watch = (expiresAt: number) => {
        if (clock.now() >= expiresAt) {
          end(controller, 'the token has expired');
        } else {
          cancel = clock.after(expiresAt - clock.now(), () => watch(expiresAt));
        }
      };
      if (client.expiresAt !== undefined) {
        watch(client.expiresAt);
      }
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
