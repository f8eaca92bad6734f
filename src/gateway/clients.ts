import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import { hashOfToken, mintToken } from './client-token.ts';
import { type Client, type ClientDraft, type Clients, type ClientView, type Scope, scopes } from './desk.ts';
import { isTime } from './message.ts';
import { hubRoom } from './own-rooms.ts';
import type { Residents } from './residents.ts';

import type { ClientRow } from './store/client-table.ts';
import type { Store } from './store/store.ts';

export interface ClientBook extends Clients {
  /**
   * Makes sure that there is an owner. At the first start a token is minted, or `given` is taken; `keep` is
   * called with a minted one before its hash is stored, and it is returned. A `given` token replaces an
   * older one.
   */
  ensureOwner(options?: {
    readonly given?: string | undefined;
    readonly keep?: (token: string) => void | Promise<void>;
  }): Promise<string | undefined>;
  /** Who can be written to: neither revoked nor expired. */
  active(): readonly Client[];
}

export const ownerName = 'owner';

interface Entry {
  readonly client: Client;
  readonly hash: Uint8Array;
  readonly createdAt: number;
  readonly revokedAt?: number;
}

/** Who may call, by token. Tokens are 256 random bits, so one plain SHA-256 of them is all that is kept. */
export function createClients(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly limit: number;
  readonly residents: Residents;
}): ClientBook {
  const { store, clock, random, residents } = options;
  const byHash = new Map<string, Entry>();
  const byId = new Map<string, Entry>();
  const listeners = new Set<(client: Client) => void>();
  /** Every message asks who can be written to; it is found out again after a change or an end. */
  let active: readonly Client[] = [];
  let activeUntil = Number.NEGATIVE_INFINITY;
  for (const row of store.read.clients()) {
    put(entryOf(row));
  }

  function put(entry: Entry): void {
    activeUntil = Number.NEGATIVE_INFINITY;
    const before = byId.get(entry.client.id);
    if (before !== undefined) {
      byHash.delete(hex(before.hash));
    }
    byId.set(entry.client.id, entry);
    byHash.set(hex(entry.hash), entry);
  }

  function find(nameOrId: string): Entry | undefined {
    return byId.get(nameOrId) ?? [...byId.values()].find(entry => entry.client.name === nameOrId);
  }

  const partyOf = ({ name }: { readonly name: string }) => `app:${name}`;
  const addressesOf = (client: Client) =>
    client.identity === 'own' ? { addresses: residents.of(partyOf(client))?.addresses ?? [] } : {};

  const isExpired = (client: Client) => client.expiresAt !== undefined && client.expiresAt <= clock.now();

  async function add(draft: ClientDraft, token: string): Promise<Client> {
    const row: ClientRow = {
      id: hex(random.bytes(16)),
      name: draft.name,
      hash: hashOfToken(token),
      scopes: JSON.stringify(draft.scopes),
      rooms: JSON.stringify(draft.rooms ?? [hubRoom]),
      created_at: clock.now(),
      expires_at: draft.expiresAt ?? null,
      revoked_at: null,
      identity: draft.identity ?? 'hub',
    };
    const addresses = draft.identity === 'own' ? residents.draft(partyOf(draft), draft.name) : [];
    if (draft.identity === 'own' && addresses.length === 0) {
      throw new GatewayError('request/unsupported', 'no bridge of this hub gives addresses', {
        errors: [{ pointer: '/identity', detail: 'no bridge of this hub gives addresses' }],
      });
    }
    await store.committer.commit('client.create', { ...row, residents: addresses });
    residents.opened(addresses);
    const entry = entryOf(row);
    put(entry);
    return entry.client;
  }

  const viewOf = ({ client, createdAt, revokedAt }: Entry): ClientView => ({
    ...client,
    ...addressesOf(client),
    createdAt,
    ...(revokedAt === undefined ? {} : { revokedAt }),
  });

  return {
    authenticate(token) {
      const hash = hashOfToken(token);
      const entry = byHash.get(hex(hash));
      if (entry === undefined || !timingSafeEqual(entry.hash, hash)) {
        return { fault: 'unknown' };
      }
      if (entry.revokedAt !== undefined) {
        return { fault: 'revoked' };
      }
      return isExpired(entry.client) ? { fault: 'expired' } : { client: entry.client };
    },
    holderOf(tokenHash) {
      const entry = byHash.get(tokenHash);
      return entry === undefined || entry.revokedAt !== undefined || isExpired(entry.client)
        ? undefined
        : entry.client;
    },
    async create(draft) {
      check(draft, clock.now());
      if (find(draft.name) !== undefined) {
        throw new GatewayError('request/conflict', `the name ${draft.name} was used before`, {
          errors: [{ pointer: '/name', detail: 'was used before' }],
        });
      }
      const living = [...byId.values()].filter(entry => entry.revokedAt === undefined);
      if (living.length >= options.limit) {
        throw new GatewayError('store/full', `${options.limit} clients at most`);
      }
      const token = mintToken(random);
      const client = await add(draft, token);
      return { client, token, ...addressesOf(client) };
    },
    list: () => [...byId.values()].map(viewOf),
    find(nameOrId) {
      const entry = find(nameOrId);
      return entry && viewOf(entry);
    },
    async revoke(nameOrId) {
      const entry = find(nameOrId);
      if (entry === undefined || entry.revokedAt !== undefined) {
        throw new GatewayError('request/not-found', 'no such client');
      }
      if (entry.client.name === ownerName) {
        throw new GatewayError('request/conflict', 'the owner cannot be revoked');
      }
      const revokedAt = clock.now();
      await store.committer.commit('client.revoke', {
        id: entry.client.id,
        at: revokedAt,
        party: partyOf(entry.client),
      });
      residents.removed(partyOf(entry.client));
      put({ ...entry, revokedAt });
      for (const listener of listeners) {
        listener(entry.client);
      }
    },
    onRevoked(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async ensureOwner({ given, keep } = {}) {
      const owner = find(ownerName);
      if (owner === undefined) {
        const token = given ?? mintToken(random);
        if (given === undefined) {
          await keep?.(token);
        }
        await add({ name: ownerName, scopes }, token);
        return given === undefined ? token : undefined;
      }
      if (given !== undefined) {
        const hash = hashOfToken(given);
        await store.committer.commit('client.rekey', { id: owner.client.id, hash });
        put({ ...owner, hash });
      }
      return undefined;
    },
    active() {
      if (clock.now() >= activeUntil) {
        active = [...byId.values()]
          .filter(entry => entry.revokedAt === undefined && !isExpired(entry.client))
          .map(entry => entry.client);
        activeUntil = Math.min(...active.map(client => client.expiresAt ?? Number.POSITIVE_INFINITY));
      }
      return active;
    },
  };
}

function check(draft: ClientDraft, now: number): void {
  const errors = [
    ...(/^[a-z0-9-]{1,32}$/.test(draft.name)
      ? []
      : [{ pointer: '/name', detail: '1 to 32 lower-case letters, digits and hyphens' }]),
    ...draft.scopes.flatMap((scope, index) =>
      scopes.includes(scope) ? [] : [{ pointer: `/scopes/${index}`, detail: `one of ${scopes.join(', ')}` }],
    ),
    ...(draft.expiresAt !== undefined && !isTime(draft.expiresAt)
      ? [{ pointer: '/expiresAt', detail: 'milliseconds since 1970, a whole number' }]
      : []),
    ...(draft.expiresAt !== undefined && draft.expiresAt <= now
      ? [{ pointer: '/expiresAt', detail: 'lies in the past' }]
      : []),
  ];
  if (errors.length > 0) {
    throw new GatewayError('request/invalid', 'this client cannot be made', { errors });
  }
}

function entryOf(row: ClientRow): Entry {
  return {
    client: {
      id: row.id,
      name: row.name,
      scopes: JSON.parse(row.scopes) as Scope[],
      rooms: JSON.parse(row.rooms) as string[],
      ...(row.identity === 'own' ? { identity: 'own' } : {}),
      ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    },
    hash: row.hash,
    createdAt: row.created_at,
    ...(row.revoked_at === null ? {} : { revokedAt: row.revoked_at }),
  };
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}
