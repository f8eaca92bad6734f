import type { Clock } from '../../lib/clock.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { LocalDestination } from '../../mesh/reticulum/destination.ts';
import type { AnnounceOptions, Transport } from '../../mesh/reticulum/transport.ts';

export interface AnnounceScheduleParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Transport;
  readonly destination: LocalDestination;
}

/** ms between two announces; each is up to a tenth early, so that hubs started together drift apart. */
const interval = 6 * 3_600_000;
const jitter = 0.1;
/**
 * ms after an interface has come up before anything is said over it unasked. The reference opens its
 * interfaces before it can take packets, and loses for good the one on which a packet comes that early.
 */
export const settlingTime = 3000;

/** Announces a destination: at once, over each interface that has come up, and every six hours. */
export class AnnounceSchedule {
  readonly #parts: AnnounceScheduleParts;

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
            void this.#announce({ interface: iface });
          }
        });
      }
    });
    try {
      while (!signal.aborted) {
        await this.#announce({});
        await clock.sleep(interval * (1 - random.fraction() * jitter), signal).catch(() => {});
      }
    } finally {
      stop();
    }
  }

  /** Announces over every interface; whether a medium took it. */
  now(): Promise<boolean> {
    return this.#announce({});
  }

  async #announce(options: AnnounceOptions): Promise<boolean> {
    const { transport, destination, log } = this.#parts;
    try {
      return await transport.announce(destination, options);
    } catch (error) {
      log.warn({ code: codeOf(error), error: String(error) }, 'the LXMF destination was not announced');
      return false;
    }
  }
}
