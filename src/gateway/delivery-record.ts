import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { CommitOptions } from './store/committer.ts';
import type { Store } from './store/store.ts';

/** Writes what becomes of deliveries into their rows. */
export interface DeliveryRecord {
  /** Resolves when it is on disk. */
  commit(id: DeliveryId, input: DeliveryInput, options?: CommitOptions): Promise<unknown>;
  /** Nobody waits for it; where the store cannot take it now it is written later. */
  write(id: DeliveryId, input: DeliveryInput, options?: CommitOptions & { readonly remoteId?: string }): void;
  /** Whether its row is behind the truth: something of it is still to be written again. */
  isLate(id: DeliveryId): boolean;
  /** Writes nothing again from now on. */
  stop(): void;
}

/** States that are written again after a while where the disk was full, and ms until then. */
const lateWrites = 10_000;
const lateDelay = 5000;

export function createDeliveryRecord(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): DeliveryRecord {
  const { store, clock, log, counters } = options;
  const late = new Map<DeliveryId, number>();
  let waiting = 0;
  let stopped = false;

  function count(id: DeliveryId, by: 1 | -1): void {
    waiting += by;
    const left = (late.get(id) ?? 0) + by;
    if (left === 0) {
      late.delete(id);
    } else {
      late.set(id, left);
    }
  }

  function commit(id: DeliveryId, input: DeliveryInput, options?: CommitOptions, remoteId?: string) {
    const args = { id, input, at: clock.now(), ...(remoteId === undefined ? {} : { remoteId }) };
    return store.committer.commit('delivery.advance', args, options);
  }

  async function write(
    id: DeliveryId,
    input: DeliveryInput,
    { remoteId, ...how }: CommitOptions & { readonly remoteId?: string } = {},
  ): Promise<void> {
    try {
      await commit(id, input, how, remoteId);
    } catch (error) {
      // The row keeps an older state, and a restart goes on from there.
      counters.add('outbox/unwritten');
      log.warn({ code: codeOf(error) }, 'a delivery state could not be written');
      if (isGatewayError(error) && error.retryable && waiting < lateWrites && !stopped) {
        count(id, 1);
        clock.after(lateDelay, () => {
          void write(id, input, remoteId === undefined ? {} : { remoteId }).finally(() => count(id, -1));
        });
      }
    }
  }

  return {
    commit: (id, input, how) => commit(id, input, how),
    write(id, input, how) {
      void write(id, input, how);
    },
    isLate: id => late.has(id),
    stop() {
      stopped = true;
    },
  };
}
