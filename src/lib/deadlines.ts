import type { Cancel, Clock } from './clock.ts';

/** One of a chain, in the order in which they are reached. */
interface Deadline {
  /** ms of the monotonic clock. */
  readonly at: number;
  readonly callback: () => void;
  isOpen: boolean;
  previous: Deadline | undefined;
  next: Deadline | undefined;
}

/**
 * Waits that are all of one length, with one timer for all of them: where hardly one of thousands is ever reached, a timer for
 * each costs more than what is waited for. One is called no earlier than it would be alone, and no later.
 *
 * No Set: one that is added to and deleted from all the time leads from each layout it had to the next, and what is old keeps
 * alive what is young. For the same reason one that is over leads nowhere.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #delay: number;
  #first: Deadline | undefined;
  #last: Deadline | undefined;
  #isArmed = false;

  /** @param delay ms */
  constructor(clock: Clock, delay: number) {
    this.#clock = clock;
    this.#delay = delay;
  }

  /** Calls back once after the delay unless cancelled. Does not keep the process alive. */
  after(callback: () => void): Cancel {
    const at = this.#clock.monotonic() + this.#delay;
    const deadline: Deadline = { at, callback, isOpen: true, previous: this.#last, next: undefined };
    if (this.#last === undefined) {
      this.#first = deadline;
    } else {
      this.#last.next = deadline;
    }
    this.#last = deadline;
    if (!this.#isArmed) {
      this.#arm(this.#delay);
    }
    return () => this.#end(deadline);
  }

  #end(deadline: Deadline): void {
    const { isOpen, previous, next } = deadline;
    if (!isOpen) {
      return;
    }
    deadline.isOpen = false;
    deadline.previous = undefined;
    deadline.next = undefined;
    if (previous === undefined) {
      this.#first = next;
    } else {
      previous.next = next;
    }
    if (next === undefined) {
      this.#last = previous;
    } else {
      next.previous = previous;
    }
  }

  #arm(delay: number): void {
    this.#isArmed = true;
    this.#clock.after(delay, () => this.#look());
  }

  #look(): void {
    const now = this.#clock.monotonic();
    try {
      for (let first = this.#first; first !== undefined && first.at <= now; first = this.#first) {
        this.#end(first);
        first.callback();
      }
    } finally {
      // Behind one that throws, too, as with timers of their own.
      this.#isArmed = false;
      if (this.#first !== undefined) {
        this.#arm(Math.max(this.#first.at - now, 0));
      }
    }
  }
}
