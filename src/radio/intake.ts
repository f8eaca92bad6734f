import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Counters } from '../lib/counters.ts';
import type { InterfacePort } from '../mesh/interface.ts';

/** Bytes that several intakes may hold together. */
export interface IntakeBudget {
  used: number;
  readonly limit: number;
}

/** Packets that may wait in one intake. */
const capacity = 256;
/** Packets handed on before others have a turn. */
const turnLength = 16;

/**
 * Hands packets up one after the other, each when the one before is dealt with. A socket of datagrams
 * cannot be told to wait, so what comes meanwhile is kept up to a bound, and dropped and counted beyond.
 */
export class Intake {
  readonly #port: InterfacePort;
  readonly #counters: Counters;
  readonly #budget: IntakeBudget;
  #waiting: Uint8Array[] = [];
  #busy = false;
  #closed = false;

  constructor(port: InterfacePort, counters: Counters, budget: IntakeBudget) {
    this.#port = port;
    this.#counters = counters;
    this.#budget = budget;
  }

  take(packet: Uint8Array): void {
    if (this.#closed) {
      return;
    }
    if (!this.#busy) {
      const asked = this.#port.receive(packet);
      if (asked !== undefined) {
        this.#busy = true;
        void this.#drain(asked);
      }
      return;
    }
    if (this.#waiting.length >= capacity || this.#budget.used + packet.length > this.#budget.limit) {
      this.#counters.add('radio/intake-full');
      return;
    }
    this.#waiting.push(packet);
    this.#budget.used += packet.length;
  }

  /** What waits is dropped, and nothing is taken any more. */
  close(): void {
    this.#closed = true;
    for (const packet of this.#waiting) {
      this.#budget.used -= packet.length;
    }
    this.#waiting = [];
  }

  async #drain(first: Promise<void>): Promise<void> {
    let asked: Promise<void> | undefined = first;
    for (let handed = 1; ; handed++) {
      await asked?.catch(() => {});
      const packet = this.#waiting.shift();
      if (packet === undefined) {
        this.#busy = false;
        return;
      }
      this.#budget.used -= packet.length;
      asked = this.#port.receive(packet) ?? (handed % turnLength === 0 ? nextTurn() : undefined);
    }
  }
}
