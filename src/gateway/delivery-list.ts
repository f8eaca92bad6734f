import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { holds, pageLimit, requireScope } from './access.ts';
import { briefOf } from './conversations.ts';
import type { Cursors } from './cursor.ts';
import type { Client, Deliveries, DeliveryItem, DeliveryView } from './desk.ts';
import type { Outbox } from './outbox.ts';
import type { SaidNow } from './said-now.ts';
import { type DeliveryRow, viewOf } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

/** Deliveries looked at for one page of a client that may see its own only. */
const scanned = 4000;

export interface DeliveryListOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly cursors: Cursors;
  readonly outbox: Outbox;
  /** What one says that is sent again. */
  readonly saidNow: SaidNow;
  /** Whether nothing goes to an address. */
  readonly isBlocked: (address: string) => boolean;
}

/** What waits and what came to nothing, over all messages the client may ask about, and what a person does about it. */
export function createDeliveryList(options: DeliveryListOptions): Deliveries {
  const { store, clock, cursors, outbox } = options;
  return {
    list(client, query) {
      requireScope(client, 'messages:read');
      const limit = pageLimit(query.limit);
      const state = query.state ?? 'queued';
      const after = query.after === undefined ? undefined : cursors.decode('delivery', query.after);
      const look = holds(client, 'admin') ? limit + 1 : scanned;
      const rows =
        state === 'queued'
          ? outbox.waiting(after ?? 0, look).flatMap(id => store.read.delivery(id) ?? [])
          : store.read.endedDeliveries(state, after ?? Number.MAX_SAFE_INTEGER, look);
      const mine = `app:${client.name}`;
      const items: DeliveryItem[] = [];
      let last: number | undefined;
      let isMore = rows.length === look;
      for (const row of rows) {
        if (items.length === limit) {
          isMore = true;
          break;
        }
        last = row.seq;
        const message = isOwn(client, row.message, mine) ? store.read.message(row.message) : undefined;
        if (message !== undefined) {
          items.push({ ...outbox.explained(viewOf(row)), message: briefOf(message) });
        }
      }
      return { items, cursor: isMore && last !== undefined ? cursors.encode('delivery', last) : null };
    },
    async retry(client, id) {
      const row = own(client, id);
      if (row.expires_at <= clock.now()) {
        throw new GatewayError('request/conflict', 'its time is over: send the message anew');
      }
      if (options.isBlocked(row.recipient)) {
        throw new GatewayError('request/conflict', 'its recipient is blocked');
      }
      if (row.state === 'failed' || row.state === 'ambiguous') {
        await outbox.again(row, options.saidNow);
      } else if (row.state === 'queued') {
        outbox.reachable(row.bridge, row.recipient);
      } else {
        throw new GatewayError('request/conflict', `it is ${row.state}: there is nothing to send again`);
      }
      return view(id);
    },
    async cancel(client, id) {
      const { state } = own(client, id);
      if (state === 'ambiguous') {
        await outbox.settle(id);
      } else if (state === 'queued' || state === 'sending') {
        await outbox.cancel([id]);
      } else {
        throw new GatewayError('request/conflict', `it is ${state}: there is nothing to call back`);
      }
      return view(id);
    },
  };

  function own(client: Client, id: string): DeliveryRow {
    requireScope(client, 'messages:send');
    const row = store.read.delivery(id);
    if (row === undefined || !isOwn(client, row.message, `app:${client.name}`)) {
      throw new GatewayError('request/not-found', 'no such delivery');
    }
    if (row.bridge === 'app') {
      throw new GatewayError(
        'request/conflict',
        'it lies in the inbox of an app, which reads it when it will',
      );
    }
    return row;
  }

  function view(id: string): DeliveryView {
    const row = store.read.delivery(id);
    if (row === undefined) {
      throw new GatewayError('request/not-found', 'the delivery is not kept any more');
    }
    return outbox.explained(viewOf(row));
  }

  function isOwn(client: Client, message: string, mine: string): boolean {
    return holds(client, 'admin') || store.read.headOf(message)?.from === mine;
  }
}
