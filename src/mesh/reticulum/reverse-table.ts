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
  /** 16 B: who is to prove it. */
  readonly destinationHash: Uint8Array;
  /** What a proof is addressed to leaves out of the packet's hash, hex: a signature is over the whole. */
  readonly rest: string;
  /** A proof went back. Anybody could have made it, so that another may follow, but only one that is signed. */
  passed: boolean;
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
    this.#turn();
    return this.#young.size + this.#old.size;
  }

  /** Whoever sends a proof addresses it to the first 16 B of the packet's hash. */
  add(packetHash: Uint8Array, entry: Omit<ReverseEntry, 'rest' | 'passed'>): void {
    this.#turn();
    const rest = toHex(packetHash.subarray(hashLength));
    this.#young.set(toHex(packetHash.subarray(0, hashLength)), { ...entry, rest, passed: false });
  }

  /** Its entry, which stays: a proof that came over another interface, or is nobody's, uses nothing up. */
  get(truncatedHash: Uint8Array): ReverseEntry | undefined {
    this.#turn();
    const key = toHex(truncatedHash);
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** By truncated packet hash, hex. */
  *entries(): Iterable<readonly [string, ReverseEntry]> {
    this.#turn();
    yield* this.#old;
    yield* this.#young;
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
