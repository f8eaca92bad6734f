import type { Clock } from '../../lib/clock.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { AccessCode } from './access-code.ts';
import { InOrder } from './in-order.ts';

/** ms within which the next packet comes where many do. */
const soon = 1;

/**
 * The access codes of one interface's packets. Each costs a signature, whichever way the packet goes, so where one
 * packet follows the other several are signed at once by threads, and they go on in the order in which they came. A
 * packet that comes alone is done at once.
 */
export class AccessGate {
  readonly #clock: Clock;
  readonly #threads: SignatureThreads | undefined;
  readonly #incoming = { order: new InOrder(), last: Number.NEGATIVE_INFINITY };
  readonly #outgoing = { order: new InOrder(), last: Number.NEGATIVE_INFINITY };

  constructor(clock: Clock, threads: SignatureThreads | undefined) {
    this.#clock = clock;
    this.#threads = threads;
  }

  /**
   * Opens what came in; `goOn` gets undefined where it is of no network of ours. A promise, of `goOn` or because too
   * many wait, asks the medium to wait.
   */
  open(
    code: AccessCode,
    sealed: Uint8Array,
    goOn: (packet: Uint8Array | undefined) => void | Promise<void>,
  ): void | Promise<void> {
    const { order } = this.#incoming;
    const threads = this.#besides(this.#incoming);
    if (threads === undefined && order.size === 0) {
      return goOn(code.opened(sealed));
    }
    const done = order.begin();
    if (threads === undefined) {
      const opened = code.opened(sealed);
      done(() => goOn(opened));
    } else {
      code.openBeside(threads, sealed, opened => done(() => goOn(opened)));
    }
    return order.full;
  }

  /** Seals what leaves, and gives what becomes of it. */
  seal(
    code: AccessCode,
    packet: Uint8Array,
    goOn: (sealed: Uint8Array) => boolean | Promise<boolean>,
  ): boolean | Promise<boolean> {
    const { order } = this.#outgoing;
    const threads = this.#besides(this.#outgoing);
    if (threads === undefined && order.size === 0) {
      return goOn(code.seal(packet));
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const done = order.begin();
    const leave = (sealed: Uint8Array) =>
      done(() => {
        resolve(goOn(sealed));
      });
    if (threads === undefined) {
      leave(code.seal(packet));
    } else {
      code.sealBeside(threads, packet, leave);
    }
    return promise;
  }

  /** The threads, where the packet at hand is one of many and they have room. */
  #besides(direction: { last: number }): SignatureThreads | undefined {
    if (this.#threads === undefined) {
      return undefined;
    }
    const now = this.#clock.monotonic();
    const isOneOfMany = now - direction.last < soon;
    direction.last = now;
    return isOneOfMany && this.#threads.hasRoom ? this.#threads : undefined;
  }
}
