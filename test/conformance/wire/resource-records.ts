import type { GatewayError } from '../../../src/lib/errors.ts';
import type { MsgpackValue } from '../../../src/lib/msgpack.ts';
import type { ResourceOffer } from '../../../src/mesh/reticulum/resource-offer.ts';

/** A Resource that was offered to a listener, and what became of it. */
export interface IncomingRecord {
  readonly offer: ResourceOffer;
  /** 0 … 1 */
  progress: number;
  /** Frames the tap had seen when it began. */
  readonly since: number;
  data: Uint8Array | undefined;
  metadata: MsgpackValue | undefined;
  failed: GatewayError | undefined;
}
