import type { Clock } from '../../lib/clock.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { LocalDestination } from '../../mesh/reticulum/destination.ts';
import type { InterfaceHandle } from '../../mesh/reticulum/dispatch.ts';
import type { Transport } from '../../mesh/reticulum/transport.ts';

export interface AnnounceScheduleParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Transport;
  /** The hub's own: announced before all others, and at once. */
  readonly destination: LocalDestination;
  /** The others there are now. */
  readonly others: () => readonly LocalDestination[];
}

/** ms between two announces; each is up to a tenth early, so that hubs started together drift apart. */
const interval = 6 * 3_600_000;
const jitter = 0.1;
/**
 * ms after an interface has come up before anything is said over it unasked. The reference opens its
 * interfaces before it can take packets, and loses for good the one on which a packet comes that early.
 */
export const settlingTime = 3000;
/** Bytes of an announce with its ratchet and a name. */
const announceSize = 240;
/** The part of a medium that announces of the others take at most while they are made, one after the other. */
const share = 0.1;
/**
 * ms between two of them on a medium of any speed: the reference holds announces of destinations it does not know back
 * where more than three come in a second over an interface that is new to it.
 */
const shortestPause = 500;

/**
 * Announces destinations: the hub's at once, over each interface that has come up, and every six hours. Those
 * of its residents follow one after the other, so slowly that many of them do not fill a slow radio.
 */
export class AnnounceSchedule {
  readonly #parts: AnnounceScheduleParts;
  /** What is to be announced, and over what; an interface of its own is left out where all are meant. */
  readonly #due = new Map<
    string,
    { readonly destination: LocalDestination; readonly over: InterfaceHandle | 'all' }
  >();
  #wake: (() => void) | undefined;

  constructor(parts: AnnounceScheduleParts) {
    this.#parts = parts;
  }

  /** Runs until the signal. An announce that cannot leave is logged; the next one tries again. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, transport } = this.#parts;
    const stop = transport.onInterface(({ iface, online }) => {
      if (online) {
        clock.after(settlingTime, () => {
          if (!signal.aborted && iface.online) {
            void this.#round(iface);
          }
        });
      }
    });
    const wake = () => this.#wake?.();
    signal.addEventListener('abort', wake, { once: true });
    const working = this.#workOff(signal);
    try {
      while (!signal.aborted) {
        await this.#round('all');
        await clock.sleep(interval * (1 - random.fraction() * jitter), signal).catch(() => {});
      }
    } finally {
      stop();
      signal.removeEventListener('abort', wake);
      await working;
      this.#due.clear();
    }
  }

  /** Announces over every interface; whether a medium took the hub's. The others follow. */
  now(): Promise<boolean> {
    return this.#round('all');
  }

  /** One of the others is new or has another name. */
  changed(destination: LocalDestination): void {
    this.#add(destination, 'all');
  }

  #round(over: InterfaceHandle | 'all'): Promise<boolean> {
    const announced = this.#announce(this.#parts.destination, over);
    for (const destination of this.#parts.others()) {
      this.#add(destination, over);
    }
    return announced;
  }

  #add(destination: LocalDestination, over: InterfaceHandle | 'all'): void {
    if (this.#due.has(keyOf(destination, 'all'))) {
      return;
    }
    this.#due.set(keyOf(destination, over), { destination, over });
    this.#wake?.();
  }

  async #workOff(signal: AbortSignal): Promise<void> {
    const { clock, transport } = this.#parts;
    while (!signal.aborted) {
      const [first] = this.#due;
      if (first === undefined) {
        await new Promise<void>(resolve => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      const [key, { destination, over }] = first;
      this.#due.delete(key);
      if (transport.local(destination.hash) !== destination || (over !== 'all' && !over.online)) {
        continue;
      }
      await this.#announce(destination, over);
      await clock.sleep(this.#pauseAfter(over), signal).catch(() => {});
    }
  }

  /** ms until the next of the others: by the slowest medium that had to carry this one. */
  #pauseAfter(over: InterfaceHandle | 'all'): number {
    const media =
      over === 'all' ? [...this.#parts.transport.interfaces()].filter(({ online }) => online) : [over];
    const bitrate = Math.min(...media.map(iface => iface.bitrate));
    return Math.max(shortestPause, (announceSize * 8 * 1000) / Math.max(bitrate, 5) / share);
  }

  async #announce(destination: LocalDestination, over: InterfaceHandle | 'all'): Promise<boolean> {
    const { transport, log } = this.#parts;
    try {
      return await transport.announce(destination, over === 'all' ? {} : { interface: over });
    } catch (error) {
      log.warn({ code: codeOf(error), error: String(error) }, 'an LXMF destination was not announced');
      return false;
    }
  }
}

function keyOf(destination: LocalDestination, over: InterfaceHandle | 'all'): string {
  return `${destination.key} ${over === 'all' ? '' : over.name}`;
}
