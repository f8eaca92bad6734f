import type { Clock } from '../lib/clock.ts';
import { GatewayError, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { ClientDraft, Clients, ClientView } from './client.ts';
import { checkChange, checkDraft } from './client-check.ts';
import { type ClientEnd, createClientLives, endWords } from './client-life.ts';
import { hashOfToken, mintToken, printOfToken } from './client-token.ts';
import { type ClientUse, createClientUses } from './client-use.ts';
import { type Client, type Scope, scopes } from './desk.ts';
import { hubRoom } from './own-rooms.ts';
import type { Residents } from './residents.ts';
import { type Role, roles } from './roles.ts';
import type { ClientRow, NewClientRow, PreviousToken } from './store/client-table.ts';
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
  /** Writes when clients were last there. */
  flush(): Promise<void>;
}

export const ownerName = 'owner';

/** Tokens of one client that are still good after they were replaced: an answer with a new one may be lost, and it is asked for again. */
const mostPrevious = 4;

/** A token that was replaced: who shows it is the client, for as long as the Client here says. */
interface Previous {
  readonly hash: Uint8Array;
  readonly client: Client;
}

interface Entry {
  readonly client: Client;
  readonly hash: Uint8Array;
  readonly previous: readonly Previous[];
  readonly role: Role | undefined;
  readonly version: number;
  /** Goes up when its rights are changed. */
  readonly rights: number;
  readonly createdAt: number;
  readonly rotatedAt?: number;
  readonly revokedAt?: number;
  /** The store does not know of the revocation: it could not be written, and is lost when the process ends. */
  readonly isUnwritten?: true;
}

/** Who may call, by token. Tokens are 256 random bits, so one plain SHA-256 of them is all that is kept. */
export function createClients(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limit: number;
  readonly residents: Residents;
}): ClientBook {
  const { store, clock, random, residents } = options;
  /** By the hash of each token that is good: whose it is, and as what. */
  const byHash = new Map<string, { readonly entry: Entry; readonly client: Client }>();
  const byId = new Map<string, Entry>();
  const lives = createClientLives(clock);
  const revocations = new Set<(client: Client) => void>();
  const rotations = new Set<(client: Client) => void>();
  /** Which token a Client that was given out stands for, and which of the rights that were changed since it has. */
  const issued = new WeakMap<Client, { readonly token: string; readonly rights: number }>();
  /** Every message asks who can be written to; it is found out again after a change or an end. */
  let active: readonly Client[] = [];
  let activeUntil = Number.NEGATIVE_INFINITY;
  const rows = store.read.clients();
  for (const row of rows) {
    put(entryOf(row));
  }
  const uses = createClientUses(options, rows.flatMap(useOf));

  function put(entry: Entry): void {
    activeUntil = Number.NEGATIVE_INFINITY;
    for (const hash of hashesOf(byId.get(entry.client.id))) {
      byHash.delete(hash);
    }
    byId.set(entry.client.id, entry);
    for (const { client, hash } of [entry, ...entry.previous]) {
      byHash.set(hex(hash), { entry, client });
      issued.set(client, { token: hex(hash), rights: entry.rights });
    }
  }

  function find(nameOrId: string): Entry | undefined {
    return byId.get(nameOrId) ?? [...byId.values()].find(entry => entry.client.name === nameOrId);
  }

  /** The entry of a client that is there; the owner only where `what` may be done to it. */
  function living(nameOrId: string, what?: string): Entry {
    const entry = find(nameOrId);
    if (entry === undefined || entry.revokedAt !== undefined) {
      throw new GatewayError('request/not-found', 'no such client');
    }
    if (what !== undefined && entry.client.name === ownerName) {
      throw new GatewayError('request/conflict', `the owner cannot be ${what}`);
    }
    return entry;
  }

  const partyOf = ({ name }: { readonly name: string }) => `app:${name}`;
  const addressesOf = (client: Client) =>
    client.identity === 'own' ? { addresses: residents.of(partyOf(client))?.addresses ?? [] } : {};

  const isExpired = (client: Client) => client.expiresAt !== undefined && client.expiresAt <= clock.now();

  async function add(draft: ClientDraft, token: string): Promise<Entry> {
    const row: NewClientRow = {
      id: hex(random.bytes(16)),
      name: draft.name,
      hash: hashOfToken(token),
      scopes: JSON.stringify(draft.scopes),
      rooms: JSON.stringify(draft.rooms ?? [hubRoom]),
      created_at: clock.now(),
      expires_at: draft.expiresAt ?? null,
      revoked_at: null,
      identity: draft.identity ?? 'hub',
      role: draft.role ?? null,
    };
    const addresses = draft.identity === 'own' ? residents.draft(partyOf(draft), draft.name) : [];
    if (draft.identity === 'own' && addresses.length === 0) {
      throw new GatewayError('request/unsupported', 'no bridge of this hub gives addresses', {
        errors: [{ pointer: '/identity', detail: 'no bridge of this hub gives addresses' }],
      });
    }
    await store.committer.commit('client.create', { ...row, residents: addresses }).catch(error => {
      if (lookAgain(row.id)) {
        residents.opened(addresses);
      }
      throw error;
    });
    residents.opened(addresses);
    const entry = entryOf({
      ...row,
      version: 1,
      previous: '[]',
      rotated_at: null,
      used_at: null,
      used_from: null,
    });
    put(entry);
    return entry;
  }

  /**
   * A writer that died over a change may have made it all the same: what is on disk holds, or each further change would be of a
   * version that is not there. Gives whether there was something new.
   */
  function lookAgain(id: string): boolean {
    const before = byId.get(id);
    let row: ClientRow | undefined;
    try {
      row = store.read.clients().find(one => one.id === id);
    } catch {
      return false;
    }
    if (row === undefined || before?.revokedAt !== undefined || row.version <= (before?.version ?? 0)) {
      return false;
    }
    put({ ...entryOf(row), rights: (before?.rights ?? 0) + 1 });
    lives.end(id, 'changed');
    return true;
  }

  function unchanged(id: string, error: unknown): never {
    if (isGatewayError(error, 'store/unavailable')) {
      lookAgain(id);
    }
    throw isGatewayError(error, 'store/full')
      ? notWritten(error, 'the token is as it was; revoking it holds at once all the same')
      : error;
  }

  const viewOf = (entry: Entry): ClientView => {
    const { client, role, version, createdAt, rotatedAt, revokedAt, previous } = entry;
    const use = uses.of(client.id);
    const until = Math.max(0, ...previous.map(one => one.client.expiresAt ?? 0));
    return {
      ...client,
      ...(role !== undefined && { role }),
      ...addressesOf(client),
      version,
      createdAt,
      ...(rotatedAt !== undefined && { rotatedAt }),
      ...(until > clock.now() && { previousUntil: until }),
      ...(use !== undefined && { lastUsedAt: use.at, lastUsedFrom: use.from }),
      ...(revokedAt !== undefined && { revokedAt }),
    };
  };

  /** Why the token is not good any more that this Client stands for; of a Client that no token was shown for, nothing. */
  function faultOf(client: Client): Exclude<ClientEnd, 'changed'> | undefined {
    const token = issued.get(client)?.token;
    if (token === undefined) {
      return undefined;
    }
    if (byId.get(client.id)?.revokedAt !== undefined) {
      return 'revoked';
    }
    const found = byHash.get(token);
    return found === undefined || isExpired(found.client) ? 'expired' : undefined;
  }

  return {
    authenticate(token) {
      const found = byHash.get(printOfToken(token));
      if (found === undefined) {
        return { fault: 'unknown' };
      }
      const { entry, client } = found;
      if (entry.revokedAt !== undefined) {
        return { fault: 'revoked' };
      }
      return isExpired(client) ? { fault: 'expired' } : { client };
    },
    holderOf(tokenHash) {
      const found = byHash.get(tokenHash);
      const isOver = found === undefined || found.entry.revokedAt !== undefined || isExpired(found.client);
      return isOver ? undefined : found.client;
    },
    async create(draft) {
      checkDraft(draft, clock.now());
      if (find(draft.name) !== undefined) {
        throw new GatewayError('request/conflict', `the name ${draft.name} was used before`, {
          errors: [{ pointer: '/name', detail: 'was used before' }],
        });
      }
      const there = [...byId.values()].filter(entry => entry.revokedAt === undefined);
      if (there.length >= options.limit) {
        throw new GatewayError('store/full', `${options.limit} clients at most`);
      }
      const token = mintToken(random);
      const { client } = await add(draft, token);
      return { client, token, ...addressesOf(client) };
    },
    list: () => [...byId.values()].map(viewOf),
    find(nameOrId) {
      const entry = find(nameOrId);
      return entry && viewOf(entry);
    },
    async change(nameOrId, change) {
      const { client, version, role } = living(nameOrId, 'changed');
      checkChange(change, clock.now());
      const { id } = client;
      const wanted = {
        scopes: change.role === undefined ? (change.scopes ?? client.scopes) : roles[change.role],
        rooms: change.rooms ?? client.rooms,
        role: change.role ?? (change.scopes === undefined ? role : undefined),
        expiresAt: change.expiresAt === undefined ? client.expiresAt : (change.expiresAt ?? undefined),
      };
      const job = {
        id,
        version,
        scopes: JSON.stringify(wanted.scopes),
        rooms: JSON.stringify(wanted.rooms),
        role: wanted.role ?? null,
        expires_at: wanted.expiresAt ?? null,
      };
      await store.committer.commit('client.change', job).catch(error => unchanged(id, error));
      const entry = living(nameOrId);
      const { expiresAt: _before, ...rest } = entry.client;
      const next: Client = {
        ...rest,
        scopes: wanted.scopes,
        rooms: wanted.rooms,
        ...(wanted.expiresAt !== undefined && { expiresAt: wanted.expiresAt }),
      };
      const previous = entry.previous.map(one => ({
        hash: one.hash,
        client: until(next, one.client.expiresAt ?? 0),
      }));
      const { rights } = entry;
      put({ ...entry, client: next, previous, role: wanted.role, version: version + 1, rights: rights + 1 });
      lives.end(id, 'changed');
      return viewOf(living(nameOrId));
    },
    async rotate(nameOrId, grace) {
      const { client, hash, previous: before, version } = living(nameOrId);
      const now = clock.now();
      const ends = now + grace;
      const minted = mintToken(random);
      const fresh = hashOfToken(minted);
      const previous = [
        { hash, client: until(client, ends) },
        ...before.map(one => ({ hash: one.hash, client: until(one.client, ends) })),
      ].filter(one => (one.client.expiresAt ?? 0) > now);
      if (previous.length > mostPrevious) {
        // Not the oldest: whoever got no answer, however often, still has that one. Those behind it nobody may ever have seen.
        previous.splice(-2, 1);
      }
      const job = {
        id: client.id,
        version,
        hash: fresh,
        previous: JSON.stringify(previous.map(one => ({ hash: hex(one.hash), until: one.client.expiresAt }))),
        at: now,
      };
      await store.committer.commit('client.rotate', job).catch(error => unchanged(client.id, error));
      const entry = living(nameOrId);
      put({ ...entry, client: { ...client }, hash: fresh, previous, version: version + 1, rotatedAt: now });
      for (const token of hashesOf(entry)) {
        lives.limit(client.id, token, previous.some(one => hex(one.hash) === token) ? ends : now);
      }
      for (const listener of rotations) {
        listener(client);
      }
      return { client: viewOf(living(nameOrId)), token: minted };
    },
    onRotated(listener) {
      rotations.add(listener);
      return () => rotations.delete(listener);
    },
    onRevoked(listener) {
      revocations.add(listener);
      return () => revocations.delete(listener);
    },
    async revoke(nameOrId) {
      const again = find(nameOrId);
      const entry = again?.isUnwritten ? again : living(nameOrId, 'revoked');
      const { client, version, isUnwritten, revokedAt = clock.now(), ...kept } = entry;
      const { id } = client;
      const end = (how: Pick<Entry, 'version' | 'isUnwritten'>) => {
        residents.removed(partyOf(client));
        put({ ...kept, ...how, client, revokedAt });
        lives.end(id, 'revoked');
        for (const listener of isUnwritten ? [] : revocations) {
          listener(client);
        }
      };
      try {
        await store.committer.commit('client.revoke', { id, at: revokedAt, party: partyOf(client) });
      } catch (error) {
        // Whoever revokes a token means now, and a full disk may last.
        end({ version, isUnwritten: true });
        throw notWritten(
          error,
          'the token is revoked until the hub starts again; repeat it once there is room',
        );
      }
      end({ version: version + 1 });
    },
    watch(client, onEnd) {
      const { token, rights } = issued.get(client) ?? {};
      const entry = byId.get(client.id);
      const held = { id: client.id, token, until: client.expiresAt };
      const isStale = entry !== undefined && rights !== undefined && rights !== entry.rights;
      const isOver = token !== undefined && !hashesOf(entry).includes(token);
      if (entry?.revokedAt !== undefined || isStale || isOver) {
        onEnd(entry?.revokedAt !== undefined ? 'revoked' : isStale ? 'changed' : 'expired');
        return () => {};
      }
      return lives.watch(held, onEnd);
    },
    current(client) {
      const fault = faultOf(client);
      if (fault !== undefined) {
        const detail = { token: endWords[fault], reason: fault };
        throw new GatewayError('request/unauthenticated', endWords[fault], { detail });
      }
      const token = issued.get(client)?.token;
      return (token === undefined ? undefined : byHash.get(token)?.client) ?? client;
    },
    used: uses.used,
    flush: uses.flush,
    async ensureOwner({ given, keep } = {}) {
      const owner = find(ownerName);
      if (owner === undefined) {
        const token = given ?? mintToken(random);
        if (given === undefined) {
          await keep?.(token);
        }
        await add({ name: ownerName, scopes, role: 'owner' }, token);
        return given === undefined ? token : undefined;
      }
      if (given !== undefined) {
        const hash = hashOfToken(given);
        await store.committer.commit('client.rekey', { id: owner.client.id, hash });
        put({ ...owner, hash, previous: [] });
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

/** The error of a store that cannot be written, with what that means for the token. */
function notWritten(error: unknown, meaning: string): unknown {
  if (!isGatewayError(error, 'store/full', 'store/unavailable')) {
    return error;
  }
  const { code, retryable, detail } = error;
  return new GatewayError(code, `${error.message}: ${meaning}`, { retryable, detail, cause: error });
}

/** The client as one of its replaced tokens stands for it: until then, and no longer than the client itself. */
function until(client: Client, end: number): Client {
  return { ...client, expiresAt: Math.min(end, client.expiresAt ?? end) };
}

function hashesOf(entry: Entry | undefined): string[] {
  return entry === undefined ? [] : [entry.hash, ...entry.previous.map(one => one.hash)].map(hex);
}

function useOf({ id, used_at, used_from }: ClientRow): (readonly [string, ClientUse])[] {
  return used_at === null ? [] : [[id, { at: used_at, from: used_from ?? '' }]];
}

function entryOf(row: ClientRow): Entry {
  const client: Client = {
    id: row.id,
    name: row.name,
    scopes: JSON.parse(row.scopes) as Scope[],
    rooms: JSON.parse(row.rooms) as string[],
    ...(row.identity === 'own' ? { identity: 'own' } : {}),
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
  };
  return {
    client,
    hash: row.hash,
    previous: (JSON.parse(row.previous) as PreviousToken[]).map(one => ({
      hash: Uint8Array.fromHex(one.hash),
      client: until(client, one.until),
    })),
    role: row.role !== null && Object.hasOwn(roles, row.role) ? (row.role as Role) : undefined,
    version: row.version,
    rights: 0,
    createdAt: row.created_at,
    ...(row.rotated_at === null ? {} : { rotatedAt: row.rotated_at }),
    ...(row.revoked_at === null ? {} : { revokedAt: row.revoked_at }),
  };
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}
