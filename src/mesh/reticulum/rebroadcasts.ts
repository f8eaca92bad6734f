import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Random } from '../../lib/random.ts';
import { Alarm } from './alarm.ts';

/** An announce that is to be passed on. */
export interface Rebroadcast {
  /** Destination hash, hex. */
  readonly key: string;
  /** How far its destination is from here. */
  readonly hops: number;
  /** When it was made, s epoch by its sender's clock. */
  readonly emitted: number;
  /** The packet as it leaves. */
  readonly packet: Uint8Array;
}

/** How far the passing on of an announce is. */
export interface RebroadcastState extends Rebroadcast {
  /** When the next copy leaves, or after the last one, when it is over; monotonic ms. */
  readonly due: number;
  /** Copies that left. */
  readonly sent: number;
  /** Neighbours that passed it on as we do. */
  readonly echoes: number;
}

interface Entry extends RebroadcastState {
  hops: number;
  packet: Uint8Array;
  due: number;
  sent: number;
  echoes: number;
}

/** ms within which the first copy leaves, at a random moment: neighbours that heard it too are not to speak at once. */
const spread = 500;
/** ms until the second copy, unless a neighbour was heard to pass it on. */
const grace = 5000;
/** Copies that leave. */
const copies = 2;
/** Neighbours heard to pass it on, after which our own second copy is not needed. */
const echoesEnough = 2;
/** Announces under way; the oldest gives way. */
const defaultCapacity = 20_000;
/** ms: announces that are due within it leave together. */
const slot = 25;

export interface RebroadcastsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly send: (announce: Rebroadcast) => void;
  readonly capacity?: number;
}

/**
 * Passes announces on: a copy after a random moment, and a second one some seconds later unless
 * neighbours are heard to have taken the first.
 *
 * Source: Reticulum manual, “Announce Propagation Rules”; the times are those of RNS 1.5.7.
 */
export class Rebroadcasts {
  readonly #parts: RebroadcastsParts;
  readonly #entries = new Map<string, Entry>();
  /** Keys by when they are due, in slots. */
  readonly #slots = new Map<number, Set<string>>();
  readonly #alarm: Alarm;
  /** The first slot in which something is due. */
  #next = Number.POSITIVE_INFINITY;

  constructor(parts: RebroadcastsParts) {
    this.#parts = parts;
    this.#alarm = new Alarm(parts.clock, () => this.#ring());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** By destination hash, hex. */
  get(key: string): RebroadcastState | undefined {
    return this.#entries.get(key);
  }

  add(announce: Rebroadcast): void {
    const { clock, random, counters, capacity = defaultCapacity } = this.#parts;
    this.#forget(announce.key);
    if (this.#entries.size >= capacity) {
      counters.add('announce/rebroadcast-full');
      this.#forget(this.#entries.keys().next().value as string);
    }
    const entry = { ...announce, due: clock.monotonic() + random.fraction() * spread, sent: 0, echoes: 0 };
    this.#entries.set(announce.key, entry);
    this.#schedule(entry);
  }

  /** The same announce came a better way while it is being passed on: what leaves yet says so. False where it is not. */
  renews({ key, emitted, hops, packet }: Rebroadcast): boolean {
    const entry = this.#entries.get(key);
    if (entry?.emitted !== emitted) {
      return false;
    }
    entry.hops = hops;
    entry.packet = packet;
    return true;
  }

  /**
   * A neighbour passed the same announce on; `hops` as it was received. One that is as far from the
   * destination as we are did what we do, one that is farther took our copy.
   */
  heard(key: string, hops: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      return;
    }
    if (hops - 1 === entry.hops) {
      entry.echoes += 1;
      if (entry.sent > 0 && entry.echoes >= echoesEnough) {
        this.#forget(key);
      }
    } else if (hops - 1 === entry.hops + 1 && entry.sent > 0) {
      this.#forget(key);
    }
  }

  close(): void {
    this.#alarm.stop();
    this.#entries.clear();
    this.#slots.clear();
  }

  #schedule(entry: Entry): void {
    const at = Math.ceil(entry.due / slot);
    this.#slots.getOrInsertComputed(at, () => new Set()).add(entry.key);
    this.#wake(at);
  }

  #wake(at: number): void {
    if (at < this.#next) {
      this.#next = at;
      this.#alarm.at(at * slot);
    }
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      this.#entries.delete(key);
      this.#slots.get(Math.ceil(entry.due / slot))?.delete(key);
    }
  }

  #ring(): void {
    const now = this.#parts.clock.monotonic();
    this.#next = Number.POSITIVE_INFINITY;
    const due: Entry[] = [];
    for (const [at, keys] of [...this.#slots].filter(([at]) => at * slot <= now)) {
      this.#slots.delete(at);
      due.push(...[...keys].map(key => this.#entries.get(key)!));
    }
    // The nearest destinations are told first, as where announces wait.
    for (const entry of due.sort((a, b) => a.hops - b.hops)) {
      this.#send(entry, now);
    }
    for (const at of this.#slots.keys()) {
      this.#wake(at);
    }
  }

  #send(entry: Entry, now: number): void {
    if (entry.sent >= copies) {
      this.#entries.delete(entry.key);
      return;
    }
    entry.sent += 1;
    entry.due = now + grace + spread;
    this.#schedule(entry);
    this.#parts.send(entry);
  }
}
