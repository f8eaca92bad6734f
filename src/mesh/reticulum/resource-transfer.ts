import { GatewayError } from '../../lib/errors.ts';
import type { Alarm } from './alarm.ts';
import type { Compressor } from './link-port.ts';
import type { ResourceReception } from './resource-offer.ts';
import type { ReceiverFailure, ResourceReceiver } from './resource-receiver.ts';
import { openSegment, type Sealer } from './resource-segment.ts';
import { compressedMost, type ResourceAdvertisement } from './resource-wire.ts';

/** One Resource on its way in, over all its segments. */
export interface Transfer {
  readonly key: string;
  readonly first: ResourceAdvertisement;
  readonly reception: ResourceReception;
  /** What it holds of the budget, from when it is taken to stand still, monotonic ms, and how it gives way. */
  readonly bytes: number;
  staleAt: number;
  readonly source: string;
  giveUp(): void;
  readonly chunks: Uint8Array[];
  got: number;
  travelled: number;
  segment: number;
  /** Of the segment that is coming; undefined between two. */
  receiver: ResourceReceiver | undefined;
  readonly alarm: Alarm;
}

/**
 * The data of the segment that has come. Rejects with `crypto/undecryptable`, with `wire/*` where it is
 * no bzip2 stream, with `mesh/too-large` where it holds more than the Resource has left, and with `wire/unsupported` where there is
 * nothing to decompress it with.
 */
export async function unpack(
  transfer: Transfer,
  receiver: ResourceReceiver,
  sealer: Sealer,
  compressor: Compressor | undefined,
): Promise<Uint8Array> {
  const { advertisement } = receiver;
  const room = transfer.first.dataSize - transfer.got;
  const packed = openSegment(advertisement, receiver.sealed, sealer);
  if (!advertisement.flags.compressed) {
    if (packed.length > room) {
      throw new GatewayError('wire/malformed', 'a Resource holds more than it said');
    }
    return packed;
  }
  if (compressor === undefined) {
    throw new GatewayError('wire/unsupported', 'a compressed Resource, and nothing to decompress it with');
  }
  return await compressor.decompress(
    packed,
    Math.min(room, transfer.reception.maxDecompressed ?? compressedMost),
  );
}

/** Why a Resource did not come, as its reception is told. */
export function failureOf(why: ReceiverFailure): GatewayError {
  switch (why) {
    case 'timeout':
      return new GatewayError('mesh/timeout', 'the sender of a Resource went silent', { retryable: true });
    case 'lost':
      return new GatewayError('mesh/link-closed', 'the link closed under a Resource', { retryable: true });
    case 'cancelled-there':
      return new GatewayError('mesh/rejected', 'the sender cancelled the Resource');
    case 'cancelled-here':
      return new GatewayError('mesh/rejected', 'the Resource was cancelled here');
    case 'corrupt':
      return new GatewayError('wire/malformed', 'a Resource is not what was advertised');
    case 'malformed':
      return new GatewayError('wire/malformed', 'a Resource that cannot be');
  }
}
