import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { Alarm } from './alarm.ts';
import type { InterfaceHandle } from './dispatch.ts';

/** An announce of somebody else's on its way out of an interface. */
export interface PacedAnnounce {
  /** Destination hash, hex. */
  readonly key: string;
  readonly hops: number;
  /** When it was made, s epoch by its sender's clock. */
  readonly emitted: number;
  readonly packet: Uint8Array;
}

interface Queued extends PacedAnnounce {
  /** Monotonic ms. */
  readonly since: number;
}

/** Share of the bitrate that announces passed on may take. Source: Reticulum manual, “Announce Propagation Rules”. */
export const defaultCap = 0.02;
/** Announces that wait for one interface. Source: RNS 1.5.7. */
export const queueLimit = 4096;
/** ms after which one that waits says nothing new any more. Source: RNS 1.5.7. */
export const queueLifetime = 3 * 3_600_000;

export interface AnnouncePacerParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly iface: InterfaceHandle;
  /** Announces that wait at all pacers of a node, and how many may. */
  readonly room: { used: number; readonly limit: number };
  readonly send: (packet: Uint8Array) => void;
}

/**
 * Lets announces of others out of one interface no faster than its share of the bitrate, in every mode:
 * the nearest first, and of one destination only the newest.
 */
export class AnnouncePacer {
  readonly #parts: AnnouncePacerParts;
  /** By hops, in the order they came: nearest destinations are told first. */
  readonly #queues = new Map<number, Map<string, Queued>>();
  readonly #hopsOf = new Map<string, number>();
  readonly #alarm: Alarm;
  /** Monotonic ms from which the next may leave. */
  #free = 0;

  constructor(parts: AnnouncePacerParts) {
    this.#parts = parts;
    this.#alarm = new Alarm(parts.clock, () => this.#drain());
  }

  get waiting(): number {
    return this.#hopsOf.size;
  }

  /** Sends it now where the share allows, or later. */
  offer(announce: PacedAnnounce): void {
    const { clock, room } = this.#parts;
    const now = clock.monotonic();
    const waits = this.#hopsOf.get(announce.key);
    if (waits === undefined && this.#hopsOf.size === 0 && now >= this.#free) {
      this.#let(announce, now);
      return;
    }
    if (waits !== undefined) {
      const before = this.#queues.get(waits)?.get(announce.key);
      if (before !== undefined && before.emitted > announce.emitted) {
        return;
      }
      this.#remove(announce.key, waits);
    } else if (this.#hopsOf.size >= queueLimit || room.used >= room.limit) {
      if (!this.#yields(announce.hops)) {
        return;
      }
    }
    const queue = this.#queues.getOrInsertComputed(announce.hops, () => new Map());
    queue.set(announce.key, { ...announce, since: now });
    this.#hopsOf.set(announce.key, announce.hops);
    room.used += 1;
    this.#alarm.at(Math.max(now, this.#free));
  }

  /** Forgets what waits. */
  close(): void {
    this.#alarm.stop();
    this.#parts.room.used -= this.#hopsOf.size;
    this.#queues.clear();
    this.#hopsOf.clear();
  }

  /** Makes room for one that is nearer than what waits, by the farthest; false, counted, where nothing is farther. */
  #yields(hops: number): boolean {
    this.#parts.counters.add('announce/queue-full');
    const farthest = Math.max(...this.#queues.keys());
    if (farthest <= hops) {
      return false;
    }
    this.#remove(this.#queues.get(farthest)!.keys().next().value as string, farthest);
    return true;
  }

  #drain(): void {
    const now = this.#parts.clock.monotonic();
    while (now >= this.#free) {
      const next = this.#next();
      if (next === undefined) {
        return;
      }
      if (next.since + queueLifetime <= now) {
        this.#parts.counters.add('announce/stale');
        continue;
      }
      this.#let(next, now);
    }
    this.#alarm.at(this.#free);
  }

  #next(): Queued | undefined {
    if (this.#hopsOf.size === 0) {
      return undefined;
    }
    const hops = Math.min(...this.#queues.keys());
    const [key, queued] = this.#queues.get(hops)!.entries().next().value as [string, Queued];
    this.#remove(key, hops);
    return queued;
  }

  #remove(key: string, hops: number): void {
    const queue = this.#queues.get(hops);
    queue?.delete(key);
    if (queue?.size === 0) {
      this.#queues.delete(hops);
    }
    this.#hopsOf.delete(key);
    this.#parts.room.used -= 1;
  }

  #let({ packet }: PacedAnnounce, now: number): void {
    const { iface, send } = this.#parts;
    const sealed = packet.length + (iface.policy?.accessCode?.size ?? 0);
    const onAir = (sealed * 8000) / iface.bitrate;
    const cap = iface.policy?.announce?.cap ?? defaultCap;
    this.#free = now + onAir / cap;
    send(packet);
  }
}
