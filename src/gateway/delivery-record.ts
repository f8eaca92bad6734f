import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryState } from './desk.ts';
import type { Happened } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

/** Writes what becomes of deliveries into their rows. */
export interface DeliveryRecord {
  /** Resolves when it is on disk, with the state it led to. */
  commit(id: DeliveryId, input: DeliveryInput): Promise<DeliveryState | undefined>;
  /** Nobody waits for it; where the store cannot take it now it is written later. */
  write(id: DeliveryId, input: DeliveryInput, options?: WriteOptions): void;
  /** Whether its row is behind the truth: something of it is still to be written again. */
  isLate(id: DeliveryId): boolean;
  /** Writes nothing again from now on. */
  stop(): void;
}

interface WriteOptions {
  /** It goes with what comes next of the same delivery, if that comes soon. */
  readonly lazy?: boolean;
  readonly remoteId?: string;
}

/** What happened to one delivery and has not left for the writer. */
interface Gathered {
  readonly inputs: Happened[];
  remoteId?: string;
  readonly done: Promise<DeliveryState | undefined>;
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
  const gathered = new Map<DeliveryId, Gathered>();
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

  /** What happens to a delivery before its job leaves for the writer is one job, and one look at its row. */
  function commit(id: DeliveryId, input: DeliveryInput, { lazy, remoteId }: WriteOptions = {}) {
    const happened = { input, at: clock.now() };
    const open = gathered.get(id);
    if (open !== undefined) {
      open.inputs.push(happened);
      if (remoteId !== undefined) {
        open.remoteId = remoteId;
      }
      if (lazy !== true) {
        store.committer.hasten();
      }
      return open.done;
    }
    const inputs = [happened];
    if (lazy !== true) {
      const args = { id, inputs, ...(remoteId === undefined ? {} : { remoteId }) };
      return store.committer.commit('delivery.advance', args);
    }
    const leave = () => {
      gathered.delete(id);
      return { id, inputs, ...(gathering.remoteId === undefined ? {} : { remoteId: gathering.remoteId }) };
    };
    const done = store.committer.commit('delivery.advance', leave, { lazy }).finally(() => {
      // The writer may have died before it left.
      if (gathered.get(id) === gathering) {
        gathered.delete(id);
      }
    });
    const gathering: Gathered = { inputs, done };
    gathered.set(id, gathering);
    return done;
  }

  async function write(id: DeliveryId, input: DeliveryInput, how: WriteOptions = {}): Promise<void> {
    try {
      await commit(id, input, how);
    } catch (error) {
      // The row keeps an older state, and a restart goes on from there.
      counters.add('outbox/unwritten');
      log.warn({ code: codeOf(error) }, 'a delivery state could not be written');
      if (isGatewayError(error) && error.retryable && waiting < lateWrites && !stopped) {
        count(id, 1);
        const { lazy: _, ...again } = how;
        clock.after(lateDelay, () => {
          void write(id, input, again).finally(() => count(id, -1));
        });
      }
    }
  }

  return {
    commit: (id, input) => commit(id, input),
    write(id, input, how) {
      void write(id, input, how);
    },
    isLate: id => late.has(id),
    stop() {
      stopped = true;
    },
  };
}
