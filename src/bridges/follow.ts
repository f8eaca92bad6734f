import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Client, Desk, GatewayEvent } from '../gateway/desk.ts';
import type { MessageId } from '../gateway/message.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/** Events read from the store at once, fewer where they are large: what a stream holds in memory at most. */
const batchSize = 32;

export interface EventBatch {
  readonly items: readonly GatewayEvent[];
  /** Everything up to here has been looked at, whether the client may see it or not. */
  readonly cursor: string;
  /** The reader did not show this one: its message is not marked as sent. */
  readonly hide: (event: GatewayEvent) => void;
}

export interface FollowParts {
  readonly desk: Desk;
  readonly log: Log;
}

/**
 * Reads on from a cursor, batch after batch, and waits for commits in between. The reader's own pace is the
 * only back-pressure: nothing is kept for it but its cursor. Inbox messages in a batch that was taken become
 * `sent`, but for the hidden ones; where that cannot be written (a full disk) the stream goes on, and they are
 * marked when they are acknowledged. Ends when the signal does; throws `request/cursor-expired` for a reader too
 * slow for the retention.
 */
export async function* followEvents(
  { desk, log }: FollowParts,
  client: Client,
  after: string,
  signal: AbortSignal,
): AsyncGenerator<EventBatch, void, undefined> {
  let cursor = after;
  let isMarking = true;
  const mark = async (ids: readonly MessageId[]) => {
    try {
      await desk.inbox.pushed(client, ids);
      isMarking = true;
    } catch (error) {
      // Once for a whole row of failures: a busy stream would fill what is left of the disk with the same line.
      if (isMarking) {
        log.warn(
          { client: client.name, code: codeOf(error), error },
          'pushed messages cannot be marked as sent',
        );
      }
      isMarking = false;
    }
  };
  using news = watchCommits(desk, signal);
  while (!signal.aborted) {
    const batch = desk.events.read(client, cursor, batchSize);
    const moved = batch.cursor !== cursor;
    cursor = batch.cursor;
    if (moved) {
      const hidden = new Set<GatewayEvent>();
      yield { items: batch.items, cursor, hide: event => hidden.add(event) };
      const ids = batch.items.flatMap(event =>
        event.kind === 'message.accepted' && event.message !== undefined && !hidden.has(event)
          ? [event.message.id]
          : [],
      );
      if (ids.length > 0) {
        await mark(ids);
      }
      if (batch.items.length === 0 || batch.isFull) {
        // Whoever comes back after a while has much to read, or to read through: others have their turn in between.
        await nextTurn();
      }
    } else {
      await news.next();
    }
  }
}

export interface CommitWatch extends Disposable {
  /** Resolves when there was a commit since the last call (or since the watch began), and when the signal ends. */
  next(): Promise<void>;
}

/** Waits for commits that brought events, missing none between two reads. The one way readers of the store wait. */
export function watchCommits(desk: Pick<Desk, 'events'>, signal: AbortSignal): CommitWatch {
  let isStale = false;
  let wake = () => {};
  const stir = () => {
    isStale = true;
    wake();
  };
  const stop = desk.events.onCommit(stir);
  signal.addEventListener('abort', stir);
  return {
    async next() {
      if (!isStale && !signal.aborted) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
      isStale = false;
    },
    [Symbol.dispose]() {
      stop();
      signal.removeEventListener('abort', stir);
      wake();
    },
  };
}
