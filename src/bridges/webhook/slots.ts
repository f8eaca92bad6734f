import type { Cancel } from '../../lib/clock.ts';
import type { WebhookLimits } from './config.ts';

/** Who wants to make an attempt. */
export interface Applicant {
  /** The client it is for. */
  readonly client: string;
  /** Its endpoint failed or was slow the last time. */
  readonly doubtful: boolean;
}

/**
 * Places for attempts under way: endpoints that hang have a part of them only, and so has each client, and of that those of
 * its endpoints that hang half.
 */
export interface Slots {
  /** Resolves with the way to give the place back; rejects with the signal's reason. */
  take(applicant: Applicant, signal: AbortSignal): Promise<Cancel>;
}

interface Waiting {
  readonly applicant: Applicant;
  readonly enter: () => void;
}

export function createSlots(limits: Pick<WebhookLimits, 'slots' | 'doubtful' | 'perClientSlots'>): Slots {
  const inside = new Set<Applicant>();
  const line = new Set<Waiting>();

  function fits({ client, doubtful }: Applicant): boolean {
    let ofClient = 0;
    let doubted = 0;
    let doubtedOfClient = 0;
    for (const one of inside) {
      ofClient += Number(one.client === client);
      doubted += Number(one.doubtful);
      doubtedOfClient += Number(one.doubtful && one.client === client);
    }
    return (
      inside.size < limits.slots &&
      ofClient < limits.perClientSlots &&
      (!doubtful || (doubted < limits.doubtful && doubtedOfClient < Math.ceil(limits.perClientSlots / 2)))
    );
  }

  /** Whoever has waited longest goes first, of those there is a place for. */
  function admit(): void {
    for (const waiting of line) {
      if (fits(waiting.applicant)) {
        line.delete(waiting);
        waiting.enter();
      }
    }
  }

  return {
    take({ client, doubtful }, signal) {
      signal.throwIfAborted();
      // An object of its own: it stands for the place.
      const applicant = { client, doubtful };
      const { promise, resolve, reject } = Promise.withResolvers<Cancel>();
      const leave = () => {
        if (inside.delete(applicant)) {
          admit();
        }
      };
      const abort = () => {
        line.delete(waiting);
        reject(signal.reason);
      };
      const waiting: Waiting = {
        applicant,
        enter() {
          signal.removeEventListener('abort', abort);
          inside.add(applicant);
          resolve(leave);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      line.add(waiting);
      admit();
      return promise;
    },
  };
}
