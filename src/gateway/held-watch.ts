import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { ServiceHealth } from '../lib/service.ts';
import type { Store } from './store/store.ts';

/** ms between two looks, while some are held. */
const lookEvery = 10_000;

/** Says how many deliveries are held because the hub is of an earlier state, until none is, or the signal. They come about at a start only. */
export async function watchHeld(
  parts: {
    readonly store: Store;
    readonly clock: Clock;
    readonly log: Log;
    readonly report: (health: ServiceHealth) => void;
  },
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, log, report } = parts;
  const name = 'held-deliveries';
  let said = 0;
  const look = () => {
    try {
      return store.read.heldDeliveries();
    } catch {
      // A store that is at fault says so elsewhere.
      return { count: said, reason: null };
    }
  };
  while (!signal.aborted) {
    const { count, reason } = look();
    if (count !== said) {
      const why = `${count} are held: ${reason}. kosctl restore --resume sends them all, kosctl restore --settle sends none`;
      report({
        name,
        since: clock.now(),
        bugs: 0,
        ...(count === 0 ? { state: 'up' } : { state: 'waiting', reason: why }),
      });
      if (said === 0) {
        log.warn({ count }, `deliveries are held: ${reason}`);
      }
      said = count;
    }
    if (count === 0) {
      return;
    }
    await clock.sleep(lookEvery, signal).catch(() => undefined);
  }
}
