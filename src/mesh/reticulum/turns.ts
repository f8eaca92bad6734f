import type { Clock } from '../../lib/clock.ts';

/**
 * Signatures and key exchanges done for one sender before everything else has a turn: about 10 ms of
 * this thread.
 */
const workPerTurn = 100;

interface Account {
  done: number;
  turn: Promise<void> | undefined;
}

/** Keeps whoever sends the most work from holding up the rest. */
export class Turns {
  readonly #clock: Clock;
  readonly #accounts = new WeakMap<object, Account>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Charges work to its sender: a promise where the next should wait until the others had a turn. */
  charge(sender: object, work: number): void | Promise<void> {
    if (work === 0) {
      return undefined;
    }
    let account = this.#accounts.get(sender);
    if (account === undefined) {
      account = { done: 0, turn: undefined };
      this.#accounts.set(sender, account);
    }
    account.done += work;
    if (account.done < workPerTurn) {
      return undefined;
    }
    account.turn ??= this.#turn(account);
    return account.turn;
  }

  async #turn(account: Account): Promise<void> {
    await this.#clock.sleep(0);
    account.done = 0;
    account.turn = undefined;
  }
}
