import type { Cancel, Clock } from '../../src/lib/clock.ts';
import { GatewayError } from '../../src/lib/errors.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/** A Clock that stands still until it is told to move. Starts at a date so that timestamps look like some. */
export class ManualClock implements Clock {
  #start: number;
  #elapsed = 0;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(start = 1_760_000_000_000) {
    this.#start = start;
  }

  now(): number {
    return this.#start + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  /** Timers and sleeps that have not fired: 0 when everything is cleaned up. */
  get waiting(): number {
    return this.#timers.size;
  }

  sleep(delay: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const abort = () => {
        cancel();
        reject(signal?.reason);
      };
      const cancel = this.after(delay, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  after(delay: number, callback: () => void): Cancel {
    const timer = { at: this.#elapsed + Math.max(delay, 0), order: this.#order++, fire: callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Somebody sets the clock, by so many ms; no time passes. */
  set(by: number): void {
    this.#start += by;
  }

  /** Moves on by `ms`, firing what falls due in order; what each firing sets off runs before the next one. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settle();
    for (let timer = this.#nextUntil(end); timer !== undefined; timer = this.#nextUntil(end)) {
      this.#timers.delete(timer);
      this.#elapsed = Math.max(this.#elapsed, timer.at);
      timer.fire();
      await settle();
    }
    this.#elapsed = end;
  }

  /** Moves on in steps until `predicate` holds; throws `mesh/timeout` where `limit` ms pass before. */
  async advanceUntil(
    predicate: () => boolean,
    { step = 50, limit = 60_000 }: { readonly step?: number; readonly limit?: number } = {},
  ): Promise<void> {
    const end = this.#elapsed + limit;
    await settle();
    while (!predicate()) {
      if (this.#elapsed >= end) {
        throw new GatewayError('mesh/timeout', `not true within ${limit} ms of simulated time`);
      }
      await this.advance(Math.min(step, end - this.#elapsed));
    }
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      const sooner =
        next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order);
      if (timer.at <= end && sooner) {
        next = timer;
      }
    }
    return next;
  }
}

/** Lets promise continuations, however long their chain, and what they put on the event loop run. */
async function settle(): Promise<void> {
  await new Promise<void>(resolve => setImmediate(resolve));
}
