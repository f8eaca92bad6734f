import type { Cancel } from '../../lib/clock.ts';
import { failed } from './origin-failure.ts';

/** Places for what may be done at the same time. */
export interface Places {
  /** Resolves with the way to give it back; rejects `bridge/unavailable` where too many wait already. */
  take(signal?: AbortSignal): Promise<Cancel>;
}

/** So many at once, and so many waiting; the next one is refused. */
export function createPlaces(count: number, waiting: number): Places {
  const line: (() => void)[] = [];
  let taken = 0;
  const free = (): Cancel => {
    let once = false;
    return () => {
      if (once) {
        return;
      }
      once = true;
      const next = line.shift();
      if (next === undefined) {
        taken -= 1;
      } else {
        // The place goes from hand to hand, so that nobody slips in between.
        next();
      }
    };
  };
  return {
    async take(signal) {
      if (taken < count) {
        taken += 1;
      } else {
        if (line.length >= waiting) {
          throw failed('busy', 'too many requests to it at once', false);
        }
        const { promise, resolve: next, reject } = Promise.withResolvers<void>();
        line.push(next);
        const abort = () => {
          const at = line.indexOf(next);
          if (at >= 0) {
            line.splice(at, 1);
            reject(signal?.reason);
          }
        };
        signal?.addEventListener('abort', abort, { once: true });
        try {
          await promise;
        } finally {
          signal?.removeEventListener('abort', abort);
        }
      }
      return free();
    },
  };
}
