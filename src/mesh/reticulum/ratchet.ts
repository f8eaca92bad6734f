import type { KeyObject } from 'node:crypto';
import { Reader, toHex, Writer } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { MeshStorage } from '../storage.ts';
import { type OpeningRatchet, ratchetId } from './identity.ts';
import { importPrivate, keyLength, publicOf } from './keys.ts';

/**
 * Ratchets: X25519 keys that a destination announces besides its Identity, changes again and again
 * and in the end forgets, so that what was once sent to it cannot be opened for ever. Old ones are
 * kept for senders that have not heard of the newest.
 *
 * Stored, newest first:  version 1 | count 2 | (created, ms epoch 8 | private key 32) …
 *
 * Source: SPEC.md §7.3, §7.4; times and counts of RNS 1.5.7. The stored form is our own.
 */
export interface Ratchet {
  /** ms epoch */
  readonly created: number;
  /** 32 B, secret. */
  readonly privateKey: Uint8Array;
}

/** Shortest time between two new ratchets, ms. */
export const ratchetInterval = 30 * 60_000;
/** Ratchets kept: with one every half hour, senders may be ten days behind. */
export const retainedRatchets = 512;

const version = 1;

export interface RatchetRingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly storage: MeshStorage;
}

/** The ratchets of one local destination. */
export class RatchetRing {
  readonly #parts: RatchetRingParts;
  readonly #key: string;
  #ratchets: readonly Ratchet[];
  #interval = ratchetInterval;
  #retained = retainedRatchets;
  #openers: OpeningRatchet[] | undefined;
  #current: Uint8Array | undefined;
  #rotation: Promise<void> | undefined;

  /** `ratchets` are those stored, newest first. */
  constructor(destinationHash: Uint8Array, ratchets: readonly Ratchet[], parts: RatchetRingParts) {
    this.#key = toHex(destinationHash);
    this.#ratchets = ratchets;
    this.#parts = parts;
  }

  /**
   * The public key (32 B) to announce, after making a new one where the newest is old. A new one is
   * durable when this resolves. Rejects with the storage's error only where there is none at all.
   */
  async announced(): Promise<Uint8Array> {
    const newest = this.#ratchets[0];
    if (newest === undefined || this.#parts.clock.now() >= newest.created + this.#interval) {
      this.#rotation ??= this.#rotate().finally(() => {
        this.#rotation = undefined;
      });
      try {
        await this.#rotation;
      } catch (error) {
        if (newest === undefined) {
          throw error;
        }
      }
    }
    this.#current ??= publicOf(importPrivate('x25519', this.#ratchets[0]!.privateKey));
    return this.#current;
  }

  /** ms between two new ratchets at least. */
  get interval(): number {
    return this.#interval;
  }

  /** Throws `config/invalid` where it is no time. */
  set interval(interval: number) {
    refuseNone(interval, 'the time between two ratchets');
    this.#interval = interval;
  }

  /** Ratchets kept; what is more goes with the next one made. At most 512. */
  get retained(): number {
    return this.#retained;
  }

  /** Throws `config/invalid` where none would be kept. */
  set retained(count: number) {
    refuseNone(count, 'the ratchets kept');
    this.#retained = Math.min(count, retainedRatchets);
    this.#ratchets = this.#ratchets.slice(0, this.#retained);
    this.#openers = this.#openers?.slice(0, this.#retained);
  }

  /** Every ratchet kept, newest first. */
  get kept(): readonly Ratchet[] {
    return this.#ratchets;
  }

  /** Every ratchet kept, newest first, ready to open with. */
  openers(): readonly OpeningRatchet[] {
    this.#openers ??= this.#ratchets.map(opener);
    return this.#openers;
  }

  async #rotate(): Promise<void> {
    const { clock, random, storage } = this.#parts;
    const fresh = { created: clock.now(), privateKey: random.bytes(keyLength) };
    const ratchets = [fresh, ...this.#ratchets].slice(0, this.#retained);
    await storage.save('ratchet', this.#key, encodeRatchets(ratchets));
    this.#ratchets = ratchets;
    this.#current = undefined;
    this.#openers = this.#openers && [opener(fresh), ...this.#openers].slice(0, this.#retained);
  }
}

function refuseNone(count: number, what: string): void {
  if (!Number.isSafeInteger(count) || count <= 0) {
    throw new GatewayError('config/invalid', `${what}: ${count}, at least 1`);
  }
}

function opener(ratchet: Ratchet): OpeningRatchet {
  const key: KeyObject = importPrivate('x25519', ratchet.privateKey);
  return { key, id: ratchetId(publicOf(key)) };
}

/** Fresh bytes of ratchets as they are stored, newest first. */
export function encodeRatchets(ratchets: readonly Ratchet[]): Uint8Array {
  const writer = new Writer(3 + ratchets.length * (8 + keyLength)).u8(version).u16(ratchets.length);
  for (const ratchet of ratchets) {
    writer.u64(BigInt(Math.round(ratchet.created))).raw(ratchet.privateKey);
  }
  return writer.finish();
}

/** Stored ratchets, newest first, as views. Throws `wire/truncated`, `wire/malformed`, `wire/unsupported`. */
export function decodeRatchets(bytes: Uint8Array): Ratchet[] {
  const reader = new Reader(bytes);
  const found = reader.u8('version');
  if (found !== version) {
    throw new GatewayError('wire/unsupported', `stored ratchets of version ${found}`);
  }
  const count = reader.u16('count');
  const ratchets: Ratchet[] = [];
  for (let i = 0; i < count; i++) {
    const created = Number(reader.u64('created'));
    ratchets.push({ created, privateKey: reader.take(keyLength, 'ratchet') });
  }
  reader.end('stored ratchets');
  return ratchets;
}
