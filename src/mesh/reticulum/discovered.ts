import { fromHex, toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { decode, encode } from '../../lib/msgpack.ts';
import type { MeshStorage } from '../storage.ts';
import { decodeNotice, discoveryKey, type InterfaceNotice } from './discovery-wire.ts';
import { hashLength } from './packet.ts';
import { WriteBehind } from './write-behind.ts';

/** An interface of somebody else's that was announced. */
export interface DiscoveredInterface {
  /** Hex: tells it from the others. */
  readonly key: string;
  readonly notice: InterfaceNotice;
  /** What `notice` was read from. */
  readonly facts: Uint8Array;
  /** Identity hash (16 B) that announced it. */
  readonly networkId: Uint8Array;
  /** Bits of work in its stamp. */
  readonly value: number;
  readonly hops: number;
  /** ms epoch of the first and the last announce. */
  readonly discovered: number;
  readonly heard: number;
  /** Announces since the first. */
  readonly heardCount: number;
}

/** How long ago it was heard. Source: RNS 1.5.7. */
export type DiscoveredStatus = 'available' | 'unknown' | 'stale';

const hour = 3_600_000;
/** ms after which one is not known to be there any more, is taken to be gone, and is forgotten. */
export const discoveredAges = { unknown: 24 * hour, stale: 72 * hour, gone: 168 * hour } as const;
/** Interfaces remembered, and of one identity. */
export const discoveredMost = 1024;
export const discoveredOfOne = 64;
const version = 1;

export interface DiscoveredParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
  readonly capacity?: number;
}

/**
 * The announced interfaces, bounded and stored. When full, the one heard least often goes, of those the one heard
 * longest ago: what has been there for days outlasts a flood of what is new.
 */
export class Discovered {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #entries = new Map<string, DiscoveredInterface>();
  readonly #journal: WriteBehind;

  /** Loads what is stored; entries that do not decode are counted and dropped. */
  constructor(parts: DiscoveredParts) {
    const { clock, storage, counters } = parts;
    this.#clock = clock;
    this.#capacity = parts.capacity ?? discoveredMost;
    this.#journal = new WriteBehind({
      ...parts,
      kind: 'discovered',
      encode: key => {
        const entry = this.#entries.get(key);
        return entry && encodeDiscovered(entry);
      },
    });
    for (const { key, value } of storage.load('discovered')) {
      try {
        this.#entries.set(key, decodeDiscovered(key, value));
      } catch (error) {
        counters.add(codeOf(error));
        this.#journal.mark(key);
      }
    }
    this.#leaveGone();
  }

  get size(): number {
    return this.#entries.size;
  }

  /** An announce with a good stamp was heard; what it is from now on. */
  take(
    heard: Pick<DiscoveredInterface, 'notice' | 'facts' | 'networkId' | 'value' | 'hops'>,
  ): DiscoveredInterface {
    const now = this.#clock.now();
    const key = toHex(discoveryKey(heard.notice));
    const before = this.#entries.get(key);
    const entry = {
      ...heard,
      key,
      discovered: before?.discovered ?? now,
      heard: now,
      heardCount: before === undefined ? 0 : before.heardCount + 1,
    };
    this.#entries.set(key, entry);
    this.#journal.mark(key);
    this.#leaveGone();
    const ofOne = this.#all().filter(one => toHex(one.networkId) === toHex(heard.networkId));
    if (ofOne.length > discoveredOfOne) {
      this.#leave(leastKnown(ofOne, key));
    }
    if (this.#entries.size > this.#capacity) {
      this.#leave(leastKnown(this.#all(), key));
    }
    return entry;
  }

  /** All that were heard within a week: what is best known to be there first. */
  values(): DiscoveredInterface[] {
    this.#leaveGone();
    const rank = { available: 0, unknown: 1, stale: 2 } as const;
    return this.#all().sort(
      (a, b) => rank[this.statusOf(a)] - rank[this.statusOf(b)] || b.value - a.value || b.heard - a.heard,
    );
  }

  statusOf({ heard }: DiscoveredInterface): DiscoveredStatus {
    const age = this.#clock.now() - heard;
    return age > discoveredAges.stale ? 'stale' : age > discoveredAges.unknown ? 'unknown' : 'available';
  }

  /** Resolves when everything is written. */
  flush(): Promise<void> {
    return this.#journal.flush();
  }

  #all(): DiscoveredInterface[] {
    return [...this.#entries.values()];
  }

  #leaveGone(): void {
    const before = this.#clock.now() - discoveredAges.gone;
    for (const { key, heard } of this.#all()) {
      if (heard < before) {
        this.#leave(key);
      }
    }
  }

  #leave(key: string): void {
    this.#entries.delete(key);
    this.#journal.mark(key);
  }
}

/** Who gives way, but not who has just come. */
function leastKnown(all: readonly DiscoveredInterface[], newcomer: string): string {
  const others = all.filter(({ key }) => key !== newcomer);
  return others.reduce((least, one) => (isLess(one, least) ? one : least)).key;
}

function isLess(a: DiscoveredInterface, b: DiscoveredInterface): boolean {
  return a.heardCount === b.heardCount ? a.heard < b.heard : a.heardCount < b.heardCount;
}

/** Fresh bytes of an entry as it is stored: a list of version, network id, value, hops, times, count and facts. */
export function encodeDiscovered(entry: DiscoveredInterface): Uint8Array {
  const { networkId, value, hops, discovered, heard, heardCount, facts } = entry;
  return encode([
    version,
    networkId,
    value,
    hops,
    Math.round(discovered),
    Math.round(heard),
    heardCount,
    facts,
  ]);
}

/** The entry stored under a key. Throws `wire/*`. */
export function decodeDiscovered(key: string, bytes: Uint8Array): DiscoveredInterface {
  const list = decode(bytes, { maxDepth: 2, maxItems: 16 });
  const [found, networkId, value, hops, discovered, heard, heardCount, facts] = Array.isArray(list)
    ? list
    : [];
  const isNumber = (one: unknown): one is number => typeof one === 'number';
  if (
    found !== version ||
    !(networkId instanceof Uint8Array && networkId.length === hashLength) ||
    !(isNumber(value) && isNumber(hops) && isNumber(discovered) && isNumber(heard) && isNumber(heardCount)) ||
    !(facts instanceof Uint8Array)
  ) {
    throw new GatewayError('wire/malformed', 'a discovered interface that was stored otherwise');
  }
  const own = new Uint8Array(facts);
  const notice = decodeNotice(own);
  if (toHex(discoveryKey(notice)) !== key) {
    throw new GatewayError('wire/malformed', 'a discovered interface stored under another key');
  }
  return {
    key,
    notice,
    facts: own,
    networkId: fromHex(toHex(networkId), hashLength),
    value,
    hops,
    discovered,
    heard,
    heardCount,
  };
}
