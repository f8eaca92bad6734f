import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { hashLength } from './packet.ts';

/** The way back for the proof of a packet that was passed on. */
export interface ReverseEntry {
  /** The packet came in over it: the proof goes out there. */
  readonly receivedOn: InterfaceHandle;
  /** The packet went out over it: the proof must come in there. */
  readonly sentOn: InterfaceHandle;
}

/** ms that a generation of entries is added to: an entry is kept for one to two of them, as long as the reference keeps one. */
const generationTime = 240_000;
/** Entries of a generation: under a flood the time they are kept for shrinks, never the memory's bound. */
const generationSize = 50_000;

/** Ways back by truncated packet hash, in two generations: bounded in number and in time. */
export class ReverseTable {
  readonly #clock: Clock;
  readonly #size: number;
  #young = new Map<string, ReverseEntry>();
  #old = new Map<string, ReverseEntry>();
  #begun: number;

  constructor(clock: Clock, size: number = generationSize) {
    this.#clock = clock;
    this.#size = size;
    this.#begun = clock.monotonic();
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Whoever sends a proof addresses it to the first 16 B of the packet's hash. */
  add(packetHash: Uint8Array, entry: ReverseEntry): void {
    this.#turn();
    this.#young.set(keyOf(packetHash), entry);
  }

  /** Its entry, which is used up. */
  take(truncatedHash: Uint8Array): ReverseEntry | undefined {
    this.#turn();
    const key = keyOf(truncatedHash);
    const entry = this.#young.get(key) ?? this.#old.get(key);
    this.#young.delete(key);
    this.#old.delete(key);
    return entry;
  }

  #turn(): void {
    const age = this.#clock.monotonic() - this.#begun;
    if (age < generationTime && this.#young.size < this.#size) {
      return;
    }
    this.#old = age < 2 * generationTime ? this.#young : new Map();
    this.#young = new Map();
    this.#begun = this.#clock.monotonic();
  }
}

function keyOf(hash: Uint8Array): string {
  return toHex(hash.length === hashLength ? hash : hash.subarray(0, hashLength));
}
