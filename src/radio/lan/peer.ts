import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Interface, InterfacePort } from '../../mesh/interface.ts';
import { Intake, type IntakeBudget } from '../intake.ts';

/** Bytes of the largest packet on a LAN: it fits any network's datagram whole. Source: RNS 1.5.7, AutoInterface. */
export const lanMtu = 1196;
/** bit/s that the reference guesses for a LAN. */
export const lanBitrate = 10_000_000;

export interface LanPeerOptions {
  readonly name: string;
  readonly bitrate: number;
  readonly counters: Counters;
  readonly budget: IntakeBudget;
  /** See `Datagrams.send`. */
  readonly send: (packet: Uint8Array) => Promise<void>;
}

/** Another node on the LAN, as an interface of its own: what is sent over it goes to that node alone. */
export class LanPeer implements Interface {
  readonly name: string;
  readonly mtu = lanMtu;
  readonly bitrate: number;
  /** Whoever is on the LAN can send in its name. */
  readonly shared = true;
  readonly #options: LanPeerOptions;
  readonly #lost = Promise.withResolvers<void>();
  #gone: GatewayError | undefined;
  #intake: Intake | undefined;
  #up = false;
  #ready: (() => void) | undefined;

  constructor(options: LanPeerOptions) {
    this.name = options.name;
    this.bitrate = options.bitrate;
    this.#options = options;
    this.#lost.promise.catch(() => {});
  }

  /** Whether the mesh uses it. */
  get running(): boolean {
    return this.#intake !== undefined;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const stopped = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    const intake = new Intake(port, this.#options.counters, this.#options.budget);
    this.#intake = intake;
    this.#ready = () => port.ready();
    try {
      await Promise.race([stopped.promise, this.#lost.promise]);
    } finally {
      stopped.resolve();
      intake.close();
      this.#intake = undefined;
      this.#ready = undefined;
      this.#up = false;
    }
  }

  /** It has found us as well: before, it would drop what we send. */
  knowsUs(): void {
    if (!this.#up && this.#ready !== undefined) {
      this.#up = true;
      this.#ready();
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    if (!this.#up) {
      throw this.#gone ?? new GatewayError('radio/offline', `${this.name} is not there`, { retryable: true });
    }
    await this.#options.send(packet);
  }

  /** A packet came from it. */
  take(packet: Uint8Array): void {
    this.#intake?.take(packet);
  }

  /** It is not there any more, for this reason. */
  lose(reason: string): void {
    this.#gone ??= new GatewayError('radio/offline', reason, { retryable: true });
    this.#lost.reject(this.#gone);
  }
}
