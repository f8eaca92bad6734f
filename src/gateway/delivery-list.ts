import { holds, pageLimit, requireScope } from './access.ts';
import { briefOf } from './conversations.ts';
import type { Cursors } from './cursor.ts';
import type { Client, Deliveries, DeliveryItem } from './desk.ts';
import type { Outbox } from './outbox.ts';
import { viewOf } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';

/** Deliveries looked at for one page of a client that may see its own only. */
const scanned = 4000;

export interface DeliveryListOptions {
  readonly store: Store;
  readonly cursors: Cursors;
  readonly outbox: Outbox;
}

/** What waits and what came to nothing, over all messages the client may ask about. */
export function createDeliveryList({ store, cursors, outbox }: DeliveryListOptions): Deliveries {
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
  };

  function isOwn(client: Client, message: string, mine: string): boolean {
    return holds(client, 'admin') || store.read.headOf(message)?.from === mine;
  }
}
