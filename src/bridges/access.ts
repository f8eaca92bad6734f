import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { Client, Clients, Scope } from '../gateway/desk.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';

/** Wrong tokens an address may show before it has to wait, and how long it waits at first and at most, ms. */
const freeGuesses = 10;
const firstWait = 10_000;
const longestWait = 15 * 60_000;

/** Addresses remembered; the one that was silent longest is forgotten first. */
const mostAddresses = 4096;

/** Tokens remembered as good; there are never more clients than this in sensible use. */
const mostTokens = 4096;

/** Longest text taken as a token. */
const longestToken = 512;

interface Guesses {
  readonly wrong: number;
  /** ms, monotonic: until then every unknown token is refused unlooked at. */
  readonly until: number;
}

/** Who is calling, for every window that has an address and a token. */
export interface Access {
  /**
   * The client of a token shown from a remote address. Throws `request/unauthenticated` (`detail.token` says
   * whether it is wrong or expired) and, after too many wrong ones, `request/rate-limited` with `detail.retryAfter`.
   */
  client(token: string, remote: string): Client;
  /** The same from an `Authorization` header; without one, `request/unauthenticated`. */
  bearer(header: string | undefined, remote: string): Client;
  /** The owner, for the control socket, whose file mode is its authentication. */
  owner(): Client;
}

/**
 * Authentication with a lock-out by remote address. A token that was good before is always looked up, so that
 * one program with an old token does not lock out its neighbours on the same machine.
 */
export function createAccess(parts: { readonly clients: Clients; readonly clock: Clock }): Access {
  const { clients, clock } = parts;
  const guesses = new Map<string, Guesses>();
  const good = new Set<string>();

  const client = (token: string, remote: string): Client => {
    const place = placeOf(remote);
    const print = createHash('sha256').update(token).digest('base64');
    const before = guesses.get(place);
    const wait = (before?.until ?? 0) - clock.monotonic();
    if (wait > 0 && !good.has(print)) {
      throw new GatewayError('request/rate-limited', 'too many wrong tokens from this address', {
        retryable: true,
        detail: { retryAfter: wait / 1000 },
      });
    }
    const found = token.length <= longestToken ? clients.authenticate(token) : {};
    if (found.client !== undefined) {
      keep(good, print);
      return found.client;
    }
    // A token that was good once is no guess.
    if (!good.has(print) && found.expired !== true) {
      const wrong = (before?.wrong ?? 0) + 1;
      guesses.delete(place);
      guesses.set(place, { wrong, until: lockedUntil(wrong, clock.monotonic()) });
      if (guesses.size > mostAddresses) {
        guesses.delete(guesses.keys().next().value ?? '');
      }
    }
    const detail = found.expired === true ? 'the token has expired' : 'the token is not known';
    throw new GatewayError('request/unauthenticated', detail, { detail: { token: detail } });
  };

  return {
    client,
    bearer(header, remote) {
      if (header === undefined) {
        throw new GatewayError('request/unauthenticated', 'send Authorization: Bearer <token>');
      }
      const token = /^bearer +([\w.~+/-]+=*) *$/i.exec(header)?.[1];
      if (token === undefined) {
        const detail = 'the Authorization header is no Bearer token';
        throw new GatewayError('request/unauthenticated', detail, { detail: { token: detail } });
      }
      return client(token, remote);
    },
    owner() {
      const owner = clients.list().find(entry => entry.name === 'owner' && entry.revokedAt === undefined);
      return owner ?? { id: '0'.repeat(32), name: 'owner', scopes: ['admin'], rooms: ['hub'] };
    },
  };
}

/** Throws `request/forbidden` unless the client has one of the scopes; `admin` has all. */
export function requireScope(client: Client, scopes: readonly Scope[]): void {
  if (!client.scopes.includes('admin') && !scopes.some(scope => client.scopes.includes(scope))) {
    throw new GatewayError('request/forbidden', `needs the scope ${scopes.join(' or ')}`, {
      detail: { scope: scopes.join(' ') },
    });
  }
}

function lockedUntil(wrong: number, now: number): number {
  return wrong < freeGuesses
    ? 0
    : now + Math.min(firstWait * 2 ** Math.min(wrong - freeGuesses, 20), longestWait);
}

/** Who holds one IPv6 address holds its /64: both count as one place. */
function placeOf(remote: string): string {
  if (remote.startsWith('::ffff:') || !isIPv6(remote)) {
    return remote;
  }
  const [head = '', tail] = remote.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups =
    tail === undefined ? front : [...front, ...Array(8 - front.length - back.length).fill('0'), ...back];
  return `${groups.slice(0, 4).join(':')}::/64`;
}

function keep(set: Set<string>, value: string): void {
  set.delete(value);
  set.add(value);
  if (set.size > mostTokens) {
    set.delete(set.values().next().value ?? '');
  }
}
