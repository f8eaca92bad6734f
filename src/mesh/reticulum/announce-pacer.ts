import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { Alarm } from './alarm.ts';
import { AnnounceLanes, type PacedAnnounce } from './announce-lanes.ts';
import type { InterfaceHandle } from './dispatch.ts';

/** Share of the bitrate that announces passed on may take. Source: Reticulum manual, “Announce Propagation Rules”. */
export const defaultCap = 0.02;
/** Announces that wait for one interface. Source: RNS 1.5.7. */
export const queueLimit = 4096;
/** Announces that may wait in any case, and bytes of a short one: a slow interface holds what it can send in the lifetime. */
const queueLeast = 64;
const shortAnnounce = 167;
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
 * Lets announces of others out of one interface no faster than its share of the bitrate, in every mode: those of each
 * interface in turn, the nearest first, and of one destination only the newest.
 */
export class AnnouncePacer {
  readonly #parts: AnnouncePacerParts;
  readonly #lanes = new AnnounceLanes();
  readonly #alarm: Alarm;
  /** Monotonic ms from which the next may leave. */
  #free = 0;

  constructor(parts: AnnouncePacerParts) {
    this.#parts = parts;
    this.#alarm = new Alarm(parts.clock, () => this.#drain());
  }

  get waiting(): number {
    return this.#lanes.size;
  }

  /** Sends it now where the share allows, or later. */
  offer(announce: PacedAnnounce): void {
    const { clock, room, counters } = this.#parts;
    const now = clock.monotonic();
    const before = this.#lanes.get(announce.key);
    if (before === undefined && this.#lanes.size === 0 && now >= this.#free) {
      this.#let(announce, now);
      return;
    }
    if (before !== undefined) {
      if (before.emitted > announce.emitted) {
        return;
      }
      this.#lanes.remove(announce.key);
      room.used -= 1;
    } else if (this.#lanes.size >= this.#limit() || room.used >= room.limit) {
      counters.add('announce/queue-full');
      if (!this.#lanes.yields(announce)) {
        return;
      }
      room.used -= 1;
    }
    this.#lanes.add({ ...announce, since: now });
    room.used += 1;
    this.#alarm.at(Math.max(now, this.#free));
  }

  /** Forgets what waits. */
  close(): void {
    this.#alarm.stop();
    this.#parts.room.used -= this.#lanes.size;
    this.#lanes.clear();
  }

  #limit(): number {
    const bytes = (this.#cap() * this.#parts.iface.bitrate * queueLifetime) / 8000;
    return Math.min(queueLimit, Math.max(queueLeast, Math.ceil(bytes / shortAnnounce)));
  }

  #cap(): number {
    return this.#parts.iface.policy?.announce?.cap ?? defaultCap;
  }

  #drain(): void {
    const { clock, counters, room } = this.#parts;
    const now = clock.monotonic();
    while (now >= this.#free) {
      const next = this.#lanes.shift();
      if (next === undefined) {
        return;
      }
      room.used -= 1;
      if (next.since + queueLifetime <= now) {
        counters.add('announce/stale');
        continue;
      }
      this.#let(next, now);
    }
    this.#alarm.at(this.#free);
  }

  #let({ packet }: PacedAnnounce, now: number): void {
    const { iface, send } = this.#parts;
    const sealed = packet.length + (iface.policy?.accessCode?.size ?? 0);
    const onAir = (sealed * 8000) / iface.bitrate;
    this.#free = now + onAir / this.#cap();
    send(packet);
  }
}
