import type { Clock } from '../../src/lib/clock.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import type { Random } from '../../src/lib/random.ts';
import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

export interface CableOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** bit/s from the first end to the second, and back. Default 10 Mbit/s. */
  readonly bitrates?: readonly [number, number];
  /** ms one way. Default 20. */
  readonly latency?: number;
  /** ms by which a packet may be later than that; none passes another. Default 0. */
  readonly jitter?: number;
  /** Chance in [0, 1] that a packet is lost, as on a tunnel over datagrams. Default 0. */
  readonly loss?: number;
  /** Bytes. Default 16 kB. */
  readonly mtu?: number;
}

/**
 * Two interfaces joined to each other as by a TCP connection: in order, each way at a bitrate of its own. What is
 * sent waits its turn. Where it is cut both ends fail, and stay down until it is joined.
 */
export class Cable {
  readonly ends: readonly [End, End];
  readonly options: CableOptions;
  #whole = true;

  constructor(names: readonly [string, string], options: CableOptions) {
    this.options = options;
    const [there, back] = options.bitrates ?? [10_000_000, 10_000_000];
    this.ends = [new End(this, names[0], there), new End(this, names[1], back)];
  }

  get whole(): boolean {
    return this.#whole;
  }

  cut(): void {
    this.#whole = false;
    for (const end of this.ends) {
      end.fail();
    }
  }

  join(): void {
    this.#whole = true;
  }

  /** The other end, if it runs. */
  opposite(end: End): End | undefined {
    const other = this.ends[0] === end ? this.ends[1] : this.ends[0];
    return this.#whole && other.running ? other : undefined;
  }
}

/** One end of a Cable. */
export class End implements Interface {
  readonly name: string;
  readonly bitrate: number;
  readonly mtu: number;
  readonly #cable: Cable;
  #port: InterfacePort | undefined;
  #open = false;
  #lost: PromiseWithResolvers<void> | undefined;
  #free = 0;
  #arrives = 0;

  constructor(cable: Cable, name: string, bitrate: number) {
    this.#cable = cable;
    this.name = name;
    this.bitrate = bitrate;
    this.mtu = cable.options.mtu ?? 16_384;
  }

  get running(): boolean {
    return this.#port !== undefined;
  }

  /** It is up once the other end runs too, and fails when that one stops. */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (!this.#cable.whole) {
      throw new GatewayError('radio/offline', `${this.name} has no connection`, { retryable: true });
    }
    const lost = Promise.withResolvers<void>();
    const stop = () => lost.resolve();
    this.#lost = lost;
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (!signal.aborted) {
        this.#port = port;
        const other = this.#cable.opposite(this);
        if (other !== undefined) {
          this.#ready();
          other.#ready();
        }
        await lost.promise;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#port = undefined;
      this.#open = false;
      this.#lost = undefined;
      // A connection ends for both.
      this.#cable.opposite(this)?.fail();
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    if (!this.#open) {
      throw new GatewayError('radio/offline', `${this.name} is not connected`, { retryable: true });
    }
    const { clock, random, latency = 20, jitter = 0, loss = 0 } = this.#cable.options;
    const now = clock.monotonic();
    this.#free = Math.max(now, this.#free) + (packet.length * 8000) / this.bitrate;
    const other = this.#cable.opposite(this);
    if (other !== undefined && random.fraction() >= loss) {
      const copy = packet.slice();
      const connection = other.#port;
      this.#arrives = Math.max(this.#arrives, this.#free + latency + random.fraction() * jitter);
      clock.after(this.#arrives - now, () => {
        if (other.#port === connection) {
          void connection?.receive(copy);
        }
      });
    }
    if (this.#free - now > 1) {
      await clock.sleep(this.#free - now);
    }
  }

  fail(): void {
    this.#open = false;
    this.#lost?.reject(new GatewayError('radio/offline', `${this.name} was cut`, { retryable: true }));
  }

  #ready(): void {
    this.#open = true;
    this.#free = 0;
    this.#arrives = 0;
    this.#port?.ready();
  }
}
