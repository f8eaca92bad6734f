import type { Clock } from '../lib/clock.ts';
import type { DeliveryInput } from './delivery.ts';
import type { DeliveryRecord } from './delivery-record.ts';
import { isForNobody } from './missed.ts';
import type { DeliveryRow, OpenDelivery } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

export interface LateWordOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly record: DeliveryRecord;
}

/**
 * The far side says that something arrived which had come to nothing here. Resolves when that is on disk, with what waits because
 * of it: the last change of its message, which was not sent there because there seemed to be nothing to change.
 */
export async function arrivedLate(
  row: DeliveryRow,
  input: DeliveryInput,
  { store, clock, record }: LateWordOptions,
): Promise<readonly OpenDelivery[]> {
  const sender = store.read.headOf(row.message)?.from;
  const change = sender === undefined ? undefined : store.read.lastChange(row.message, sender, row.recipient);
  const unsent = change && store.read.deliveryTo(change.id, row.recipient);
  if (unsent === undefined || !isForNobody(unsent)) {
    await record.commit(row.id, input);
    return [];
  }
  // Given together they are written together.
  const [, state] = await Promise.all([
    record.commit(row.id, input),
    store.committer.commit('delivery.advance', {
      id: unsent.id,
      inputs: [{ input: { on: 'revive' }, at: clock.now() }],
    }),
  ]);
  const rewritten = store.read.rewritten(unsent.id) === undefined ? 0 : 1;
  return state === 'queued' ? [{ ...unsent, underway: 0, left: 0, rewritten }] : [];
}
