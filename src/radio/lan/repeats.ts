import { createHash } from 'node:crypto';

interface Heard {
  readonly from: string;
  readonly until: number;
}

/** Packets remembered, and ms for which they are. Source: RNS 1.5.7, AutoInterface. */
const capacity = 48;
const life = 750;

/**
 * Knows what came a moment ago from another place: two nodes that meet on two networks say everything
 * twice. What the same place says again is no repeat but meant, such as a part of a Resource that was lost.
 */
export class Repeats {
  /** By the packet's hash, the oldest first. */
  readonly #heard = new Map<string, Heard>();

  /** Whether the packet is a repeat; remembers it otherwise. `now` is in ms. */
  isRepeat(packet: Uint8Array, from: string, now: number): boolean {
    const hash = createHash('sha256').update(packet).digest('latin1');
    const before = this.#heard.get(hash);
    if (before !== undefined && now < before.until && before.from !== from) {
      return true;
    }
    this.#heard.delete(hash);
    this.#heard.set(hash, { from, until: now + life });
    if (this.#heard.size > capacity) {
      const [oldest] = this.#heard.keys();
      this.#heard.delete(oldest as string);
    }
    return false;
  }
}
