import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { ServiceHealth } from '../lib/service.ts';
import { firstPlausible, type HubClock } from './hub-clock.ts';
import type { Outbox } from './outbox.ts';
import type { Store } from './store/store.ts';

export interface TimeWatch {
  /** Once, before anything is taken up: what an earlier process accepted under a clock that had not been set. */
  begin(): Promise<void>;
  /** Moves times whenever the machine's clock has jumped, until the signal. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when no times are being moved: nothing is to be forgotten for its age before. */
  readonly settled: Promise<unknown>;
  /** The clock has been set, by so many ms. */
  onJump(listener: (by: number) => void): () => void;
}

/** ms between two looks at the clock. */
const lookEvery = 5000;

/** Keeps what was accepted from running out of time because somebody set the clock. */
export function createTimeWatch(parts: {
  readonly store: Store;
  readonly clock: HubClock;
  readonly log: Log;
  readonly outbox: Outbox;
  readonly report: (health: ServiceHealth) => void;
}): TimeWatch {
  const { store, clock, log, outbox, report } = parts;
  const listeners = new Set<(by: number) => void>();
  /** The rows that were there before this process: their times are not of this clock. */
  const since = {
    messages: store.read.newestMessage(),
    deliveries: store.read.newestDelivery(),
    events: store.read.newestEvent(),
  };
  let settled: Promise<unknown> = Promise.resolve();
  let said: boolean | undefined;

  function tell(): void {
    const { sure } = clock;
    if (sure === said || (sure && said === undefined)) {
      said = sure;
      return;
    }
    said = sure;
    const reason = `the clock has not been set, it says ${new Date(clock.now()).toISOString()}: times are unsure`;
    report({
      name: 'clock',
      state: sure ? 'up' : 'waiting',
      since: clock.now(),
      bugs: 0,
      ...(sure ? {} : { reason }),
    });
  }

  async function move(was: number, by: number): Promise<void> {
    for (const table of ['messages', 'deliveries', 'events'] as const) {
      for (let after = since[table]; ; ) {
        const { next } = await store.committer.commit('time.move', { table, after, was, by });
        if (next === undefined) {
          break;
        }
        after = next;
      }
    }
  }

  /** What was accepted at a time that cannot be counts as accepted now. */
  async function mend(): Promise<void> {
    if (clock.sure && store.read.hasEarly(firstPlausible)) {
      const { by } = await store.committer.commit('time.mend', { before: firstPlausible, now: clock.now() });
      outbox.moveTimes(by, ({ seq, expiresAt }) => seq <= since.deliveries && expiresAt < firstPlausible);
    }
  }

  function watched(work: Promise<void>): Promise<void> {
    const done = work.catch(error => {
      log.error({ code: codeOf(error), error }, 'times could not be moved with the clock');
    });
    settled = done;
    return done;
  }

  return {
    begin: () => watched(mend()),
    async run(signal) {
      while (!signal.aborted) {
        if (clock.jump !== 0) {
          const was = clock.now();
          const by = clock.adopt();
          log.warn({ ms: by }, 'the clock of this machine was set: times move with it');
          // At once, so that nothing ends in between; the rows follow.
          outbox.moveTimes(by, ({ seq }) => seq > since.deliveries);
          await watched(move(was, by).then(mend));
          for (const listener of [...listeners]) {
            listener(by);
          }
        }
        tell();
        await clock.sleep(lookEvery, signal).catch(() => undefined);
      }
    },
    get settled() {
      return settled;
    },
    onJump(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
