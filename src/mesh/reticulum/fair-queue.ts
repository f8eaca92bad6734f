/** What a listener or a LAN finds is named after it: `server/192.0.2.1:5000` belongs to `server`. */
export function groupOf(interfaceName: string): string {
  return interfaceName.split('/', 1)[0]!;
}

/**
 * What waits of many sources, who have turns: first the configured interfaces among each other, then the peers that
 * one of them found. Of one source first in, first out. Sources are told apart by the name of their interface.
 */
export class FairQueue<T> {
  /** Whose turn it is comes first. */
  readonly #groups = new Map<string, Map<string, T[]>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(source: string, item: T): void {
    this.#groups
      .getOrInsertComputed(groupOf(source), () => new Map<string, T[]>())
      .getOrInsertComputed(source, () => [])
      .push(item);
    this.#size += 1;
  }

  /** The next, whose turn is over with it. */
  shift(): T | undefined {
    const turn = this.#groups.entries().next().value;
    if (turn === undefined) {
      return undefined;
    }
    const [group, sources] = turn;
    const [source, items] = sources.entries().next().value!;
    const item = items.shift()!;
    this.#size -= 1;
    sources.delete(source);
    if (items.length > 0) {
      sources.set(source, items);
    }
    this.#groups.delete(group);
    if (sources.size > 0) {
      this.#groups.set(group, sources);
    }
    return item;
  }

  /** Forgets what waits of a source; how much that was. */
  drop(source: string): number {
    const group = groupOf(source);
    const sources = this.#groups.get(group);
    const dropped = sources?.get(source)?.length ?? 0;
    sources?.delete(source);
    if (sources?.size === 0) {
      this.#groups.delete(group);
    }
    this.#size -= dropped;
    return dropped;
  }
}
