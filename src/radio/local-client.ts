import type { Interface, InterfacePort } from '../mesh/interface.ts';
import type { HdlcSocketParts } from './hdlc-socket.ts';
import { addressOfPlace, type LocalPlace, localBitrate, localMtu, placeInWords } from './local-socket.ts';
import { SocketClient } from './socket-client.ts';

export interface LocalClientOptions {
  readonly name: string;
  readonly place: LocalPlace;
}

/** The connection to a Reticulum node that runs on this machine. Attach it with the policy `local: 'instance'`. */
export class LocalClient implements Interface {
  readonly name: string;
  readonly mtu = localMtu;
  readonly bitrate = localBitrate;
  readonly place: LocalPlace;
  readonly #client: SocketClient;

  constructor({ name, place }: LocalClientOptions, parts: HdlcSocketParts) {
    this.name = name;
    this.place = place;
    this.#client = new SocketClient({ name, dial: addressOfPlace(place), where: placeInWords(place) }, parts);
  }

  run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    return this.#client.run(port, signal);
  }

  send(packet: Uint8Array): Promise<void> {
    return this.#client.send(packet);
  }
}
