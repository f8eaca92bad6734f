import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { PublicIdentity } from './identity.ts';
import type { Sealer } from './resource-segment.ts';

/** A Link as its requests and Resources see it: something to seal with and to send over. */
export interface LinkPort extends Sealer {
  /** 16 B. */
  readonly id: Uint8Array;
  readonly mtu: number;
  /** Plaintext that fits one packet. */
  readonly mdu: number;
  /** ms */
  readonly rtt: number;
  /** bit/s the link was established at: the first guess of what it can do. */
  readonly establishmentRate: number;
  /** ms that packets wait before they leave now. */
  readonly backlog: number;
  readonly usable: boolean;
  /** Name of the interface it goes over. */
  readonly source: string;
  /** Who the other end said it is, or whose destination it is. */
  readonly remote: PublicIdentity | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** Seals and sends a data packet of this context. Nothing leaves a closed link. */
  sendSealed(context: number, body: Uint8Array, told?: Told): void;
  /** Sends data as it is, as data or as proof. */
  sendClear(as: 'data' | 'proof', context: number, data: Uint8Array): void;
  /** Gives the link up. */
  close(): void;
}

/** What a sender wants to know of a packet by its hash, 32 B. */
export interface Told {
  /** It is about to leave: the answer may be faster than the call that sends it. */
  readonly before: (hash: Uint8Array) => void;
  /** The medium did not take it. */
  readonly refused?: (hash: Uint8Array) => void;
}

/** Compression as a Resource needs it; in a worker, because a mebibyte takes long. */
export interface Compressor {
  /** bzip2 of the bytes, or undefined where it does not pay. */
  compress(bytes: Uint8Array): Promise<Uint8Array | undefined>;
  /** Rejects with `wire/*` where the bytes are no bzip2 stream or give more than `limit` bytes. */
  decompress(bytes: Uint8Array, limit: number): Promise<Uint8Array>;
}
