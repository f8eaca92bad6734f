import type { Clock } from '../../src/lib/clock.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import type { Random } from '../../src/lib/random.ts';
import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

export interface FieldOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Chance in [0, 1] that a station at this distance does not hear a packet. */
  readonly loss: (distance: number) => number;
  /** Bytes. */
  readonly mtu: number;
  /** bit/s: a sender waits until its packet is out. */
  readonly bitrate: number;
}

/** Stations on a line, each hearing those near it: what one hears its neighbour hears, too, or not. */
export class Field {
  readonly options: FieldOptions;
  readonly stations: Station[] = [];
  sent = 0;

  constructor(options: FieldOptions) {
    this.options = options;
  }

  join(name: string, x: number): Station {
    const station = new Station(this, name, x);
    this.stations.push(station);
    return station;
  }
}

/** One station's Interface. Sends one packet at a time. */
export class Station implements Interface {
  readonly name: string;
  readonly x: number;
  readonly #field: Field;
  #port: InterfacePort | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(field: Field, name: string, x: number) {
    this.#field = field;
    this.name = name;
    this.x = x;
  }

  get mtu(): number {
    return this.#field.options.mtu;
  }

  get bitrate(): number {
    return this.#field.options.bitrate;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    if (this.#port === undefined) {
      throw new GatewayError('radio/offline', `${this.name} is not running`, { retryable: true });
    }
    const sent = this.#turn.then(() => this.#carry(packet.slice()));
    this.#turn = sent;
    await sent;
  }

  async #carry(packet: Uint8Array): Promise<void> {
    const { clock, random, loss, bitrate } = this.#field.options;
    this.#field.sent += 1;
    await clock.sleep((packet.length * 8000) / bitrate);
    for (const station of this.#field.stations) {
      if (station !== this && random.fraction() >= loss(Math.abs(station.x - this.x))) {
        void station.#port?.receive(packet.slice());
      }
    }
  }
}
