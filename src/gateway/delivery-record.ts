import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryState } from './desk.ts';
import type { RemoteId } from './message.ts';
import type { Happened } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

/** Writes what becomes of deliveries into their rows. */
export interface DeliveryRecord {
  /** Resolves when it is on disk, with the state it led to. */
  commit(id: DeliveryId, input: DeliveryInput): Promise<DeliveryState | undefined>;
  /** Nobody waits for it; where the store cannot take it now it is written later. */
  write(id: DeliveryId, input: DeliveryInput, options?: WriteOptions): void;
  /** Whether its row may be behind the truth: something of it is being written, or is still to be written again. */
  isBehind(id: DeliveryId): boolean;
  /** Whether the store has refused something of it, which is still to be written again. */
  isLate(id: DeliveryId): boolean;
  /** Gives the store once more what it could not take, and nothing later. */
  stop(): Promise<void>;
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

/** What the store could not take, of one delivery, in its order. */
interface Late {
  inputs: Happened[];
  remoteId?: string;
}

/** ms until what the store could not take is given to it again, and deliveries given at once. */
const lateDelay = 5000;
const lateAtOnce = 500;
/** Inputs kept of one delivery: its newest say where it is, and a history keeps few more. */
const lateInputs = 16;

/**
 * What the store cannot take is kept, for as many deliveries as the outbox holds, until it can: a row that says less than
 * what happened would be worked off again.
 */
export function createDeliveryRecord(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): DeliveryRecord {
  const { store, clock, log, counters } = options;
  const late = new Map<DeliveryId, Late>();
  const gathered = new Map<DeliveryId, Gathered>();
  /** Writes that nobody waits for and that are not known to have ended, by delivery. */
  const open = new Map<DeliveryId, number>();
  let waits = false;
  let stopped = false;

  /** What happens to a delivery before its job leaves for the writer is one job, and one look at its row. */
  function commit(id: DeliveryId, happened: Happened, { lazy, remoteId }: WriteOptions = {}) {
    const before = gathered.get(id);
    if (before !== undefined) {
      before.inputs.push(happened);
      if (remoteId !== undefined) {
        before.remoteId = remoteId;
      }
      if (lazy !== true) {
        store.committer.hasten();
      }
      return before.done;
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

  async function write(id: DeliveryId, input: DeliveryInput, how: WriteOptions): Promise<void> {
    const happened = { input, at: clock.now() };
    if (late.has(id)) {
      // Behind what is late already: the order of what happened is kept.
      postpone(id, happened, how.remoteId);
      return;
    }
    hold(id);
    try {
      await commit(id, happened, how);
    } catch (error) {
      counters.add('outbox/unwritten');
      log.warn({ code: codeOf(error) }, 'a delivery state could not be written');
      if (isGatewayError(error) && error.retryable) {
        postpone(id, happened, how.remoteId);
      }
    } finally {
      letGo(id);
    }
  }

  /** Behind what is late of it already, in one job with that: the order of what happened is kept. */
  async function commitBehind(id: DeliveryId, happened: Happened): Promise<DeliveryState | undefined> {
    const before = late.get(id);
    if (before === undefined) {
      return await commit(id, happened);
    }
    const { inputs, remoteId } = before;
    late.delete(id);
    hold(id);
    try {
      return await store.committer.commit('delivery.advance', {
        id,
        inputs: [...inputs, happened],
        ...(remoteId === undefined ? {} : { remoteId }),
      });
    } catch (error) {
      if (isGatewayError(error) && error.retryable) {
        const since = late.get(id);
        const newest = since?.remoteId ?? remoteId;
        late.set(id, {
          inputs: [...inputs, ...(since?.inputs ?? [])].slice(-lateInputs),
          ...(newest === undefined ? {} : { remoteId: newest }),
        });
        wait();
      }
      throw error;
    } finally {
      letGo(id);
    }
  }

  /** One more write of it is not known to have ended, until `letGo`. */
  function hold(id: DeliveryId): void {
    open.set(id, (open.get(id) ?? 0) + 1);
  }

  function letGo(id: DeliveryId): void {
    const left = (open.get(id) ?? 1) - 1;
    if (left === 0) {
      open.delete(id);
    } else {
      open.set(id, left);
    }
  }

  function postpone(id: DeliveryId, happened: Happened, remoteId: RemoteId | undefined): void {
    const one = late.getOrInsertComputed(id, () => ({ inputs: [] }));
    one.inputs = [...one.inputs.slice(1 - lateInputs), happened];
    if (remoteId !== undefined) {
      one.remoteId = remoteId;
    }
    wait();
  }

  function wait(): void {
    if (!waits && !stopped && late.size > 0) {
      waits = true;
      clock.after(lateDelay, () => {
        void writeLate().finally(() => {
          waits = false;
          wait();
        });
      });
    }
  }

  /** Some at a time, until the store refuses one again. */
  async function writeLate(): Promise<void> {
    for (let refused = false; late.size > 0 && !refused; ) {
      const some = [...late].slice(0, lateAtOnce);
      await Promise.all(
        some.map(async ([id, { inputs, remoteId }]) => {
          try {
            const args = { id, inputs, ...(remoteId === undefined ? {} : { remoteId }) };
            await store.committer.commit('delivery.advance', args);
            settle(id, inputs);
          } catch (error) {
            refused = true;
            if (!(isGatewayError(error) && error.retryable)) {
              settle(id, inputs);
            }
          }
        }),
      );
    }
  }

  /** What was written is not late any more; what came meanwhile still is. */
  function settle(id: DeliveryId, written: readonly Happened[]): void {
    const one = late.get(id);
    if (one !== undefined) {
      one.inputs = one.inputs.filter(happened => !written.includes(happened));
      if (one.inputs.length === 0) {
        late.delete(id);
      }
    }
  }

  return {
    commit: (id, input) => commitBehind(id, { input, at: clock.now() }),
    write(id, input, how = {}) {
      void write(id, input, how);
    },
    isBehind: id => late.has(id) || open.has(id),
    isLate: id => late.has(id),
    async stop() {
      stopped = true;
      await writeLate();
    },
  };
}
