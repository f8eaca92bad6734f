import type { Compressor, LinkPort } from './link-port.ts';
import type { ResourceAdvertisement } from './resource-wire.ts';

/** The data of a segment, and the same compressed if that was asked for, worked, and is worth it. */
export interface Packed {
  readonly piece: Uint8Array;
  readonly smaller: Uint8Array | undefined;
}

/**
 * A segment is proven only when it is decompressed, so the link may be that many times as fast as it
 * looks: then one that is not compressed shows how fast it is.
 */
const mayBeFaster = 4;
/** Bytes of a segment from which on the time it takes says something. */
const tellingSize = 65_536;

/** Compresses what leaves over one link, as long as the link is what takes longer. How fast that is shows in what it has carried. */
export class ResourcePacker {
  readonly #port: Pick<LinkPort, 'clock' | 'counters'>;
  readonly #compressor: Compressor | undefined;
  /** byte/ms of compressing at its best; 0 while unknown. */
  #packRate = 0;
  /** byte/ms of the link; 0 while unknown. */
  #linkRate = 0;
  /** A segment that was not compressed has shown it. */
  #measured = false;

  constructor(port: Pick<LinkPort, 'clock' | 'counters'>, compressor: Compressor | undefined) {
    this.#port = port;
    this.#compressor = compressor;
  }

  /** Never rejects. */
  async pack(piece: Uint8Array): Promise<Packed> {
    const faster = this.#packRate > 0 && this.#linkRate > this.#packRate;
    if (piece.length === 0 || this.#compressor === undefined || faster) {
      return { piece, smaller: undefined };
    }
    const { clock, counters } = this.#port;
    const began = clock.monotonic();
    try {
      const smaller = await this.#compressor.compress(piece);
      if (piece.length >= tellingSize) {
        this.#packRate = Math.max(this.#packRate, rateOf(piece.length, clock.monotonic() - began));
      }
      return { piece, smaller };
    } catch {
      counters.add('resource/not-compressed');
      return { piece, smaller: undefined };
    }
  }

  /** A segment was proven, so many ms after it was advertised. */
  carried({ transferSize, flags }: ResourceAdvertisement, took: number): void {
    if (transferSize < tellingSize || (flags.compressed && this.#measured)) {
      return;
    }
    this.#measured = !flags.compressed;
    this.#linkRate = rateOf(transferSize, took) * (flags.compressed ? mayBeFaster : 1);
  }
}

/** byte/ms */
function rateOf(bytes: number, took: number): number {
  return bytes / Math.max(took, 0.01);
}
