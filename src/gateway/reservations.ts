import { GatewayError } from '../lib/errors.ts';
import type { Limits } from './limits.ts';
import type { Address } from './message.ts';
import type { Recipient } from './router.ts';

/** Room in the outbox that is promised to messages on their way to disk. */
export interface Reservations {
  /** Keeps room until the function it returns is called. Throws `store/full`. */
  reserve(recipients: readonly Recipient[]): () => void;
}

/** What waits in the outbox by now. */
export interface Occupancy {
  readonly total: () => number;
  readonly of: (recipient: Recipient) => number;
  /** Called for each refusal. */
  readonly onFull: () => void;
}

export function createReservations(
  limits: Pick<Limits, 'queuedTotal' | 'queuedPerDestination'>,
  occupancy: Occupancy,
): Reservations {
  const reserved = new Map<Address, number>();
  let total = 0;

  const full = (what: string) => {
    occupancy.onFull();
    return new GatewayError('store/full', what, { retryable: true });
  };
  const count = (recipients: readonly Recipient[], by: 1 | -1) => {
    total += by * recipients.length;
    for (const { address } of recipients) {
      const left = (reserved.get(address) ?? 0) + by;
      if (left === 0) {
        reserved.delete(address);
      } else {
        reserved.set(address, left);
      }
    }
  };

  return {
    reserve(recipients) {
      const far = recipients.filter(({ bridge }) => bridge !== 'app');
      if (occupancy.total() + total + far.length > limits.queuedTotal) {
        throw full(`${limits.queuedTotal} deliveries wait already`);
      }
      for (const recipient of far) {
        const { address } = recipient;
        if (occupancy.of(recipient) + (reserved.get(address) ?? 0) >= limits.queuedPerDestination) {
          throw full(`${limits.queuedPerDestination} deliveries wait for ${address} already`);
        }
      }
      count(far, 1);
      let kept = true;
      return () => {
        if (kept) {
          kept = false;
          count(far, -1);
        }
      };
    },
  };
}
