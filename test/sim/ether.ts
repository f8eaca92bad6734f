import type { Clock } from '../../src/lib/clock.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import type { Random } from '../../src/lib/random.ts';
import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

export interface EtherOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Chance in [0, 1] that a packet does not reach a listener. Default 0. */
  readonly loss?: number;
  /** Chance in [0, 1] that a listener hears a packet twice. Default 0. */
  readonly duplication?: number;
  /** Chance in [0, 1] that a packet is late by up to ten latencies, so that others pass it. Default 0. */
  readonly reordering?: number;
  /** ms from sender to listener, beside the time on air. Default 5. */
  readonly latency?: number;
  /** Bytes. Default 500. */
  readonly mtu?: number;
  /** bit/s: a sender waits until its packet is out. Default 10 Mbit/s. */
  readonly bitrate?: number;
}

/** A medium all of whose members hear each other, badly where told so. What happens follows from the seed. */
export class Ether {
  readonly #options: Required<EtherOptions>;
  readonly #members = new Map<string, Member>();
  #sides: readonly ReadonlySet<string>[] = [];
  loss: number;
  readonly counts = { sent: 0, heard: 0, lost: 0, duplicated: 0 };

  constructor(options: EtherOptions) {
    this.#options = {
      loss: 0,
      duplication: 0,
      reordering: 0,
      latency: 5,
      mtu: 500,
      bitrate: 10_000_000,
      ...options,
    };
    this.loss = this.#options.loss;
  }

  /** A new member's interface; `name` is unique in this ether. `bitrate` where it sends at another than the rest. */
  join(name: string, how: { readonly bitrate?: number } = {}): Interface {
    const member = new Member(this, name, { ...this.#options, ...how });
    this.#members.set(name, member);
    return member;
  }

  /** A member is gone for good. */
  leave(name: string): void {
    this.#members.delete(name);
  }

  /** From now on a member hears only those on its side; one that is on no side hears nobody. */
  partition(...sides: readonly (readonly string[])[]): void {
    this.#sides = sides.map(side => new Set(side));
  }

  /** Everybody hears everybody again. */
  heal(): void {
    this.#sides = [];
  }

  /** The member's medium fails: its `run` rejects with `radio/offline`. */
  cut(name: string): void {
    this.#members.get(name)?.lose();
  }

  /** Carries a packet from one member to the others; resolves when it is out, after `onAir` ms. */
  async carry(from: string, packet: Uint8Array, onAir: number): Promise<void> {
    const { clock, random, duplication } = this.#options;
    this.counts.sent += 1;
    for (const listener of this.#members.values()) {
      if (listener.name === from || !this.#together(from, listener.name)) {
        continue;
      }
      if (random.fraction() < this.loss) {
        this.counts.lost += 1;
        continue;
      }
      this.#deliver(listener, packet, onAir);
      if (random.fraction() < duplication) {
        this.counts.duplicated += 1;
        this.#deliver(listener, packet, onAir);
      }
    }
    await clock.sleep(onAir);
  }

  #deliver(listener: Member, packet: Uint8Array, onAir: number): void {
    const { clock, random, latency, reordering } = this.#options;
    const late = random.fraction() < reordering ? random.fraction() * latency * 10 : 0;
    const copy = packet.slice();
    clock.after(onAir + latency + late, () => {
      if (listener.hear(copy)) {
        this.counts.heard += 1;
      }
    });
  }

  #together(a: string, b: string): boolean {
    return this.#sides.length === 0 || this.#sides.some(side => side.has(a) && side.has(b));
  }
}

/** One member's Interface. Sends one packet at a time, as a radio does. */
class Member implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  readonly #ether: Ether;
  #port: InterfacePort | undefined;
  #lost: PromiseWithResolvers<void> | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(ether: Ether, name: string, { mtu, bitrate }: { mtu: number; bitrate: number }) {
    this.#ether = ether;
    this.name = name;
    this.mtu = mtu;
    this.bitrate = bitrate;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const lost = Promise.withResolvers<void>();
    const stop = () => lost.resolve();
    this.#lost = lost;
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) {
        return;
      }
      this.#port = port;
      port.ready();
      await lost.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#port = undefined;
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    if (this.#port === undefined) {
      throw new GatewayError('radio/offline', `${this.name} is not running`, { retryable: true });
    }
    if (packet.length > this.mtu) {
      throw new GatewayError('mesh/too-large', `${packet.length} bytes, ${this.mtu} carried`);
    }
    const copy = packet.slice();
    const onAir = (copy.length * 8000) / this.bitrate;
    const sent = this.#turn.then(() => this.#ether.carry(this.name, copy, onAir));
    this.#turn = sent;
    await sent;
  }

  lose(): void {
    this.#lost?.reject(new GatewayError('radio/offline', `${this.name} was cut`, { retryable: true }));
  }

  /** Whether somebody listened. */
  hear(packet: Uint8Array): boolean {
    void this.#port?.receive(packet);
    return this.#port !== undefined;
  }
}
