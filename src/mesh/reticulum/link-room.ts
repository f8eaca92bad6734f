import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { PublicIdentity } from './identity.ts';
import type { TableSizes } from './table-sizes.ts';

export interface LinkLimits {
  /** Established links that others have made to us. */
  readonly inbound: number;
  /** Links that others are making to us: in all, and over one interface. The oldest gives way to the next. */
  readonly handshakes: number;
  readonly handshakesPerInterface: number;
}

export const linkLimits: LinkLimits = { inbound: 1024, handshakes: 512, handshakesPerInterface: 128 };

/** ms without use after which a link may give way to another over the same interface. */
const idleAfter = 30_000;
/** Links of one Identity beyond which they give way like those of nobody. */
const linksOfOne = 4;

/** What decides whether a link that others made has to go. */
export interface InboundLink {
  readonly iface: { readonly name: string };
  /** Who its initiator is, once it said so. */
  readonly remote: PublicIdentity | undefined;
  /** Monotonic ms of its last use; keepalives are none. */
  readonly usedAt: number;
  close(): void;
  lost(): void;
}

/**
 * Room for the links that others make to us, shared so that whoever takes most of it gives way first.
 *
 * A request costs its sender nothing, so it can only push out other requests, of its own interface or of
 * the one that has most. A link that was established pushes out one of the interface that has most links:
 * unidentified ones before those of an Identity, the one unused longest first. Over the newcomer's own
 * interface only what is idle goes: where all are in use, the newcomer is refused.
 */
export class InboundRoom<L extends InboundLink> {
  readonly #limits: LinkLimits;
  readonly #counters: Counters;
  readonly #requested = new Shares<L>();
  readonly #established = new Shares<L>();

  constructor(limits: LinkLimits, counters: Counters) {
    this.#limits = limits;
    this.#counters = counters;
  }

  sizes(): TableSizes {
    return { 'links-requested': this.#requested.size, 'links-inbound': this.#established.size };
  }

  /** A link is asked for over an interface. Throws `store/full` where none could give way to it. */
  makeWay(iface: string, now: number): void {
    const { inbound, handshakes, handshakesPerInterface } = this.#limits;
    if (this.#established.size >= inbound && this.#victim(iface, now) === undefined) {
      throw new GatewayError('store/full', `${inbound} links are open to us already, and in use`);
    }
    const crowded = this.#requested.of(iface).size >= handshakesPerInterface;
    if (crowded || this.#requested.size >= handshakes) {
      const [oldest] = this.#requested.of(crowded ? iface : this.#requested.largest(iface));
      this.#counters.add('link/handshake-gave-way');
      oldest?.lost();
    }
  }

  /** A link was asked for, and is answered. */
  requested(link: L): void {
    this.#requested.add(link);
  }

  /** Whether the link may stay; where it may not, it is to be closed. */
  established(link: L, now: number): boolean {
    this.#requested.delete(link);
    if (this.#established.size >= this.#limits.inbound) {
      const victim = this.#victim(link.iface.name, now);
      if (victim === undefined) {
        this.#counters.add('store/full');
        return false;
      }
      this.#counters.add('link/gave-way');
      victim.close();
    }
    this.#established.add(link);
    return true;
  }

  /** A link is closed. */
  delete(link: L): void {
    this.#requested.delete(link);
    this.#established.delete(link);
  }

  #victim(newcomer: string, now: number): L | undefined {
    const from = this.#established.largest(newcomer);
    const usedBefore = from === newcomer ? now - idleAfter : Number.POSITIVE_INFINITY;
    const links = [...this.#established.of(from)];
    const ofOne = new Map<string, number>();
    for (const { remote } of links) {
      if (remote !== undefined) {
        const key = remote.hash.toHex();
        ofOne.set(key, (ofOne.get(key) ?? 0) + 1);
      }
    }
    const isKnown = ({ remote }: L) =>
      remote !== undefined && (ofOne.get(remote.hash.toHex()) ?? 0) <= linksOfOne;
    let found: L | undefined;
    for (const link of links.filter(({ usedAt }) => usedAt <= usedBefore)) {
      const sooner =
        found === undefined ||
        (isKnown(link) === isKnown(found) ? link.usedAt < found.usedAt : isKnown(found));
      if (sooner) {
        found = link;
      }
    }
    return found;
  }
}

/** Links by interface, the one added first in front. */
class Shares<L extends InboundLink> {
  readonly #byInterface = new Map<string, Set<L>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  of(iface: string): ReadonlySet<L> {
    return this.#byInterface.get(iface) ?? new Set();
  }

  add(link: L): void {
    const { name } = link.iface;
    const share = this.#byInterface.get(name) ?? new Set();
    this.#byInterface.set(name, share.add(link));
    this.#size += 1;
  }

  delete(link: L): void {
    const { name } = link.iface;
    const share = this.#byInterface.get(name);
    if (share?.delete(link) === true) {
      this.#size -= 1;
      if (share.size === 0) {
        this.#byInterface.delete(name);
      }
    }
  }

  /** The interface with most, the newcomer's one more counted in: its own where that is as many as any other's. */
  largest(newcomer: string): string {
    let largest = newcomer;
    let most = this.of(newcomer).size + 1;
    for (const [name, { size }] of this.#byInterface) {
      if (size > most) {
        largest = name;
        most = size;
      }
    }
    return largest;
  }
}
