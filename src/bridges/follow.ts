import type { Client, Desk, GatewayEvent } from '../gateway/desk.ts';

/** Events read from the store at once: what a stream holds in memory at most. */
const batchSize = 32;

export interface EventBatch {
  readonly items: readonly GatewayEvent[];
  /** Everything up to here has been looked at, whether the client may see it or not. */
  readonly cursor: string;
}

/**
 * Reads on from a cursor, batch after batch, and waits for commits in between. The reader's own pace is the
 * only back-pressure: nothing is kept for it but its cursor. Inbox messages in a batch that was taken become
 * `sent`. Ends when the signal does; throws `request/cursor-expired` for a reader too slow for the retention.
 */
export async function* followEvents(
  desk: Desk,
  client: Client,
  after: string,
  signal: AbortSignal,
): AsyncGenerator<EventBatch, void, undefined> {
  let cursor = after;
  let wake = () => {};
  let stale = true;
  const stir = () => {
    stale = true;
    wake();
  };
  const stop = desk.events.onCommit(stir);
  signal.addEventListener('abort', stir);
  try {
    while (!signal.aborted) {
      stale = false;
      const batch = desk.events.read(client, cursor, batchSize);
      const moved = batch.cursor !== cursor;
      cursor = batch.cursor;
      if (moved) {
        yield batch;
        const ids = batch.items.flatMap(({ kind, message }) =>
          kind === 'message.accepted' && message !== undefined ? [message.id] : [],
        );
        if (ids.length > 0) {
          await desk.inbox.pushed(client, ids);
        }
      } else if (!stale) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    }
  } finally {
    stop();
    signal.removeEventListener('abort', stir);
  }
}
