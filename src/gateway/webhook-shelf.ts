import { createCursors, eventOf } from './cursor.ts';
import type { Address, MessageId } from './message.ts';
import type { Store } from './store/store.ts';
import type { WebhookRow } from './store/webhook-table.ts';

/** What is kept of webhooks, and where they stand among the events. Writes resolve when they are on disk. */
export interface WebhookShelf {
  rows(): readonly WebhookRow[];
  add(row: WebhookRow): Promise<void>;
  /** Changes one that is still there. */
  put(row: WebhookRow): Promise<void>;
  /** Nobody waits for it: it shares the commit of others. */
  move(row: Pick<WebhookRow, 'id' | 'position' | 'status'>): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
  /** Whether a message has a delivery to this address. */
  goesTo(message: MessageId, address: Address): boolean;
  /** Events of the hub behind a cursor, and the time of the first of them. */
  behind(cursor: string): { readonly pending: number; readonly since?: number };
  /** The cursor by which what is left behind an expired one can be read; undefined for one of another data directory. */
  remaining(cursor: string): string | undefined;
  /** The cursor before the first event at or after a time, by the clock of the hub. */
  before(at: number): string;
}

export function createWebhookShelf({ committer, read, epoch }: Store): WebhookShelf {
  const cursors = createCursors(epoch);
  const timeAfter = (row: number) => read.eventsAfter(row, 1)[0]?.at;
  return {
    rows: read.webhooks,
    add: row => committer.commit('webhook.add', row),
    put: row => committer.commit('webhook.put', row),
    goesTo: (message, address) => read.toldOf(message).includes(address),
    move: row => committer.commit('webhook.move', row, { lazy: true }),
    remove: ids => committer.commit('webhook.remove', { ids }),
    behind(cursor) {
      const { row } = eventOf(cursors, cursor);
      const since = timeAfter(row);
      return since === undefined ? { pending: 0 } : { pending: Math.max(0, read.newestEvent() - row), since };
    },
    remaining(cursor) {
      try {
        return cursors.encode('unread', eventOf(cursors, cursor).row);
      } catch {
        return undefined;
      }
    },
    before(at) {
      // Rows are in the order of their times, but for a clock that was set: halves find the place without reading all.
      let low = 0;
      let high = read.newestEvent();
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        if ((timeAfter(middle) ?? Number.POSITIVE_INFINITY) < at) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      return cursors.encode('event', low);
    },
  };
}
