import type { Clock } from '../lib/clock.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { pageLimit, requireScope } from './access.ts';
import { type Cursors, eventOf } from './cursor.ts';
import type { Client, Inbox, InboxItem } from './desk.ts';
import { fitting } from './page-bytes.ts';
import type { RecentMessages } from './recent-messages.ts';
import type { Store } from './store/store.ts';

export interface InboxDesk extends Inbox {
  /** These apps have something new: who waits for it reads again. */
  wake(addresses: readonly string[]): void;
  /** Anybody may have something new. */
  wakeAll(): void;
  /** Lets everybody who waits go. */
  close(): void;
}

/** An app's inbox: its deliveries in the order they were accepted, with one acknowledged mark. */
export function createInbox(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly cursors: Cursors;
  readonly recent: RecentMessages;
}): InboxDesk {
  const { store, clock, log, cursors, recent } = options;
  const waiters = new Map<string, Set<() => void>>();
  let closed = false;

  const addressOf = (client: Client) => `app:${client.name}`;

  function decode(address: string, cursor: string): number {
    const row = cursors.decode('inbox', cursor);
    if (row < store.read.inboxMark(address).forgotten || row > store.read.newestDelivery()) {
      throw new GatewayError('request/cursor-expired', 'what follows this cursor is not kept any more');
    }
    return row;
  }

  /** Where reading goes on: what was forgotten was acknowledged, or has run out of time. */
  function doneUpTo(address: string): number {
    const { acknowledged, forgotten } = store.read.inboxMark(address);
    return Math.max(acknowledged, forgotten);
  }

  async function acknowledge(address: string, upTo: number): Promise<void> {
    if (upTo <= store.read.inboxMark(address).acknowledged) {
      return;
    }
    for (let more = true; more; ) {
      ({ more } = await store.committer.commit('inbox.acknowledge', {
        recipient: address,
        upTo,
        at: clock.now(),
      }));
    }
  }

  /** Resolves when something may have come, `wait` ms have passed, or everything ends. */
  async function somethingNew(address: string, wait: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    const mine = waiters.getOrInsertComputed(address, () => new Set<() => void>());
    mine.add(resolve);
    const cancel = clock.after(wait, resolve);
    const aborted = () => resolve();
    signal?.addEventListener('abort', aborted, { once: true });
    try {
      await promise;
    } finally {
      cancel();
      signal?.removeEventListener('abort', aborted);
      mine.delete(resolve);
      if (mine.size === 0) {
        waiters.delete(address);
      }
    }
    signal?.throwIfAborted();
  }

  return {
    async read(client, query, signal) {
      requireScope(client, 'messages:read');
      const address = addressOf(client);
      const limit = pageLimit(query.limit);
      const given = query.after !== undefined && query.after !== '';
      let seq: number;
      if (given) {
        seq = decode(address, query.after ?? '');
        if (query.hold !== true) {
          await acknowledge(address, seq).catch(error => {
            log.warn({ code: codeOf(error) }, 'an acknowledgement could not be written');
          });
        }
      } else {
        seq = doneUpTo(address);
      }
      const until = clock.monotonic() + (query.wait ?? 0);
      for (;;) {
        const found = store.read.inboxAfter({
          recipient: address,
          seq,
          now: clock.now(),
          limit,
          unreadOnly: !given || query.hold === true,
        });
        const rows = found.slice(0, fitting(found.map(({ message }) => message)));
        const left = until - clock.monotonic();
        if (rows.length === 0 && left > 0 && !closed) {
          await somethingNew(address, left, signal);
          continue;
        }
        const unseen = rows.filter(row => row.state === 'queued').map(row => row.id);
        if (unseen.length > 0) {
          store.committer.commit('inbox.given', { ids: unseen, at: clock.now() }).catch(error => {
            log.warn({ code: codeOf(error) }, 'a delivery state could not be written');
          });
        }
        const items = rows.flatMap(({ seq: row, message }): InboxItem[] =>
          message === undefined ? [] : [{ cursor: cursors.encode('inbox', row), message }],
        );
        if (items.length < rows.length) {
          log.error({ rows: rows.length - items.length }, 'damaged messages in an inbox are passed over');
        }
        return { items, cursor: cursors.encode('inbox', rows.at(-1)?.seq ?? seq) };
      }
    },
    async acknowledge(client, cursor) {
      requireScope(client, 'messages:read');
      await acknowledge(addressOf(client), decode(addressOf(client), cursor));
    },
    async acknowledgeMessage(client, id) {
      requireScope(client, 'messages:read');
      await store.committer.commit('inbox.acknowledgeOne', {
        recipient: addressOf(client),
        message: id,
        at: clock.now(),
      });
    },
    acknowledged: client => cursors.encode('inbox', doneUpTo(addressOf(client))),
    async pushed(client, ids) {
      const recipient = addressOf(client);
      // Whoever only watches has nothing to mark: a thousand of them must not ask the writer for it.
      const messages = ids.filter(id => recent.wentTo(id, recipient) !== false);
      if (messages.length > 0) {
        await store.committer.commit('inbox.pushed', {
          recipient,
          messages,
          at: clock.now(),
        });
      }
    },
    async seen(client, eventCursor) {
      requireScope(client, 'messages:read');
      const { row: event } = eventOf(cursors, eventCursor);
      await acknowledge(addressOf(client), store.read.inboxRowAt(addressOf(client), event));
    },
    unseenSince(client) {
      const oldest = store.read.oldestEvent();
      const first = store.read.firstUnreadEvent(addressOf(client), clock.now());
      const row =
        first === undefined || oldest === undefined ? store.read.newestEvent() : Math.max(first, oldest) - 1;
      return cursors.encode(row < store.read.eventsForgotten() ? 'unread' : 'event', row);
    },
    wake(addresses) {
      for (const address of addresses) {
        for (const resolve of [...(waiters.get(address) ?? [])]) {
          resolve();
        }
      }
    },
    wakeAll() {
      this.wake([...waiters.keys()]);
    },
    close() {
      closed = true;
      this.wakeAll();
    },
  };
}
