import type { Clock } from '../lib/clock.ts';
import { GatewayError, isGatewayError } from '../lib/errors.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryRecord } from './delivery-record.ts';
import type { MessageId } from './message.ts';
import { isChange } from './router.ts';
import type { SaidNow } from './said-now.ts';
import type { DeliveryRow } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

export interface SendAgainOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly record: DeliveryRecord;
  readonly saidNow: SaidNow;
  /** Whether a change of the message is being accepted. */
  readonly isChanging: (message: MessageId) => boolean;
}

/**
 * Makes a delivery that ended in vain wait again, with what it says by now, in one commit. Throws `request/conflict` where
 * it has changed meanwhile, and what `saidNow` throws.
 */
export async function sendAgain(
  row: DeliveryRow,
  { store, clock, record, saidNow, isChanging }: SendAgainOptions,
): Promise<void> {
  const { id } = row;
  const commit = (input: DeliveryInput) => {
    const rewrite = saidNow(row);
    const inputs = [{ input, at: clock.now() }];
    const args = { id, inputs, ...(rewrite === undefined ? {} : { rewrite }) };
    return store.committer.commit('delivery.advance', args);
  };
  if ((await commit({ on: 'retry' })) !== 'queued') {
    throw new GatewayError('request/conflict', 'it has changed meanwhile');
  }
  const message = store.read.message(row.message);
  if (!isChanging(message !== undefined && isChange(message) ? message.inReplyTo : row.message)) {
    return;
  }
  try {
    // A change that is being accepted does not know that this one waits again. It is on disk once what is given after it is.
    await store.committer.commit('delivery.advance', { id, inputs: [] });
    await commit({ on: 'explain', reason: 'sent again on request' });
  } catch (error) {
    if (isGatewayError(error, 'request/conflict')) {
      record.write(id, { on: 'cancel', reason: error.message });
      throw error;
    }
    // It waits on disk, and goes as it is.
  }
}
