import { groupOf } from './fair-queue.ts';

/** An announce of somebody else's on its way out of an interface. */
export interface PacedAnnounce {
  /** Destination hash, hex. */
  readonly key: string;
  readonly hops: number;
  /** When it was made, s epoch by its sender's clock. */
  readonly emitted: number;
  readonly packet: Uint8Array;
  /** Name of the interface it was heard on. */
  readonly source: string;
}

export interface QueuedAnnounce extends PacedAnnounce {
  /** Monotonic ms. */
  readonly since: number;
}

/** What waits of one source: by hops, in the order it came. */
interface Lane {
  size: number;
  readonly queues: Map<number, Map<string, QueuedAnnounce>>;
}

interface Group {
  size: number;
  readonly lanes: Map<string, Lane>;
}

interface Place {
  readonly group: string;
  readonly source: string;
  readonly hops: number;
}

/**
 * Announces that wait for one interface, a lane for each interface they were heard on. The lanes have turns: first the
 * configured interfaces among each other, then the peers that one of them found, so that neither a peer that announces
 * without end nor one that connects a hundred times takes more than its part. In a lane the nearest is first.
 */
export class AnnounceLanes {
  /** Whose turn it is comes first. */
  readonly #groups = new Map<string, Group>();
  readonly #places = new Map<string, Place>();

  get size(): number {
    return this.#places.size;
  }

  /** The one that waits for a destination. */
  get(key: string): QueuedAnnounce | undefined {
    const place = this.#places.get(key);
    return place && this.#groups.get(place.group)?.lanes.get(place.source)?.queues.get(place.hops)?.get(key);
  }

  /** One of a destination that has none waiting. */
  add(announce: QueuedAnnounce): void {
    const { key, source, hops } = announce;
    const name = groupOf(source);
    const group = this.#groups.getOrInsertComputed(name, () => ({ size: 0, lanes: new Map() }));
    const lane = group.lanes.getOrInsertComputed(source, () => ({ size: 0, queues: new Map() }));
    lane.queues.getOrInsertComputed(hops, () => new Map()).set(key, announce);
    lane.size += 1;
    group.size += 1;
    this.#places.set(key, { group: name, source, hops });
  }

  remove(key: string): void {
    const place = this.#places.get(key);
    if (place === undefined) {
      return;
    }
    this.#places.delete(key);
    const group = this.#groups.get(place.group)!;
    const lane = group.lanes.get(place.source)!;
    const queue = lane.queues.get(place.hops)!;
    queue.delete(key);
    if (queue.size === 0) {
      lane.queues.delete(place.hops);
    }
    lane.size -= 1;
    if (lane.size === 0) {
      group.lanes.delete(place.source);
    }
    group.size -= 1;
    if (group.size === 0) {
      this.#groups.delete(place.group);
    }
  }

  /** Takes the next: whose turn it is, and of theirs the nearest. */
  shift(): QueuedAnnounce | undefined {
    if (this.size === 0) {
      return undefined;
    }
    const [name, group] = first(this.#groups);
    const [source, { queues }] = first(group.lanes);
    const [key, announce] = first(queues.get(Math.min(...queues.keys()))!);
    rotate(this.#groups, name);
    rotate(group.lanes, source);
    this.remove(key);
    return announce;
  }

  /**
   * Makes room for another: in the fullest lane the farthest goes, and of these the one that came first. False where
   * the fullest is the newcomer's own and nothing in it is farther.
   */
  yields({ source, hops }: PacedAnnounce): boolean {
    const group = fullest(this.#groups);
    const lane = group && fullest(group[1].lanes);
    if (lane === undefined) {
      return false;
    }
    const { queues } = lane[1];
    const farthest = Math.max(...queues.keys());
    if (lane[0] === source && farthest <= hops) {
      return false;
    }
    this.remove(first(queues.get(farthest)!)[0]);
    return true;
  }

  clear(): void {
    this.#groups.clear();
    this.#places.clear();
  }
}

function first<K, V>(map: ReadonlyMap<K, V>): [K, V] {
  return map.entries().next().value as [K, V];
}

/** Puts an entry last. */
function rotate<K, V>(map: Map<K, V>, key: K): void {
  const value = map.get(key)!;
  map.delete(key);
  map.set(key, value);
}

function fullest<V extends { readonly size: number }>(map: ReadonlyMap<string, V>): [string, V] | undefined {
  let most: [string, V] | undefined;
  for (const entry of map) {
    if (most === undefined || entry[1].size > most[1].size) {
      most = entry;
    }
  }
  return most;
}
