import type { Clock } from '../../src/lib/clock.ts';

interface Timer {
  readonly due: number;
  readonly callback: () => void;
}

/**
 * The machine's clock, but it can be held and set forward: what a node does then comes when the test wants it, by the
 * node's own timers. Wall time and monotonic time move together.
 */
export class BridgeClock implements Clock {
  readonly #timers = new Set<Timer>();
  #ahead = 0;
  /** Monotonic ms at which it stands; undefined while it runs. */
  #held: number | undefined;
  #wake: NodeJS.Timeout | undefined;

  now(): number {
    return Date.now() + this.ahead;
  }

  /** ms that it is ahead of the machine's: the same from look to look while it runs, however busy the machine is. */
  get ahead(): number {
    return this.#held === undefined ? this.#ahead : this.#held - performance.now();
  }

  monotonic(): number {
    return this.#held ?? performance.now() + this.#ahead;
  }

  async sleep(delay: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const cancel = this.after(delay, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = () => {
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  after(delay: number, callback: () => void): () => void {
    const timer = { due: this.monotonic() + Math.max(0, delay), callback };
    this.#timers.add(timer);
    this.#arm();
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Time stands still, and nothing becomes due. */
  hold(): void {
    this.#held ??= this.monotonic();
    clearTimeout(this.#wake);
  }

  /** Runs again, from where it stands. */
  release(): void {
    if (this.#held !== undefined) {
      this.#ahead = this.#held - performance.now();
      this.#held = undefined;
    }
    this.#arm();
  }

  /** Goes forward to a monotonic time, with all that becomes due until then in its order, and runs on from there. */
  async advanceTo(time: number): Promise<void> {
    this.hold();
    for (;;) {
      const next = this.#first();
      if (next === undefined || next.due > time) break;
      this.#held = Math.max(this.#held!, next.due);
      this.#timers.delete(next);
      next.callback();
      await settled();
    }
    this.#held = Math.max(this.#held!, time);
    this.release();
    await settled();
  }

  /** Is at a monotonic time at once, as if the machine had slept: what became due meanwhile comes together. */
  async leapTo(time: number): Promise<void> {
    this.hold();
    this.#held = Math.max(this.#held!, time);
    this.#ring();
    await settled();
    this.release();
    await settled();
  }

  close(): void {
    clearTimeout(this.#wake);
    this.#timers.clear();
  }

  #first(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) if (first === undefined || timer.due < first.due) first = timer;
    return first;
  }

  #arm(): void {
    clearTimeout(this.#wake);
    const first = this.#held === undefined ? this.#first() : undefined;
    if (first === undefined) return;
    const delay = Math.min(2 ** 30, Math.max(0, Math.ceil(first.due - this.monotonic())));
    this.#wake = setTimeout(() => this.#ring(), delay);
    this.#wake.unref();
  }

  #ring(): void {
    const due = [...this.#timers].filter(timer => timer.due <= this.monotonic());
    for (const timer of due.sort((a, b) => a.due - b.due)) {
      if (this.#timers.delete(timer)) timer.callback();
    }
    this.#arm();
  }
}

/** What is handed over between promises now has arrived. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await new Promise(resolve => setImmediate(resolve));
}
