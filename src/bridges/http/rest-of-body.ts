import type { IncomingMessage } from 'node:http';

/**
 * Reads what still comes of a body and forgets it, once nobody reads `bytes` of it any more: many clients write a body to its
 * end before they look for an answer, and their connection is good for another request then. A reader that was not told to
 * stop would hold the stream, whatever is said to that.
 */
export function forgetRest(request: IncomingMessage, bytes: AsyncIterator<unknown>): void {
  const drain = () => void request.resume();
  void (bytes.return?.() ?? Promise.resolve()).then(drain, drain);
}
