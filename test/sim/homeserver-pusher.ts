import type { FakeEvent } from './homeserver-rooms.ts';

export interface PusherOptions {
  readonly url: () => string;
  readonly hsToken: () => string;
  /** ms of the first wait after a refusal; doubles. */
  readonly backoff: number;
}

interface Transaction {
  readonly id: number;
  readonly body: string;
}

/**
 * How Synapse pushes events to an appservice, with its weaknesses: what waits in memory is gone when it is killed;
 * the one transaction in flight stays in the database and is not sent again while the appservice counts as up; numbers
 * begin anew after a restart; a ping flushes, but after a restart only once something new has happened.
 */
export class FakePusher {
  readonly #options: PusherOptions;
  /** In memory. */
  #queue: FakeEvent[] = [];
  #ephemeral: object[] = [];
  #sending = false;
  #recovering = false;
  #stopped = true;
  #abort = new AbortController();
  #wake: (() => void) | undefined;
  #failures = 0;
  /** In the database. */
  #pending: Transaction[] = [];
  #down = false;
  #nextId = 1;

  /** Every attempt with its answer, for tests. */
  readonly attempts: { readonly id: number; readonly body: string; readonly status: number }[] = [];
  /** Sends each transaction a second time under another number. */
  duplicate = false;
  /** Forgets every so many-th event instead of sending it; 0 for none. */
  loseEvery = 0;
  #seen = 0;

  constructor(options: PusherOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    this.#abort = new AbortController();
    this.#nextId = 1 + Math.max(0, ...this.#pending.map(({ id }) => id));
    this.#recovering = false;
  }

  /** SIGKILL: memory is gone. */
  kill(): void {
    this.#stopped = true;
    this.#queue = [];
    this.#ephemeral = [];
    this.#sending = false;
    this.#abort.abort();
    this.#wake?.();
  }

  get idle(): boolean {
    return this.#queue.length === 0 && this.#pending.length === 0 && !this.#sending;
  }

  push(event: FakeEvent): void {
    this.#seen += 1;
    if (this.loseEvery > 0 && this.#seen % this.loseEvery === 0) {
      return;
    }
    this.#queue.push(event);
    void this.#pump();
  }

  pushEphemeral(edu: object): void {
    this.#ephemeral.push(edu);
    void this.#pump();
  }

  /** After a ping, what is held back goes at once: but only while there is somebody who tries. */
  flush(): void {
    this.#failures = 0;
    this.#wake?.();
  }

  async #pump(): Promise<void> {
    if (this.#stopped) {
      return;
    }
    if (this.#down) {
      // While it counts as down, each event is a transaction of its own.
      for (const event of this.#queue.splice(0)) {
        this.#pending.push({ id: this.#nextId++, body: JSON.stringify({ events: [event] }) });
      }
      this.#ephemeral = [];
      void this.#recover();
      return;
    }
    if (this.#sending) {
      return;
    }
    this.#sending = true;
    while (!this.#stopped && !this.#down && this.#queue.length + this.#ephemeral.length > 0) {
      const events = this.#queue.splice(0, 100);
      const ephemeral = this.#ephemeral.splice(0);
      const body = JSON.stringify({ events, ...(ephemeral.length > 0 ? { ephemeral } : {}) });
      const transaction = { id: this.#nextId++, body };
      this.#pending.push(transaction);
      const taken = await this.#send(transaction);
      if (this.#stopped) {
        return;
      }
      if (taken) {
        this.#forget(transaction);
        if (this.duplicate) {
          await this.#send({ id: this.#nextId++, body });
        }
      } else {
        this.#down = true;
        void this.#recover();
      }
    }
    this.#sending = false;
    if (this.#down) {
      void this.#pump();
    }
  }

  async #recover(): Promise<void> {
    if (this.#recovering) {
      return;
    }
    this.#recovering = true;
    const stop = this.#abort.signal;
    this.#failures = 0;
    while (!stop.aborted && this.#pending.length > 0) {
      this.#failures += 1;
      await this.#rest(this.#options.backoff * 2 ** (this.#failures - 1), stop);
      while (!stop.aborted && this.#pending[0] !== undefined) {
        const transaction = this.#pending[0];
        if (!(await this.#send(transaction))) {
          break;
        }
        this.#forget(transaction);
        this.#failures = 0;
      }
    }
    if (!stop.aborted) {
      this.#recovering = false;
      this.#down = false;
      void this.#pump();
    }
  }

  #rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, signal.aborted ? 0 : ms);
      this.#wake = done;
    });
  }

  #forget(transaction: Transaction): void {
    this.#pending = this.#pending.filter(one => one !== transaction);
  }

  async #send({ id, body }: Transaction): Promise<boolean> {
    const { signal } = this.#abort;
    let status = 0;
    try {
      const answer = await fetch(`${this.#options.url()}/_matrix/app/v1/transactions/${id}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${this.#options.hsToken()}`, 'content-type': 'application/json' },
        body,
        signal,
      });
      await answer.text();
      status = answer.status;
    } catch {
      status = 0;
    }
    this.attempts.push({ id, body, status });
    return status === 200;
  }
}
