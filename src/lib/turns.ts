/**
 * Lets work be done one after the other: each begins when the one before has ended, and sees what that has left. What fails
 * holds nobody up; who gives up while waiting is passed over.
 */
export type Turns = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

export function createTurns(): Turns {
  let last: Promise<void> = Promise.resolve();

  async function take<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
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
  }

  return (work, signal) => {
    const taken = take(work, signal);
    // Whoever asked may look at it later, when it has failed already.
    taken.catch(() => undefined);
    return taken;
  };
}
