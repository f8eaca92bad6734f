import { Reader } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { MeshStorage } from '../storage.ts';

/*
 * The newest packet hashes as they are stored, in chunks that are written over in turn, each under its number as two
 * digits of hex:
 *
 *     version 1 | which in the order of all chunks ever begun 4 | first 8 B of each hash …, oldest first
 */
const version = 1;
const headLength = 5;
/** Bytes that are kept of a hash. */
export const keptLength = 8;
/** Hashes in a chunk, and chunks: 131 072 hashes, a mebibyte. */
const chunkHashes = 4096;
const chunks = 32;
/** ms that a hash may lie unwritten: what is lost with a kill is a little of what might still go round. */
const writeEvery = 15 * 60_000;

export interface HashJournalParts {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly counters: Counters;
}

interface Chunk {
  readonly order: number;
  readonly hashes: Uint8Array;
  used: number;
  dirty: boolean;
}

/** Keeps the newest packet hashes over a restart, bounded, and writes them rarely: a card that wears is not to feel it. */
export class HashJournal {
  readonly #parts: HashJournalParts;
  readonly #chunks = new Map<number, Chunk>();
  #current: Chunk | undefined;
  #order = 0;
  #cancel: Cancel | undefined;

  constructor(parts: HashJournalParts) {
    this.#parts = parts;
  }

  /** What is stored, oldest first: the first 8 B of each hash, as views. What does not decode is counted and left out. */
  *load(): Iterable<Uint8Array> {
    const { storage, counters } = this.#parts;
    const stored: { readonly order: number; readonly hashes: Uint8Array }[] = [];
    for (const { key, value } of storage.load('packet-hash')) {
      try {
        stored.push(decodeChunk(key, value));
      } catch (error) {
        counters.add(codeOf(error));
      }
    }
    stored.sort((a, b) => a.order - b.order);
    for (const { order, hashes } of stored) {
      this.#order = Math.max(this.#order, order + 1);
      for (let at = 0; at < hashes.length; at += keptLength) {
        yield hashes.subarray(at, at + keptLength);
      }
    }
  }

  /** Hashes that are not written yet. */
  get unwritten(): number {
    return this.#chunks.values().reduce((sum, { dirty, used }) => sum + (dirty ? used / keptLength : 0), 0);
  }

  /** One was heard. */
  note(hash: Uint8Array): void {
    let chunk = this.#current;
    if (chunk === undefined || chunk.used === chunk.hashes.length) {
      chunk = this.#begin();
    }
    for (let at = 0; at < keptLength; at++) {
      chunk.hashes[chunk.used + at] = hash[at]!;
    }
    chunk.used += keptLength;
    if (!chunk.dirty) {
      chunk.dirty = true;
      this.#cancel ??= this.#parts.clock.after(writeEvery, () => void this.flush());
    }
  }

  /** Resolves when what was noted so far is written, or could not be and waits for the next time. */
  async flush(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    const { storage, log } = this.#parts;
    for (const [number, chunk] of [...this.#chunks]) {
      if (!chunk.dirty) {
        continue;
      }
      chunk.dirty = false;
      try {
        await storage.save('packet-hash', keyOf(number), encodeChunk(chunk));
        if (chunk !== this.#current && !chunk.dirty) {
          // It is on disk, and nobody reads it before the next start.
          this.#chunks.delete(number);
        }
      } catch (error) {
        chunk.dirty = true;
        log.warn({ code: codeOf(error) }, 'packet hashes could not be written, kept for later');
        return;
      }
    }
  }

  #begin(): Chunk {
    const order = this.#order++;
    const chunk = { order, hashes: new Uint8Array(chunkHashes * keptLength), used: 0, dirty: false };
    this.#chunks.set(order % chunks, chunk);
    this.#current = chunk;
    return chunk;
  }
}

function keyOf(number: number): string {
  return number.toString(16).padStart(2, '0');
}

/** Fresh bytes of a chunk as it is stored. */
export function encodeChunk({ order, hashes, used }: Pick<Chunk, 'order' | 'hashes' | 'used'>): Uint8Array {
  const bytes = new Uint8Array(headLength + used);
  bytes[0] = version;
  new DataView(bytes.buffer).setUint32(1, order);
  bytes.set(hashes.subarray(0, used), headLength);
  return bytes;
}

/** The chunk stored under a key, its hashes as a view. Throws `wire/*`. */
export function decodeChunk(
  key: string,
  bytes: Uint8Array,
): { readonly order: number; readonly hashes: Uint8Array } {
  const reader = new Reader(bytes);
  const found = reader.u8('version');
  if (found !== version) {
    throw new GatewayError('wire/unsupported', `stored packet hashes of version ${found}`);
  }
  const order = reader.u32('order');
  const hashes = reader.rest();
  if (hashes.length % keptLength !== 0 || hashes.length > chunkHashes * keptLength) {
    throw new GatewayError('wire/malformed', `${hashes.length} bytes of packet hashes under ${key}`);
  }
  return { order, hashes };
}
