import type { Cancel } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

/** Who wants to hear of something. One listener's failure is logged and keeps nothing from the others. */
export class Listeners<T> {
  readonly #listeners = new Set<(event: T) => void>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add(listener: (event: T) => void): Cancel {
    const own = (event: T) => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  tell(event: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error({ error }, 'a listener of the mesh failed');
      }
    }
  }
}
