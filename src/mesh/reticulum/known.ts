import { fromLatin1, Reader, toLatin1, Writer } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { MeshStorage } from '../storage.ts';
import { readAnnounce } from './announce.ts';
import { PublicIdentity } from './identity.ts';
import { keyLength } from './keys.ts';
import { hashLength } from './packet.ts';
import { Shelf } from './shelf.ts';
import { WriteBehind } from './write-behind.ts';

/**
 * What is known of other destinations from their announces. Stored under the destination hash:
 *
 *     version 1 | flags 1 (ratchet in the announce 1, older ratchet 2, used 4) | heard, ms epoch 8 |
 *     ratchet heard, ms epoch 8 | packet hash 32 | [older ratchet 32] | data of the announce …
 */
export interface Known {
  /** 16 B. */
  readonly destinationHash: Uint8Array;
  readonly identity: PublicIdentity;
  /** 10 B: which kind of destination it is. */
  readonly nameHash: Uint8Array;
  readonly appData: Uint8Array | undefined;
  /** The newest ratchet (32 B) it announced, unless that is too long ago. */
  readonly ratchet: Uint8Array | undefined;
  /** ms epoch, 0 without a ratchet. */
  readonly ratchetHeard: number;
  /** ms epoch of the last announce that was taken. */
  readonly heard: number;
  /** Hash (32 B) of that announce's packet. */
  readonly packetHash: Uint8Array;
  /** Data of that announce's packet: what is passed on to others. */
  readonly announce: Uint8Array;
  /** Whether a ratchet is in it. */
  readonly announceHasRatchet: boolean;
  /** Something was sent to it: it is kept longer than what was only heard. */
  readonly used: boolean;
}

/** How long a peer's ratchet is used after it was heard, ms. */
export const ratchetLifetime = 30 * 24 * 3_600_000;
/** Destinations remembered. */
const defaultCapacity = 100_000;
const version = 2;

export interface KnownParts {
  readonly clock: Clock;
  readonly storage: MeshStorage;
  readonly log: Log;
  readonly counters: Counters;
  readonly capacity?: number;
}

/** What an announce says, in bytes that are the table's to keep. */
export interface Heard {
  readonly destinationHash: Uint8Array;
  readonly identity: PublicIdentity;
  readonly nameHash: Uint8Array;
  readonly appData: Uint8Array | undefined;
  readonly ratchet: Uint8Array | undefined;
  readonly packetHash: Uint8Array;
  /** Data of the announce's packet; most of what else is in bytes here are views into it. */
  readonly announce: Uint8Array;
  readonly announceHasRatchet: boolean;
}

/**
 * The known destinations, bounded. When full, the one heard longest ago goes: first of those that
 * nothing was ever sent to, so that a flood of announces cannot displace correspondents.
 */
export class KnownDestinations {
  readonly #clock: Clock;
  readonly #capacity: number;
  /** Those only heard as they are stored, as text: 100 000 of them are to have room. Those in use are open. */
  readonly #entries = new Shelf<Known, string>({
    pack: known => toLatin1(encodeKnown(known)),
    unpack: (key, stored) => decodeKnown(key, fromLatin1(stored)),
  });
  readonly #journal: WriteBehind;

  /** Loads what is stored; entries that do not decode are counted and dropped. */
  constructor(parts: KnownParts) {
    const { clock, storage, log, counters } = parts;
    this.#clock = clock;
    this.#capacity = parts.capacity ?? defaultCapacity;
    this.#journal = new WriteBehind({
      clock,
      storage,
      log,
      kind: 'identity-heard',
      encode: key => this.#stored(key),
    });
    // What was only heard is not held decoded while it is sorted: a table's worth of that is ten times the table.
    const stored: { readonly key: string; readonly heard: number; readonly kept: Known | string }[] = [];
    for (const { key, value } of storage.load('identity-heard')) {
      try {
        const known = decodeKnown(key, value);
        stored.push({ key, heard: known.heard, kept: known.used ? known : toLatin1(value) });
      } catch (error) {
        counters.add(codeOf(error));
        this.#journal.mark(key);
      }
    }
    for (const { key, kept } of stored.sort((a, b) => a.heard - b.heard)) {
      if (typeof kept === 'string') {
        this.#entries.setPacked(key, kept);
      } else {
        this.#entries.setOpen(key, kept);
      }
      this.#makeRoom();
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  /** By destination hash as hex. */
  get(key: string): Known | undefined {
    const known = this.#entries.get(key);
    if (known?.ratchet && this.#clock.now() > known.ratchetHeard + ratchetLifetime) {
      return { ...known, ratchet: undefined, ratchetHeard: 0 };
    }
    return known;
  }

  /** In no order. `may`: whether one is of use, by its destination hash as hex: what is not is not decoded. */
  values(may?: (key: string) => boolean): Iterable<Known> {
    return this.#entries.values(may);
  }

  /** An announce was taken. A ratchet heard earlier stays where this one brings none. */
  remember(key: string, heard: Heard): Known {
    const before = this.#entries.get(key);
    const now = this.#clock.now();
    const known: Known = {
      ...heard,
      ratchet: heard.ratchet ?? before?.ratchet,
      ratchetHeard: heard.ratchet ? now : (before?.ratchetHeard ?? 0),
      heard: now,
      used: before?.used ?? false,
    };
    this.#put(key, known);
    this.#journal.mark(key);
    return known;
  }

  /** Something is sent to it. */
  use(key: string): void {
    const known = this.#entries.get(key);
    if (known?.used === false) {
      this.#entries.setOpen(key, { ...known, used: true });
      this.#journal.mark(key);
    }
  }

  /** Entries whose change is not written yet. */
  get unwritten(): number {
    return this.#journal.size;
  }

  /** Resolves when everything is written. */
  flush(): Promise<void> {
    return this.#journal.flush();
  }

  /** An entry as it is stored, which is how one that was only heard is packed. */
  #stored(key: string): Uint8Array | undefined {
    const packed = this.#entries.packed(key);
    if (packed !== undefined) {
      return fromLatin1(packed);
    }
    const known = this.#entries.get(key);
    return known && encodeKnown(known);
  }

  #put(key: string, known: Known): void {
    // The newest is to be the last.
    this.#entries.delete(key);
    if (known.used) {
      this.#entries.setOpen(key, known);
    } else {
      this.#entries.set(key, known);
    }
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.size > this.#capacity) {
      const oldest = this.#entries.oldest() as string;
      this.#entries.delete(oldest);
      this.#journal.mark(oldest);
    }
  }
}

const hasRatchet = 1;
const hasOlderRatchet = 2;
const wasUsed = 4;

/** Fresh bytes of an entry as it is stored. */
export function encodeKnown(known: Known): Uint8Array {
  const { announce, announceHasRatchet } = known;
  const older = announceHasRatchet ? undefined : known.ratchet;
  const writer = new Writer(82 + announce.length)
    .u8(version)
    .u8((announceHasRatchet ? hasRatchet : 0) | (older ? hasOlderRatchet : 0) | (known.used ? wasUsed : 0))
    .u64(BigInt(Math.round(known.heard)))
    .u64(BigInt(Math.round(known.ratchetHeard)))
    .raw(known.packetHash);
  if (older) {
    writer.raw(older);
  }
  return writer.raw(announce).finish();
}

/** The entry stored under a key, which is the destination hash as hex. Throws `wire/*`. */
export function decodeKnown(key: string, bytes: Uint8Array): Known {
  const reader = new Reader(bytes);
  const found = reader.u8('version');
  if (found !== version) {
    throw new GatewayError('wire/unsupported', `stored destination of version ${found}`);
  }
  const flags = reader.u8('flags');
  const heard = Number(reader.u64('heard'));
  const ratchetHeard = Number(reader.u64('ratchet heard'));
  const packetHash = new Uint8Array(reader.take(32, 'packet hash'));
  const older = flags & hasOlderRatchet ? new Uint8Array(reader.take(keyLength, 'ratchet')) : undefined;
  const announce = new Uint8Array(reader.rest());
  const announceHasRatchet = (flags & hasRatchet) !== 0;
  const { publicKey, nameHash, ratchet, appData } = readAnnounce(announce, announceHasRatchet);
  if (!/^[0-9a-f]{32}$/.test(key)) {
    throw new GatewayError('wire/malformed', `a destination is stored under ${hashLength} bytes of hex`);
  }
  return {
    destinationHash: Uint8Array.fromHex(key),
    identity: new PublicIdentity(publicKey),
    nameHash,
    appData,
    ratchet: ratchet ?? older,
    ratchetHeard,
    heard,
    packetHash,
    announce,
    announceHasRatchet,
    used: (flags & wasUsed) !== 0,
  };
}
