import type { Address } from './message.ts';
import type { Avatar } from './society-contract.ts';

/** A peer as it was heard. */
export interface HeardPeer {
  readonly address: Address;
  readonly name?: string;
  readonly lastSeen: number;
  readonly hops?: number;
  readonly avatar?: Avatar;
}

/** How much the hub has to do with an address; what has the lowest standing is forgotten first. */
export const standings = {
  /** Heard, once or in a short time: it costs nothing to invent. */
  newcomer: 0,
  /** Talked to, or told what is said in a room. The number is that of rows of earlier versions. */
  friend: 1,
  /** Has written, and signed it. */
  writer: 2,
  /** Heard over hours. */
  regular: 3,
} as const;
export type Standing = keyof typeof standings;

/**
 * Peers in the order they were heard, in a row for each standing. Announces and signed messages cost little to invent: a
 * crowd of them fills the rows of newcomers, and whoever is in another row keeps the place for as long as it is heard.
 */
export interface PeerShelf {
  get(address: Address): HeardPeer | undefined;
  /** Puts it behind all that were heard before. Returns who is forgotten for it, if anybody. */
  put(peer: HeardPeer): Address | undefined;
  /** Whoever has the address has this standing, now or when it is heard, unless a higher one; false where nothing changed. */
  raise(address: Address, standing: Standing): boolean;
  /** It may be pinned now, or not any more. */
  settle(address: Address): void;
  standingOf(address: Address): Standing;
  values(): Iterable<HeardPeer>;
}

/** Parts of the shelf: the rest is for newcomers. */
const parts = { friend: 0.5, writer: 0.1, regular: 0.2 } as const;
/** From the last to be forgotten to the first. */
const ranks = ['friend', 'writer', 'regular', 'newcomer'] as const;
/** ms of silence after which a writer or a regular gives its place to another. */
const stale = 7 * 24 * 60 * 60 * 1000;

/** `isPinned` addresses are friends for good. */
export function createPeerShelf(limit: number, isPinned: (address: Address) => boolean): PeerShelf {
  const rows = {
    friend: new Map<Address, HeardPeer>(),
    writer: new Map<Address, HeardPeer>(),
    regular: new Map<Address, HeardPeer>(),
    newcomer: new Map<Address, HeardPeer>(),
  };
  /** Also addresses that were not heard yet; the one not dealt with for longest first. */
  const raised = new Map<Address, Exclude<Standing, 'newcomer'>>();
  const counts = { friend: 0, writer: 0, regular: 0 };
  let heardLast = 0;

  const get = (address: Address) => ranks.map(rank => rows[rank].get(address)).find(one => one !== undefined);
  const standingOf = (address: Address) =>
    isPinned(address) ? 'friend' : (raised.get(address) ?? 'newcomer');

  function move(address: Address): void {
    const peer = get(address);
    if (peer !== undefined) {
      for (const rank of ranks) {
        rows[rank].delete(address);
      }
      rows[standingOf(address)].set(address, peer);
    }
  }

  function lower(address: Address): void {
    const standing = raised.get(address);
    if (standing !== undefined) {
      raised.delete(address);
      counts[standing] -= 1;
      move(address);
    }
  }

  /** Makes room for one more of a standing; false where those who have it keep it. */
  function hasRoom(standing: keyof typeof counts): boolean {
    if (counts[standing] < Math.max(1, Math.floor(limit * parts[standing]))) {
      return true;
    }
    if (standing === 'friend') {
      const oldest = raised.entries().find(([, one]) => one === 'friend');
      lower(oldest![0]);
      return true;
    }
    const [silent] = rows[standing].values();
    if (silent !== undefined && heardLast - silent.lastSeen > stale) {
      lower(silent.address);
      return true;
    }
    // Writers that were never heard, and regulars that a restart did not bring back, have no row to be found in.
    const mayBe = counts[standing] > rows[standing].size;
    const unheard = mayBe
      ? raised.entries().find(([address, one]) => one === standing && get(address) === undefined)
      : undefined;
    if (unheard !== undefined) {
      lower(unheard[0]);
    }
    return unheard !== undefined;
  }

  return {
    get,
    standingOf,
    settle: move,
    put(peer) {
      const { address } = peer;
      heardLast = Math.max(heardLast, peer.lastSeen);
      for (const rank of ranks) {
        rows[rank].delete(address);
      }
      rows[standingOf(address)].set(address, peer);
      const size = ranks.reduce((sum, rank) => sum + rows[rank].size, 0);
      if (size <= limit) {
        return undefined;
      }
      const lowest = ranks.findLast(rank => rows[rank].size > 0)!;
      const [oldest] = rows[lowest].keys();
      rows[lowest].delete(oldest!);
      return oldest;
    },
    raise(address, standing) {
      const before = raised.get(address);
      if (standing === 'newcomer' || before === standing) {
        if (before === 'friend') {
          raised.delete(address);
          raised.set(address, before);
        }
        return false;
      }
      if (before !== undefined && ranks.indexOf(before) <= ranks.indexOf(standing)) {
        return false;
      }
      if (!hasRoom(standing)) {
        return false;
      }
      if (before !== undefined) {
        counts[before] -= 1;
        raised.delete(address);
      }
      raised.set(address, standing);
      counts[standing] += 1;
      move(address);
      return true;
    },
    *values() {
      for (const rank of ranks.toReversed()) {
        yield* rows[rank].values();
      }
    },
  };
}
