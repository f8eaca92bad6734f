import type { GatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import type { ResourceAdvertisement } from './resource-wire.ts';

/** A Resource that the other end would like to send. */
export interface ResourceOffer {
  /** 32 B: of the first segment. */
  readonly hash: Uint8Array;
  /** Bytes of the data with its metadata, uncompressed. */
  readonly size: number;
  /** Bytes of the first segment as it travels. */
  readonly transferSize: number;
  readonly segments: number;
  readonly compressed: boolean;
  readonly metadata: boolean;
  readonly requestId: Uint8Array | undefined;
}

/** A Resource that is here, whole and sound. */
export interface ReceivedResource {
  /** 32 B: of the first segment. */
  readonly hash: Uint8Array;
  /** Without the metadata; the receiver's to keep. */
  readonly data: Uint8Array;
  readonly metadata: MsgpackValue | undefined;
  /** Bytes that travelled. */
  readonly transferSize: number;
  readonly requestId: Uint8Array | undefined;
  /**
   * Sends the proof that lets the sender know it arrived: call it when the data is safe. The sender
   * gives it up after some 40 s. Again does it again.
   */
  prove(): void;
  /** Tells the sender that it is not wanted after all. */
  reject(): void;
  /** The data is not kept: gives back the room it takes, and tells the sender nothing. It may still be proven. */
  drop(): void;
}

/** Who takes an offer, and what it hears about it. None of these must throw. */
export interface ResourceReception {
  /** Bytes that a compressed segment may become; default 64 MiB. Whoever sends more loses the link. */
  readonly maxDecompressed?: number;
  onResource(resource: ReceivedResource): void;
  /** Parts are about to be asked for; `cancel` stops that, and tells the sender. */
  onStart?(cancel: () => void): void;
  /** 0 … 1 */
  onProgress?(progress: number): void;
  /** `mesh/timeout`, `mesh/link-closed`, `mesh/rejected` (the sender cancelled), `wire/*`, `crypto/undecryptable`. */
  onFailed?(error: GatewayError): void;
}

/** The answer to an offer: who takes it, `reject` to say no, `ignore` to say nothing. */
export type OfferDecision = ResourceReception | 'reject' | 'ignore';

/** What a receiver is asked, of what an advertisement says. */
export function offerOf(advertisement: ResourceAdvertisement): ResourceOffer {
  return {
    hash: advertisement.originalHash,
    size: advertisement.dataSize,
    transferSize: advertisement.transferSize,
    segments: advertisement.segments,
    compressed: advertisement.flags.compressed,
    metadata: advertisement.flags.metadata,
    requestId: advertisement.requestId,
  };
}
