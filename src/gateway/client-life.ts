import type { Clock } from '../lib/clock.ts';

/** Why a client's right to what it holds open is over. `changed`: it may come back at once, with the rights it has now. */
export type ClientEnd = 'revoked' | 'expired' | 'changed';

/** The same for whoever is told. */
export const endWords: Readonly<Record<ClientEnd, string>> = {
  revoked: 'the token was revoked',
  expired: 'the token has expired',
  changed: 'the rights of this client were changed: connect again',
};

/** What is open on behalf of clients, told when it must end. */
export interface ClientLives {
  /** Calls once when it is over: at `until` (ms epoch), or before. Returns the way to stop. */
  watch(held: Held, onEnd: (why: ClientEnd) => void): () => void;
  /** The client was revoked, or has other rights. */
  end(id: string, why: ClientEnd): void;
  /** What was opened with this token ends then, or when it would have before. ms epoch. */
  limit(id: string, token: string, until: number): void;
}

export interface Held {
  /** The client's id. */
  readonly id: string;
  /** The hash of the token it was opened with; none over the control socket. */
  readonly token: string | undefined;
  readonly until: number | undefined;
}

interface Watch extends Held {
  until: number | undefined;
  readonly onEnd: (why: ClientEnd) => void;
  cancel: () => void;
}

export function createClientLives(clock: Clock): ClientLives {
  const open = new Map<string, Set<Watch>>();

  function stop(watch: Watch): void {
    watch.cancel();
    const mine = open.get(watch.id);
    mine?.delete(watch);
    if (mine?.size === 0) {
      open.delete(watch.id);
    }
  }

  /** A timer cannot be as long as a token may live, so it may fire early. */
  function arm(watch: Watch): void {
    watch.cancel();
    if (watch.until === undefined) {
      return;
    }
    const left = watch.until - clock.now();
    if (left <= 0) {
      stop(watch);
      watch.onEnd('expired');
      return;
    }
    watch.cancel = clock.after(left, () => arm(watch));
  }

  return {
    watch(held, onEnd) {
      const watch: Watch = { ...held, onEnd, cancel: () => {} };
      open.getOrInsertComputed(held.id, () => new Set()).add(watch);
      arm(watch);
      return () => stop(watch);
    },
    end(id, why) {
      for (const watch of [...(open.get(id) ?? [])]) {
        stop(watch);
        watch.onEnd(why);
      }
    },
    limit(id, token, until) {
      for (const watch of [...(open.get(id) ?? [])]) {
        if (watch.token === token) {
          watch.until = Math.min(until, watch.until ?? until);
          arm(watch);
        }
      }
    },
  };
}
