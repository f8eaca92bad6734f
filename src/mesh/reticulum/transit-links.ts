import type { Cancel, Clock } from '../../lib/clock.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { groupOf } from './fair-queue.ts';

/** A link between two others that goes through this node. */
export interface TransitLink {
  /** Link id, hex. */
  readonly key: string;
  /** Its request came in over it, having come this many hops. */
  readonly receivedOn: InterfaceHandle;
  readonly takenHops: number;
  /** The request went out over it, to a destination this many hops away. */
  readonly sentOn: InterfaceHandle;
  remainingHops: number;
  /** 16 B: who it is made with. */
  readonly destinationHash: Uint8Array;
  /** Its proof passed through here: from now on its packets do too. */
  proven: boolean;
  /** Monotonic ms after which it is forgotten. */
  until: number;
}

/** Why a link of others is taken to be gone: nothing came of it, its interface is gone, or it gave way to others. */
export type TransitLinkEnd = 'silent' | 'interface-gone' | 'gave-way';

/** A link of others is there, or with `closed` gone. */
export interface TransitLinkChange {
  readonly link: TransitLink;
  readonly closed: TransitLinkEnd | undefined;
}

/** ms of silence after which a link is taken to be gone. Source: RNS 1.5.7, 1.25 times the longest time to stale and 10 s. */
export const transitLifetime = 900_000;
/** Links through this node at once. */
const defaultCapacity = 20_000;
/** ms between two looks for links that are over. */
const cullEvery = 5000;

export interface TransitLinksParts {
  readonly clock: Clock;
  /** A link request that was passed on was not proven in time. */
  readonly unproven: (link: TransitLink) => void;
  /** A link was proven, or one that was is forgotten. */
  readonly changed?: (change: TransitLinkChange) => void;
  readonly capacity?: number;
}

/** Links whose request came in over one interface, the oldest first. */
interface Source {
  readonly pending: Set<TransitLink>;
  readonly proven: Set<TransitLink>;
}

/** Share of an interface's links that requests without a proof have to themselves when it is full. */
const pendingShare = 1 / 4;
/** Links of an interface among which the longest silent one is looked for. */
const lookedAt = 64;

/**
 * The links that go through this node, bounded. When full, whoever has the most gives way: of the configured interface
 * that brought the most the peer that did, and of its links the oldest request without a proof, or where it has few of
 * these an old link that is silent.
 */
export class TransitLinks {
  readonly #parts: TransitLinksParts;
  readonly #pending = new Map<string, TransitLink>();
  /** The longest silent first. */
  readonly #proven = new Map<string, TransitLink>();
  readonly #sources = new Map<InterfaceHandle, Source>();
  #cancel: Cancel | undefined;

  constructor(parts: TransitLinksParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#pending.size + this.#proven.size;
  }

  values(): Iterable<TransitLink> {
    return [...this.#pending.values(), ...this.#proven.values()];
  }

  get(key: string): TransitLink | undefined {
    return this.#proven.get(key) ?? this.#pending.get(key);
  }

  /** A link request is passed on. */
  add(link: TransitLink): void {
    const before = this.get(link.key);
    if (before !== undefined) {
      this.#remove(before);
    }
    this.#pending.set(link.key, link);
    this.#sources
      .getOrInsertComputed(link.receivedOn, () => ({ pending: new Set(), proven: new Set() }))
      .pending.add(link);
    if (this.size > (this.#parts.capacity ?? defaultCapacity)) {
      this.#end(this.#crowded(), 'gave-way');
    }
    this.#watch();
  }

  /** Its proof was verified and is passed on. */
  prove(link: TransitLink): void {
    this.#pending.delete(link.key);
    const source = this.#sources.get(link.receivedOn);
    source?.pending.delete(link);
    source?.proven.add(link);
    link.proven = true;
    this.use(link);
    this.#parts.changed?.({ link, closed: undefined });
  }

  /** One of its packets was passed on. */
  use(link: TransitLink): void {
    link.until = this.#parts.clock.monotonic() + transitLifetime;
    this.#proven.delete(link.key);
    this.#proven.set(link.key, link);
  }

  /** Forgets those over an interface that is gone. */
  dropOver(iface: InterfaceHandle): void {
    for (const links of [this.#pending, this.#proven]) {
      for (const link of links.values()) {
        if (link.receivedOn === iface || link.sentOn === iface) {
          this.#end(link, 'interface-gone');
        }
      }
    }
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #end(link: TransitLink, closed: TransitLinkEnd): void {
    if (this.#remove(link)) {
      this.#parts.changed?.({ link, closed });
    }
  }

  /** Whether it was proven. */
  #remove(link: TransitLink): boolean {
    this.#pending.delete(link.key);
    const source = this.#sources.get(link.receivedOn);
    source?.pending.delete(link);
    source?.proven.delete(link);
    if (source !== undefined && sizeOf(source) === 0) {
      this.#sources.delete(link.receivedOn);
    }
    return this.#proven.delete(link.key);
  }

  /** The link that gives way. */
  #crowded(): TransitLink {
    const groups = new Map<string, number>();
    for (const [{ name }, source] of this.#sources) {
      groups.set(groupOf(name), (groups.get(groupOf(name)) ?? 0) + sizeOf(source));
    }
    const [group] = [...groups].reduce((most, one) => (one[1] > most[1] ? one : most));
    const { pending, proven } = [...this.#sources]
      .filter(([{ name }]) => groupOf(name) === group)
      .map(([, source]) => source)
      .reduce((most, one) => (sizeOf(one) > sizeOf(most) ? one : most));
    const isOfRequests = proven.size === 0 || pending.size > proven.size * pendingShare;
    return isOfRequests
      ? pending.values().next().value!
      : [...proven.values().take(lookedAt)].reduce((first, one) => (one.until < first.until ? one : first));
  }

  #watch(): void {
    this.#cancel ??= this.#parts.clock.after(cullEvery, () => {
      this.#cancel = undefined;
      this.#cull();
      if (this.size > 0) {
        this.#watch();
      }
    });
  }

  #cull(): void {
    const now = this.#parts.clock.monotonic();
    for (const link of this.#proven.values()) {
      if (link.until > now) {
        break;
      }
      this.#end(link, 'silent');
    }
    for (const link of this.#pending.values()) {
      if (link.until <= now) {
        this.#remove(link);
        this.#parts.unproven(link);
      }
    }
  }
}

function sizeOf({ pending, proven }: Source): number {
  return pending.size + proven.size;
}
