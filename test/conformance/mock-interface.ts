import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

export interface MockOptions {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** bit/s */
  readonly bitrate: number;
  /** Monotonic ms. */
  readonly now: () => number;
}

/** A packet that left. */
export interface Sent {
  readonly packet: Uint8Array;
  /** Monotonic ms, by the clock of the options. */
  readonly at: number;
}

/** A medium whose far end is the test: it says what is heard on it, and takes what was sent over it. */
export class MockInterface implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  /** Whether it is a connection that this node makes. */
  dials = false;
  #sent: Sent[] = [];
  #port: InterfacePort | undefined;

  readonly #now: () => number;

  constructor({ name, mtu, bitrate, now }: MockOptions) {
    this.#now = now;
    this.name = name;
    this.mtu = mtu;
    this.bitrate = bitrate;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    this.#sent.push({ packet: packet.slice(), at: this.#now() });
  }

  /** A packet is heard on it; false where it is not in use. */
  hear(packet: Uint8Array): boolean {
    void this.#port?.receive(packet.slice());
    return this.#port !== undefined;
  }

  /** What was sent over it since this was asked last. */
  drain(): readonly Uint8Array[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent.map(({ packet }) => packet);
  }

  /** What would be drained. */
  peek(): readonly Sent[] {
    return this.#sent;
  }
}
