import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Cancel, Clock } from '../../lib/clock.ts';

/** ms a client may leave a full socket unread: then it is closed, and resumes from the store. */
const patience = 30_000;

interface PourParts {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onSlow?: () => void;
}

/**
 * Writes batch after batch, piece after piece, no faster than the socket takes them, and ends the response. A client that takes nothing for long
 * is closed, after `onSlow`. Rejects, with the socket closed, where the batches break before the signal.
 */
export async function pour<T>(
  response: ServerResponse,
  batches: AsyncIterable<T>,
  piecesOf: (batch: T) => Iterable<string | Uint8Array>,
  { clock, signal, onSlow }: PourParts,
): Promise<void> {
  const closeSlow = () => {
    onSlow?.();
    response.destroy();
  };
  try {
    for await (const batch of batches) {
      for (const piece of piecesOf(batch)) {
        if (!response.write(piece)) {
          await drained(response, signal, clock.after(patience, closeSlow));
        }
      }
    }
  } catch (error) {
    if (!signal.aborted) {
      response.destroy();
      throw error;
    }
  } finally {
    response.end();
  }
}

/** Waits until the socket has taken what was written. */
async function drained(response: ServerResponse, signal: AbortSignal, cancel: Cancel): Promise<void> {
  try {
    await once(response, 'drain', { signal });
  } finally {
    cancel();
  }
}
