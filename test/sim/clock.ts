import type { Cancel, Clock } from '../../src/lib/clock.ts';
import { GatewayError } from '../../src/lib/errors.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  /** Undefined where it was cancelled: it leaves the heap when its time comes. */
  fire: (() => void) | undefined;
}

/** A sleep by the timers of a clock. */
export function sleepOn(clock: Pick<Clock, 'after'>, delay: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(delay, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** A Clock that stands still until it is told to move. Starts at a date so that timestamps look like some. */
export class ManualClock implements Clock {
  #start: number;
  #elapsed = 0;
  #order = 0;
  /** A heap: the next to fire is first. */
  readonly #timers: Timer[] = [];
  #cancelled = 0;

  constructor(start = 1_760_000_000_000) {
    this.#start = start;
  }

  now(): number {
    return Math.floor(this.#start + this.#elapsed);
  }

  monotonic(): number {
    return this.#elapsed;
  }

  /** Timers and sleeps that have not fired: 0 when everything is cleaned up. */
  get waiting(): number {
    return this.#timers.length - this.#cancelled;
  }

  sleep(delay: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delay, signal);
  }

  after(delay: number, callback: () => void): Cancel {
    const timer: Timer = { at: this.#elapsed + Math.max(delay, 0), order: this.#order++, fire: callback };
    push(this.#timers, timer);
    return () => {
      if (timer.fire !== undefined) {
        timer.fire = undefined;
        this.#cancelled += 1;
      }
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
    for (let fire = this.#takeUntil(end); fire !== undefined; fire = this.#takeUntil(end)) {
      fire();
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

  /** What fires next, its time having come. */
  #takeUntil(end: number): (() => void) | undefined {
    while (this.#timers.length > 0 && this.#timers[0]!.at <= end) {
      const timer = pop(this.#timers);
      const { fire } = timer;
      if (fire !== undefined) {
        timer.fire = undefined;
        this.#elapsed = Math.max(this.#elapsed, timer.at);
        return fire;
      }
      this.#cancelled -= 1;
    }
    return undefined;
  }
}

function isSooner(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Timer[], timer: Timer): void {
  let at = heap.length;
  heap.push(timer);
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (!isSooner(timer, heap[above]!)) {
      break;
    }
    heap[at] = heap[above]!;
    at = above;
  }
  heap[at] = timer;
}

/** Takes the first of a heap that is not empty. */
function pop(heap: Timer[]): Timer {
  const first = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) {
    return first;
  }
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below + 1 < heap.length && isSooner(heap[below + 1]!, heap[below]!)) {
      below += 1;
    }
    if (below >= heap.length || !isSooner(heap[below]!, last)) {
      break;
    }
    heap[at] = heap[below]!;
    at = below;
  }
  heap[at] = last;
  return first;
}

/** Lets promise continuations, however long their chain, and what they put on the event loop run. */
async function settle(): Promise<void> {
  await new Promise<void>(resolve => setImmediate(resolve));
}
