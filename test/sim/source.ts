import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

/** An interface whose far side is the test: it puts packets in, and sees what comes out. */
export class Source implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  /** Takes what is sent; the bytes are its own. */
  onSent: (packet: Uint8Array) => void = () => {};
  #port: InterfacePort | undefined;

  constructor(name: string, how: { readonly mtu?: number; readonly bitrate?: number } = {}) {
    this.name = name;
    this.mtu = how.mtu ?? 1064;
    this.bitrate = how.bitrate ?? 10_000_000;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    this.onSent(packet.slice());
  }

  /** A packet comes in; a promise is the mesh's back-pressure. */
  put(packet: Uint8Array): void | Promise<void> {
    return this.#port?.receive(packet);
  }
}
