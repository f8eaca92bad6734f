import { GatewayError } from './errors.ts';

/** What a full queue gives up: the new item, the oldest one, or nothing (`push` throws `store/full`). */
export type Overflow = 'newest' | 'oldest' | 'refuse';

export interface QueueOptions {
  readonly name: string;
  readonly capacity: number;
  readonly overflow: Overflow;
}

/** A first-in-first-out queue with a bound, one reader and a count of what it dropped. */
export class BoundedQueue<T> {
  readonly name: string;
  readonly capacity: number;
  readonly #overflow: Overflow;
  #items: T[] = [];
  #head = 0;
  #dropped = 0;
  #waiting: (() => void) | undefined;

  constructor(options: QueueOptions) {
    this.name = options.name;
    this.capacity = options.capacity;
    this.#overflow = options.overflow;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** How many items this queue has given up so far. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether the item was kept. Throws `store/full` where the queue refuses. */
  push(item: T): boolean {
    if (this.size >= this.capacity) {
      this.#dropped += 1;
      if (this.#overflow === 'refuse') {
        throw new GatewayError('store/full', `${this.name}: ${this.capacity} waiting already`, {
          retryable: true,
        });
      }
      if (this.#overflow === 'newest') {
        return false;
      }
      this.shift();
    }
    this.#items.push(item);
    const wake = this.#waiting;
    this.#waiting = undefined;
    wake?.();
    return true;
  }

  /** The oldest item, or undefined if there is none. */
  shift(): T | undefined {
    if (this.#head === this.#items.length) {
      return undefined;
    }
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined as T;
    this.#head += 1;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Waits for an item; rejects with the signal's reason. One reader at a time. */
  async take(signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      if (this.size > 0) {
        return this.shift() as T;
      }
      await new Promise<void>(resolve => {
        const wake = () => {
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting = wake;
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }
}
