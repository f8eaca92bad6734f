import { toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import { FairRoom } from '../reticulum/fair-room.ts';
import type { SignedMessage } from './message.ts';
import type { Answer, Arrival } from './receiver.ts';

/**
 * Messages whose sender nobody here has heard of. They wait, unproven, for its announce; when none
 * comes they are taken unverified, while their sender still cares:
 *
 *     held ──announce──► checked and taken, or dropped
 *       │──60 s, or what the sender's patience allows──► taken unverified
 *       └──sent again after the search is over (15 s)──► taken unverified
 *
 * The reference sends a message five times within a minute and then calls it failed, so waiting out
 * the minute in silence would take messages that their senders have given up. What is lost from here,
 * by a crash or for want of room, was not proven and comes again.
 */
export interface Held {
  readonly message: SignedMessage;
  /** How it came first. */
  readonly arrival: Pick<Arrival, 'method' | 'hops' | 'quality'>;
  /** One for each time it came, the newest last; all of them get the same. */
  readonly answers: readonly Answer[];
}

interface Entry extends Held {
  readonly answers: Answer[];
  readonly since: number;
  readonly size: number;
  /** Name of the interface it came over first. */
  readonly source: string;
  readonly cancel: Cancel;
}

/** ms a message is held at most. */
export const holdLongest = 60_000;
/** ms after which a search for an announce is over and a repeat is not held again. */
export const searchOver = 15_000;
const countMost = 256;
const bytesMost = 16 * 1024 * 1024;
const answersMost = 8;
/** Of its sender's patience, what is left for taking the message. */
const takingTime = 5000;

/**
 * The messages held, bounded in number, shared among the interfaces they come over, and in bytes; what finds no room is
 * dropped, unproven.
 */
export class HeldMessages {
  readonly #clock: Clock;
  readonly #giveUp: (held: Held) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #room = new FairRoom(countMost);
  #bytes = 0;

  /** `giveUp` takes what was held in vain. */
  constructor(clock: Clock, giveUp: (held: Held) => void) {
    this.#clock = clock;
    this.#giveUp = giveUp;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Holds a message; `first` where it was not held before, `full` where there is no room. */
  hold(arrival: Arrival, message: SignedMessage): 'first' | 'again' | 'full' {
    // The id does not cover the signature: a forgery must not stand in for the message it copies.
    const key = `${toHex(message.id)}${toHex(message.signature)}`;
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      arrival.drop?.();
      entry.answers.push(answerOf(arrival));
      if (entry.answers.length > answersMost) {
        entry.answers.shift()?.drop?.();
      }
      if (this.#clock.monotonic() - entry.since >= searchOver) {
        this.#end(key);
      }
      return 'again';
    }
    const size = arrival.packed.length;
    if (this.#bytes + size > bytesMost || !this.#room.take(arrival.interfaceName)) {
      return 'full';
    }
    this.#bytes += size;
    const wait = Math.max(0, Math.min(holdLongest, arrival.patience - takingTime));
    const cancel = this.#clock.after(wait, () => this.#end(key));
    const { method, hops, interfaceName: source, quality } = arrival;
    this.#entries.set(key, {
      message,
      arrival: { method, hops, quality },
      answers: [answerOf(arrival)],
      since: this.#clock.monotonic(),
      size,
      source,
      cancel,
    });
    return 'first';
  }

  /** Everything held from this source (16 B), which is held no more. */
  release(source: Uint8Array): Held[] {
    const wanted = toHex(source);
    const released: Held[] = [];
    for (const [key, entry] of this.#entries) {
      if (toHex(entry.message.source) === wanted) {
        this.#remove(key);
        released.push(entry);
      }
    }
    return released;
  }

  close(): void {
    for (const key of [...this.#entries.keys()]) {
      for (const answer of this.#remove(key)?.answers ?? []) {
        answer.drop?.();
      }
    }
  }

  #end(key: string): void {
    const entry = this.#remove(key);
    if (entry !== undefined) {
      this.#giveUp(entry);
    }
  }

  #remove(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.cancel();
      this.#entries.delete(key);
      this.#bytes -= entry.size;
      this.#room.give(entry.source);
    }
    return entry;
  }
}

/** What is kept of an arrival: its bytes are in the message of the first, and those of a repeat are the same. */
function answerOf({ prove, prepare, refuse, drop }: Arrival): Answer {
  return { prove, ...(prepare && { prepare }), ...(refuse && { refuse }), ...(drop && { drop }) };
}
