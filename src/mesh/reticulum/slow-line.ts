import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Burden } from '../interface.ts';
import { FairQueue, groupOf } from './fair-queue.ts';

/** Bytes that the medium is given ahead, and s of its bitrate: that it is never idle. */
const aheadLeast = 1024;
const aheadTime = 0.5;
/** Bytes, and s of its bitrate, that wait in all before only those may add to it who have little waiting. */
const queueLeast = 8192;
const queueTime = 5;
/** ms after which nobody waits any more for the answer to what waits here. */
const patience = 60_000;

export interface SlowLineParts {
  readonly clock: Clock;
  readonly counters: Counters;
  /** bit/s of the medium now. */
  readonly bitrate: () => number;
  /** Whether the medium took it; never rejects. */
  readonly send: (packet: Uint8Array, burden: Burden) => boolean | Promise<boolean>;
}

interface Waiting {
  readonly packet: Uint8Array;
  readonly burden: Burden;
  readonly source: string;
  /** Monotonic ms. */
  readonly since: number;
}

/**
 * What is passed on for others over a medium so slow that nobody can be asked to wait for it. The interfaces that it
 * came over have turns, configured ones first and then the peers that one of them found. When it is full, there is still
 * room for who has little waiting: whoever brings more than the medium carries loses the most of it, and nobody else.
 */
export class SlowLine {
  readonly #parts: SlowLineParts;
  readonly #queue = new FairQueue<Waiting>();
  /** Bytes in the queue by the interface they came over, and by the configured one. */
  readonly #ofSource = new Bytes();
  readonly #ofGroup = new Bytes();
  #waiting = 0;
  /** Bytes that the medium was given and has not taken yet. */
  #given = 0;

  constructor(parts: SlowLineParts) {
    this.#parts = parts;
  }

  /** Bytes that have not left. */
  get size(): number {
    return this.#waiting + this.#given;
  }

  /** Sends it now or later, or drops and counts it. `source`: name of the interface that it came over. */
  pass(packet: Uint8Array, burden: Burden, source: string): void {
    const { clock, counters } = this.#parts;
    if (this.#queue.size === 0 && this.#mayGive(packet.length)) {
      this.#give(packet, burden);
    } else if (this.#hasRoom(packet.length, source)) {
      // What came in lies in the medium's buffer, which is many times as long.
      const own = new Uint8Array(packet);
      this.#queue.add(source, { packet: own, burden, source, since: clock.monotonic() });
      this.#count(source, packet.length);
    } else {
      counters.add('relay/queue-full');
    }
  }

  #mayGive(length: number): boolean {
    const bytesPerSecond = this.#parts.bitrate() / 8;
    return this.#given === 0 || this.#given + length <= Math.max(aheadLeast, bytesPerSecond * aheadTime);
  }

  #hasRoom(length: number, source: string): boolean {
    const most = Math.max(queueLeast, (this.#parts.bitrate() / 8) * queueTime);
    if (this.size + length <= most) {
      return true;
    }
    const own = this.#ofGroup.get(groupOf(source)) + this.#ofSource.get(source);
    return own + length <= Math.min(most / 2, 2 * most - this.size);
  }

  #give(packet: Uint8Array, burden: Burden): void {
    const { length } = packet;
    const sending = this.#parts.send(packet, burden);
    if (typeof sending === 'boolean') {
      return;
    }
    this.#given += length;
    void sending.then(() => {
      this.#given -= length;
      this.#goOn();
    });
  }

  #goOn(): void {
    const { clock, counters } = this.#parts;
    while (this.#queue.size > 0 && this.#mayGive(0)) {
      const { packet, burden, source, since } = this.#queue.shift()!;
      this.#count(source, -packet.length);
      if (clock.monotonic() - since > patience) {
        counters.add('relay/queue-full');
      } else {
        this.#give(packet, burden);
      }
    }
  }

  #count(source: string, bytes: number): void {
    this.#waiting += bytes;
    this.#ofSource.add(source, bytes);
    this.#ofGroup.add(groupOf(source), bytes);
  }
}

class Bytes {
  readonly #bytes = new Map<string, number>();

  get(name: string): number {
    return this.#bytes.get(name) ?? 0;
  }

  add(name: string, bytes: number): void {
    const now = this.get(name) + bytes;
    if (now === 0) {
      this.#bytes.delete(name);
    } else {
      this.#bytes.set(name, now);
    }
  }
}
