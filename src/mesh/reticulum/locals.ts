import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { MeshStorage } from '../storage.ts';
import type { LocalDestination } from './destination.ts';
import { decodeRatchets, type Ratchet, RatchetRing } from './ratchet.ts';

/** A registered destination and its ratchets, if it has any. */
export interface Local {
  readonly destination: LocalDestination;
  readonly ring: RatchetRing | undefined;
}

export interface LocalsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
}

/** The destinations served here. */
export class Locals {
  readonly #parts: LocalsParts;
  readonly #locals = new Map<string, Local>();
  /** Of destinations that are not registered, or not yet. */
  readonly #ratchets = new Map<string, readonly Ratchet[]>();

  /** Loads all stored ratchets: what was announced before a restart is still sealed for. */
  constructor(parts: LocalsParts) {
    const { storage, counters, log } = parts;
    this.#parts = parts;
    for (const { key, value } of storage.load('ratchet')) {
      try {
        this.#ratchets.set(key, decodeRatchets(value));
      } catch (error) {
        counters.add(codeOf(error));
        log.error({ destination: key.slice(0, 8), code: codeOf(error) }, 'stored ratchets cannot be read');
      }
    }
  }

  /** By destination hash as hex. */
  get(key: string): Local | undefined {
    return this.#locals.get(key);
  }

  /** Of a destination that must be registered; throws `config/invalid` where it is not. */
  of(destination: LocalDestination): Local {
    const local = this.#locals.get(destination.key);
    if (local?.destination !== destination) {
      throw new GatewayError('config/invalid', `${destination.name} is not registered`);
    }
    return local;
  }

  values(): Iterable<Local> {
    return this.#locals.values();
  }

  /** Throws `config/invalid` where one of the same hash is registered already. */
  add(destination: LocalDestination): void {
    const { key } = destination;
    if (this.#locals.has(key)) {
      throw new GatewayError('config/invalid', `${destination.name} is registered already`);
    }
    const ring = destination.ratchets
      ? new RatchetRing(destination.hash, this.#ratchets.get(key) ?? [], this.#parts)
      : undefined;
    this.#locals.set(key, { destination, ring });
  }

  /** False where it is not registered. Its ratchets are kept for when it comes back. */
  remove(destination: LocalDestination): boolean {
    const key = toHex(destination.hash);
    const local = this.#locals.get(key);
    if (local?.destination !== destination) {
      return false;
    }
    if (local.ring) {
      this.#ratchets.set(key, local.ring.kept);
    }
    return this.#locals.delete(key);
  }
}
