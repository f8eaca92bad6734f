import { createHash } from 'node:crypto';
import type { Audit, Door } from '../gateway/audit-entry.ts';
import type { Clients } from '../gateway/client.ts';
import { isMinted, printOfToken, type TokenFault } from '../gateway/client-token.ts';
import type { Client, Scope } from '../gateway/desk.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import { createGuesses, placeOf } from './guesses.ts';

/** Tokens remembered as good where they were shown. */
const mostTokens = 4096;

/** Longest text taken as a token. */
const longestToken = 512;

/** How somebody comes who shows a token. */
export interface Approach {
  /** Default `token`. */
  readonly door?: Door;
  /** The client they say they are, where the window asks for a name. */
  readonly name?: string | undefined;
}

/** Who is calling, for every window that has an address and a token. */
export interface Access {
  /**
   * The client of a token shown from a remote address. Throws `request/unauthenticated` (`detail.reason` says what is the
   * matter with it) and, after too many wrong ones, `request/rate-limited` with `detail.retryAfter`.
   */
  client(token: string, remote: string, approach?: Approach): Client;
  /** The same from an `Authorization` header; without one, `request/unauthenticated`. */
  bearer(header: string | undefined, remote: string, approach?: Approach): Client;
  /** The same from a connection on which many requests may come: a header that it brought before is not taken apart again. */
  bearerOn(connection: object, header: string, remote: string): Client;
  /** The owner, for the control socket, whose file mode is its authentication. */
  owner(): Client;
}

export interface AccessParts {
  readonly clients: Clients;
  readonly clock: Clock;
  readonly counters?: Counters;
  readonly audit?: Pick<Audit, 'refused'>;
}

const faults: Readonly<Record<TokenFault, string>> = {
  unknown: 'the token is not known',
  expired: 'the token has expired',
  revoked: 'the token was revoked',
};

/**
 * Authentication with a lock-out by remote address and by name. It shuts out guesses and nobody else: a token that this
 * hub made cannot be guessed, so it passes also where a neighbour behind the same address is locked out, and one that a
 * person chose passes where it was good before.
 */
export function createAccess({ clients, clock, counters, audit }: AccessParts): Access {
  const guesses = createGuesses(clock);
  const good = new Set<string>();
  /** Of connections: the header that came last, and the SHA-256 of the token of ours in it. */
  const shown = new WeakMap<object, { readonly header: string; readonly print: string }>();

  const client = (token: string, remote: string, { door = 'token', name }: Approach = {}): Client => {
    const found = token.length <= longestToken ? clients.authenticate(token) : {};
    const isOurs = isMinted(token);
    // Nothing shuts out a token of ours that is good.
    if (isOurs && found.client !== undefined) {
      clients.used(found.client.id, remote);
      return found.client;
    }
    const place = placeOf(remote);
    const known = name === undefined ? undefined : clients.find(name)?.name;
    const keys = known === undefined ? [place] : [place, `name ${known}`];
    const print = isOurs ? '' : `${place} ${createHash('sha256').update(token).digest('base64')}`;
    const wait = guesses.wait(keys);
    const isGuess = !isOurs && !good.has(print);
    const refuse = (fault: TokenFault | 'locked') => {
      counters?.add(`access/${fault}`);
      audit?.refused({
        actor: '',
        door,
        from: remote,
        action: 'authenticate',
        // What stands in a field for a name may be anything, a token too.
        ...(known !== undefined && { target: known }),
        status: fault === 'locked' ? 429 : 401,
        code: fault,
      });
    };
    if (wait > 0 && (isGuess || (found.client === undefined && found.fault === undefined))) {
      refuse('locked');
      throw new GatewayError('request/rate-limited', 'too many wrong tokens from this address', {
        retryable: true,
        detail: { retryAfter: wait / 1000 },
      });
    }
    if (found.client !== undefined) {
      if (!isOurs) {
        keep(good, print);
      }
      clients.used(found.client.id, remote);
      return found.client;
    }
    const fault = found.fault ?? 'unknown';
    // A token that was good once is no guess.
    if (fault === 'unknown') {
      guesses.wrong(keys);
    }
    refuse(fault);
    throw new GatewayError('request/unauthenticated', faults[fault], {
      detail: { token: faults[fault], reason: fault },
    });
  };

  return {
    client,
    bearer: (header, remote, approach) => client(tokenIn(header), remote, approach),
    bearerOn(connection, header, remote) {
      const before = shown.get(connection);
      // Whether the token is good is asked anew for every request.
      const known = before?.header === header ? clients.holderOf(before.print) : undefined;
      if (known !== undefined) {
        clients.used(known.id, remote);
        return known;
      }
      const token = tokenIn(header);
      const found = client(token, remote);
      if (isMinted(token)) {
        shown.set(connection, { header, print: printOfToken(token) });
      }
      return found;
    },
    owner() {
      const nobody: Client = { id: '0'.repeat(32), name: 'owner', scopes: ['admin'], rooms: ['hub'] };
      return clients.find('owner') ?? nobody;
    },
  };
}

/** The token in an `Authorization` header. Throws `request/unauthenticated`. */
function tokenIn(header: string | undefined): string {
  if (header === undefined) {
    throw new GatewayError('request/unauthenticated', 'send Authorization: Bearer <token>');
  }
  const token = /^bearer +([\w.~+/-]+=*) *$/i.exec(header)?.[1];
  if (token === undefined) {
    const detail = 'the Authorization header is no Bearer token';
    throw new GatewayError('request/unauthenticated', detail, { detail: { token: detail } });
  }
  return token;
}

/** Throws `request/forbidden` unless the client has one of the scopes; `admin` has all. */
export function requireScope(client: Client, scopes: readonly Scope[]): void {
  if (!client.scopes.includes('admin') && !scopes.some(scope => client.scopes.includes(scope))) {
    throw new GatewayError('request/forbidden', `needs the scope ${scopes.join(' or ')}`, {
      detail: { scope: scopes.join(' ') },
    });
  }
}

function keep(set: Set<string>, value: string): void {
  set.delete(value);
  set.add(value);
  if (set.size > mostTokens) {
    set.delete(set.values().next().value ?? '');
  }
}
