import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../lib/clock.ts';

/** ms a client may leave a full socket unread: then it is closed, and resumes from the store. */
const patience = 30_000;

/** Waits until the socket has taken what was written; closes it where it does not. */
export async function drained(
  response: ServerResponse,
  clock: Clock,
  signal: AbortSignal,
  onSlow?: () => void,
): Promise<void> {
  const cancel = clock.after(patience, () => {
    onSlow?.();
    response.destroy();
  });
  try {
    await once(response, 'drain', { signal });
  } finally {
    cancel();
  }
}
