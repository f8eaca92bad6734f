import type { Cancel, Clock } from '../lib/clock.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { pageLimit, requireScope } from './access.ts';
import type { BlockBook } from './blocks.ts';
import type { Limits } from './limits.ts';
import { type Address, isTime, latestTime, shownName } from './message.ts';
import type { PeerNotes } from './peer-notes.ts';
import { createPeerShelf, type HeardPeer, type Standing, standings } from './peer-shelf.ts';
import type { Avatar, Directory, Peer } from './society-contract.ts';
import type { EventDraft } from './store/event-table.ts';
import type { PeerRow } from './store/peer-table.ts';
import type { Store } from './store/store.ts';

/** What is heard of somebody. */
export interface Heard {
  readonly at: number;
  readonly name?: string;
  readonly hops?: number;
  readonly avatar?: Avatar;
}

export interface DirectoryBook extends Directory {
  /** Somebody was heard. */
  seen(address: Address, facts: Heard): void;
  /** The hub has to do with these. They are not forgotten for strangers. */
  keep(addresses: readonly Address[], standing?: Exclude<Standing, 'newcomer'>): void;
  nameOf(address: Address): string | undefined;
  /** Writes what was heard since the last time. */
  flush(): Promise<void>;
  /** Who has this address, if anybody was heard by it or spoken of. */
  peek(address: Address): Peer | undefined;
}

/** ms that what was heard waits for company on its way to disk: losing it costs one announce. */
const flushDelay = 500;
const longestName = 128;
const minute = 60_000;
/** ms over which somebody is heard who is no newcomer any more. */
const regularAfter = 60 * minute;

/**
 * Who was heard: one entry per address; where there are too many the newcomer heard least recently is forgotten. What the
 * owner says of somebody stays, whoever is heard.
 */
export function createDirectory(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly notes: PeerNotes;
  readonly blocks: Pick<BlockBook, 'has' | 'get' | 'add' | 'remove'>;
  /** Whom the configuration and rooms name. */
  readonly pinned?: ReadonlySet<Address>;
}): DirectoryBook {
  const { store, clock, log, limits, notes, blocks, pinned = new Set() } = options;
  const peers = createPeerShelf(
    limits.peers,
    address => pinned.has(address) || notes.has(address) || blocks.get(address) !== undefined,
  );
  const told = new Map<Address, number>();
  /** When newcomers were heard first. */
  const since = new Map<Address, number>();
  const changed = new Set<Address>();
  const forgotten = new Set<Address>();
  let events: EventDraft[] = [];
  let timer: Cancel | undefined;
  let minuteFrom = Number.NEGATIVE_INFINITY;
  let toldSince = 0;
  for (const row of store.read.peers().sort((a, b) => a.last_seen - b.last_seen)) {
    const standing = (Object.keys(standings) as Standing[]).find(one => standings[one] === row.kept);
    peers.raise(row.address, standing ?? 'newcomer');
    peers.put(heardIn(row));
    since.set(row.address, row.last_seen);
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
        kept: standings[peers.standingOf(peer.address)],
        avatar: peer.avatar === undefined ? null : JSON.stringify(peer.avatar),
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

  /** What was heard, with what the owner says of it, and it of itself. */
  function known(address: Address, heard: HeardPeer | undefined): Peer {
    const { alias, trust, consent } = notes.get(address) ?? {};
    const { name = undefined, ...rest } = heard ?? {};
    const called = alias ?? name;
    return {
      address,
      ...(called === undefined ? {} : { name: called }),
      ...(alias === undefined || name === undefined || alias === name ? {} : { heardName: name }),
      ...rest,
      ...(trust === undefined ? {} : { trust }),
      ...(consent === undefined ? {} : { consent }),
    };
  }

  /** A block may be by any of many patterns: it is looked for where it is shown. */
  function shown(peer: Peer): Peer {
    return blocks.has(peer.address) ? { ...peer, blocked: true } : peer;
  }

  const viewOf = (address: Address, heard: HeardPeer | undefined) => shown(known(address, heard));

  function peek(address: Address): Peer | undefined {
    const heard = peers.get(address);
    return heard === undefined && !notes.has(address) && blocks.get(address) === undefined
      ? undefined
      : viewOf(address, heard);
  }

  /** Everybody who was heard or spoken of. */
  function* everybody(): Iterable<Peer> {
    for (const heard of peers.values()) {
      yield known(heard.address, heard);
    }
    for (const address of notes.addresses()) {
      if (peers.get(address) === undefined) {
        yield known(address, undefined);
      }
    }
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
      const avatar = facts.avatar ?? before?.avatar;
      const first = since.get(address) ?? facts.at;
      since.set(address, first);
      if (facts.at - first >= regularAfter) {
        peers.raise(address, 'regular');
      }
      const oldest = peers.put({
        address,
        lastSeen: Math.max(facts.at, before?.lastSeen ?? 0),
        ...(name === undefined ? {} : { name }),
        ...(hops === undefined ? {} : { hops }),
        ...(avatar === undefined ? {} : { avatar }),
      });
      changed.add(address);
      forgotten.delete(address);
      if (oldest !== undefined) {
        told.delete(oldest);
        since.delete(oldest);
        changed.delete(oldest);
        forgotten.add(oldest);
      }
      const news = before === undefined || before.name !== name;
      if ((news || facts.at - (told.get(address) ?? 0) >= limits.peerEventEvery) && mayTell()) {
        told.set(address, facts.at);
        events.push({
          at: facts.at,
          kind: 'peer.seen',
          body: JSON.stringify({ peer: viewOf(address, peers.get(address)) }),
          audience: ['scope:peers:read'],
        });
      }
      flushSoon();
    },
    keep(addresses, standing = 'friend') {
      for (const address of addresses) {
        if (peers.raise(address, standing) && peers.get(address) !== undefined) {
          changed.add(address);
          flushSoon();
        }
      }
    },
    nameOf: address => notes.get(address)?.alias ?? peers.get(address)?.name,
    flush,
    peek,
    list(client, query) {
      requireScope(client, 'peers:read');
      const limit = pageLimit(query.limit);
      const keyOf = query.order === 'seen' ? seenKey : (peer: Peer) => peer.address;
      const after = query.after === undefined ? '' : Buffer.from(query.after, 'base64url').toString();
      const search = query.search?.toLowerCase();
      const found = [...everybody()]
        .map(peer => ({ key: keyOf(peer), peer }))
        .filter(
          ({ key, peer }) =>
            key > after &&
            (query.trust === undefined || peer.trust === query.trust) &&
            (search === undefined ||
              peer.address.includes(search) ||
              peer.name?.toLowerCase().includes(search) === true ||
              peer.heardName?.toLowerCase().includes(search) === true),
        )
        .sort((a, b) => (a.key < b.key ? -1 : 1));
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        items: page.map(({ peer }) => shown(peer)),
        cursor: last === undefined ? null : Buffer.from(last.key).toString('base64url'),
      };
    },
    get(client, address) {
      requireScope(client, 'peers:read');
      const peer = peek(address);
      if (peer === undefined) {
        throw new GatewayError('request/not-found', 'nobody of that address was heard');
      }
      return peer;
    },
    async change(client, address, { name, blocked, ...said }, guard) {
      requireScope(client, 'admin');
      guard?.(peek(address));
      const alias = typeof name === 'string' ? shownName(name) : name;
      if (typeof name === 'string' && alias === undefined) {
        const detail = 'nothing of it can be shown';
        throw new GatewayError('request/invalid', `name: ${detail}`, {
          errors: [{ pointer: '/name', detail }],
        });
      }
      await notes.put(address, { ...said, ...(alias === undefined ? {} : { alias }) });
      if (blocked === true) {
        await blocks.add(address);
      } else if (blocked === false && blocks.get(address) !== undefined) {
        await blocks.remove(address);
      }
      peers.settle(address);
      return viewOf(address, peers.get(address));
    },
  };
}

function heardIn(row: PeerRow): HeardPeer {
  return {
    address: row.address,
    lastSeen: row.last_seen,
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.hops === null ? {} : { hops: row.hops }),
    ...(row.avatar === null ? {} : { avatar: JSON.parse(row.avatar) as Avatar }),
  };
}

/** Sorts the one heard last first, as text. Within a page by cursor nobody is skipped; who is heard meanwhile moves up. */
function seenKey({ lastSeen = 0, address }: Peer): string {
  return `${String(latestTime - lastSeen).padStart(15, '0')} ${address}`;
}
