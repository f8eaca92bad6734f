import type { Peer } from './desk.ts';
import type { Address } from './message.ts';

/**
 * Peers in the order they were heard, in two rows: those the hub has to do with, and strangers. Announces cost nothing to
 * invent, so that a stranger never pushes out one of the others while there is a stranger to forget.
 */
export interface PeerShelf {
  get(address: Address): Peer | undefined;
  /** Puts it behind all that were heard before. Returns who is forgotten for it, if anybody. */
  put(peer: Peer): Address | undefined;
  /** The hub has to do with whoever has the address, now or when it is heard; false where that was known. */
  keep(address: Address): boolean;
  isKept(address: Address): boolean;
  values(): Iterable<Peer>;
}

/** The part of the shelf that is for peers the hub has to do with: some room for new ones stays. */
const keptPart = 0.5;

/** `pinned` are always kept. */
export function createPeerShelf(limit: number, pinned: ReadonlySet<Address>): PeerShelf {
  const strangers = new Map<Address, Peer>();
  const friends = new Map<Address, Peer>();
  /** Also addresses that were not heard yet; the one not dealt with for longest first. */
  const kept = new Set<Address>();
  const keptMost = Math.max(1, Math.floor(limit * keptPart));

  const isKept = (address: Address) => pinned.has(address) || kept.has(address);

  function move(address: Address): void {
    const [from, to] = isKept(address) ? [strangers, friends] : [friends, strangers];
    const peer = from.get(address);
    if (peer !== undefined) {
      from.delete(address);
      to.set(address, peer);
    }
  }

  return {
    get: address => friends.get(address) ?? strangers.get(address),
    put(peer) {
      const { address } = peer;
      const row = isKept(address) ? friends : strangers;
      row.delete(address);
      row.set(address, peer);
      if (strangers.size + friends.size <= limit) {
        return undefined;
      }
      const oldest = (strangers.size > 0 ? strangers : friends).keys().next().value as Address;
      strangers.delete(oldest);
      friends.delete(oldest);
      return oldest;
    },
    keep(address) {
      const news = !isKept(address);
      kept.delete(address);
      kept.add(address);
      if (news) {
        move(address);
      }
      if (kept.size > keptMost) {
        const oldest = kept.values().next().value as Address;
        kept.delete(oldest);
        move(oldest);
      }
      return news;
    },
    isKept,
    *values() {
      yield* strangers.values();
      yield* friends.values();
    },
  };
}
