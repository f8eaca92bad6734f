/** Does one thing after the other; who gives up while waiting is passed over. */
export type Turns = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

export function createTurns(): Turns {
  let last: Promise<void> = Promise.resolve();
  return async (work, signal) => {
    signal?.throwIfAborted();
    const before = last;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    last = before.then(() => promise);
    const { promise: givenUp, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await (signal === undefined ? before : Promise.race([before, givenUp]));
      return await work();
    } finally {
      signal?.removeEventListener('abort', abort);
      done();
    }
  };
}
