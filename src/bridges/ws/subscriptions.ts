import type { GatewayEvent } from '../../gateway/desk.ts';
import { GatewayError } from '../../lib/errors.ts';
import { type Filter, shows } from '../event-filter.ts';

/** What one socket wants to see, by the ids its client gave. A change counts from the next event that is looked at. */
export interface Subscriptions {
  /** Adds a filter, or puts it in the place of the one with this id; whether there was one. Throws `request/rate-limited`. */
  put(id: string, filter: Filter): boolean;
  /** Throws `request/not-found`. */
  remove(id: string): void;
  /** Whether any of them shows the event. */
  show(event: GatewayEvent): boolean;
  /** Waits until there is one, or until `ended`. Gives what is aborted once the last of them is gone. */
  wanted(ended: AbortSignal): Promise<AbortSignal>;
}

/** None at first; at most `most` at once. */
export function createSubscriptions(most: number): Subscriptions {
  const filters = new Map<string, Filter>();
  let lasting = new AbortController();
  let wake = () => {};
  return {
    put(id, filter) {
      const isKnown = filters.has(id);
      if (!isKnown && filters.size >= most) {
        throw new GatewayError('request/rate-limited', `at most ${most} subscriptions on a socket`);
      }
      filters.set(id, filter);
      wake();
      return isKnown;
    },
    remove(id) {
      if (!filters.delete(id)) {
        throw new GatewayError('request/not-found', 'no subscription of this id on this socket');
      }
      if (filters.size === 0) {
        lasting.abort();
        lasting = new AbortController();
      }
    },
    show: event => filters.values().some(filter => shows(filter, event)),
    async wanted(ended) {
      while (filters.size === 0 && !ended.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        ended.addEventListener('abort', wake, { once: true });
        await promise;
        ended.removeEventListener('abort', wake);
      }
      return lasting.signal;
    },
  };
}
