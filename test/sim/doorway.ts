import type { Interface, InterfacePort } from '../../src/mesh/interface.ts';

/** A listener: whoever comes is handed to the mesh as a peer. */
export class Doorway implements Interface {
  readonly name: string;
  readonly mtu = 262_144;
  readonly bitrate = 10_000_000;
  readonly listens = true;
  #port: InterfacePort | undefined;

  constructor(name: string) {
    this.name = name;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.#port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#port = undefined;
  }

  async send(): Promise<void> {}

  /** Somebody connects. */
  admit(peer: Interface): void {
    this.#port?.attach(peer);
  }
}
