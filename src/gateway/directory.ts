import type { Cancel, Clock } from '../lib/clock.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { pageLimit, requireScope } from './access.ts';
import type { Directory, Peer } from './desk.ts';
import type { Limits } from './limits.ts';
import { type Address, isTime, latestTime } from './message.ts';
import { createPeerShelf } from './peer-shelf.ts';
import type { EventDraft } from './store/event-table.ts';
import type { Store } from './store/store.ts';

export interface DirectoryBook extends Directory {
  /** Somebody was heard. */
  seen(
    address: Address,
    facts: { readonly at: number; readonly name?: string; readonly hops?: number },
  ): void;
  /** The hub has to do with these: messages come from them or go to them. They are not forgotten for strangers. */
  keep(addresses: readonly Address[]): void;
  nameOf(address: Address): string | undefined;
  /** Writes what was heard since the last time. */
  flush(): Promise<void>;
  /** Who has this address, if anybody was heard by it. */
  peek(address: Address): Peer | undefined;
}

/** ms that what was heard waits for company on its way to disk: losing it costs one announce. */
const flushDelay = 500;
const longestName = 128;
const minute = 60_000;

/**
 * Who was heard: one entry per address; where there are too many the stranger heard least recently is forgotten, and
 * before those the hub has to do with, all strangers.
 */
export function createDirectory(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  /** Whom the configuration names. */
  readonly pinned?: ReadonlySet<Address>;
}): DirectoryBook {
  const { store, clock, log, limits } = options;
  const peers = createPeerShelf(limits.peers, options.pinned ?? new Set());
  const told = new Map<Address, number>();
  const changed = new Set<Address>();
  const forgotten = new Set<Address>();
  let events: EventDraft[] = [];
  let timer: Cancel | undefined;
  let minuteFrom = Number.NEGATIVE_INFINITY;
  let toldSince = 0;
  for (const row of store.read.peers().sort((a, b) => a.last_seen - b.last_seen)) {
    if (row.kept === 1) {
      peers.keep(row.address);
    }
    peers.put({
      address: row.address,
      lastSeen: row.last_seen,
      ...(row.name === null ? {} : { name: row.name }),
      ...(row.hops === null ? {} : { hops: row.hops }),
    });
  }

  async function flush(): Promise<void> {
    timer?.();
    timer = undefined;
    if (changed.size === 0) {
      return;
    }
    const rows = [...changed].flatMap(address => peers.get(address) ?? []);
    const args = {
      peers: rows.map(peer => ({
        address: peer.address,
        name: peer.name ?? null,
        last_seen: peer.lastSeen,
        hops: peer.hops ?? null,
        kept: peers.isKept(peer.address) ? 1 : 0,
      })),
      forgotten: [...forgotten],
      events,
    };
    changed.clear();
    forgotten.clear();
    events = [];
    await store.committer.commit('peers.seen', args);
  }

  function flushSoon(): void {
    timer ??= clock.after(flushDelay, () => {
      timer = undefined;
      flush().catch(error => log.warn({ code: codeOf(error) }, 'the directory could not be written'));
    });
  }

  /** Whether one more event may be told in this minute. */
  function mayTell(): boolean {
    const now = clock.monotonic();
    if (now - minuteFrom >= minute) {
      minuteFrom = now;
      toldSince = 0;
    }
    if (toldSince >= limits.peerEventsPerMinute) {
      return false;
    }
    toldSince += 1;
    return true;
  }

  return {
    seen(address, facts) {
      if (!isTime(facts.at) || !isTime(facts.hops ?? 0)) {
        log.debug({ code: 'request/invalid' }, 'somebody was heard at a time that cannot be');
        return;
      }
      const before = peers.get(address);
      const name = facts.name?.slice(0, longestName) ?? before?.name;
      const hops = facts.hops ?? before?.hops;
      const peer: Peer = {
        address,
        lastSeen: Math.max(facts.at, before?.lastSeen ?? 0),
        ...(name === undefined ? {} : { name }),
        ...(hops === undefined ? {} : { hops }),
      };
      const oldest = peers.put(peer);
      changed.add(address);
      forgotten.delete(address);
      if (oldest !== undefined) {
        told.delete(oldest);
        changed.delete(oldest);
        forgotten.add(oldest);
      }
      const news = before === undefined || before.name !== name;
      if ((news || facts.at - (told.get(address) ?? 0) >= limits.peerEventEvery) && mayTell()) {
        told.set(address, facts.at);
        events.push({
          at: facts.at,
          kind: 'peer.seen',
          body: JSON.stringify({ peer }),
          audience: ['scope:peers:read'],
        });
      }
      flushSoon();
    },
    keep(addresses) {
      for (const address of addresses) {
        if (peers.keep(address) && peers.get(address) !== undefined) {
          changed.add(address);
          flushSoon();
        }
      }
    },
    nameOf: address => peers.get(address)?.name,
    flush,
    peek: address => peers.get(address),
    list(client, query) {
      requireScope(client, 'peers:read');
      const limit = pageLimit(query.limit);
      const keyOf = query.order === 'seen' ? seenKey : (peer: Peer) => peer.address;
      const after = query.after === undefined ? '' : Buffer.from(query.after, 'base64url').toString();
      const search = query.search?.toLowerCase();
      const found = [...peers.values()]
        .filter(
          peer =>
            keyOf(peer) > after &&
            (search === undefined ||
              peer.address.includes(search) ||
              peer.name?.toLowerCase().includes(search) === true),
        )
        .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return {
        items,
        cursor:
          found.length > limit && last !== undefined ? Buffer.from(keyOf(last)).toString('base64url') : null,
      };
    },
    get(client, address) {
      requireScope(client, 'peers:read');
      const peer = peers.get(address);
      if (peer === undefined) {
        throw new GatewayError('request/not-found', 'nobody of that address was heard');
      }
      return peer;
    },
  };
}

/** Sorts the one heard last first, as text. Within a page by cursor nobody is skipped; who is heard meanwhile moves up. */
function seenKey({ lastSeen, address }: Peer): string {
  return `${String(latestTime - lastSeen).padStart(15, '0')} ${address}`;
}
