import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { hdlcFraming, kissFraming } from './framing/framing.ts';
import type { HdlcSocketParts } from './hdlc-socket.ts';
import { SocketClient } from './socket-client.ts';

/** Bytes of the largest packet over TCP, as the reference has it. */
export const tcpMtu = 262_144;
/** bit/s that the reference guesses for TCP: the link MTU follows from it. */
export const tcpBitrate = 10_000_000;

export interface TcpClientOptions {
  readonly name: string;
  /** Host name or address. */
  readonly host: string;
  readonly port: number;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number | undefined;
  /** Bytes of the largest packet, where both ends agreed on less than the usual: links are made no larger. */
  readonly fixedMtu?: number | undefined;
  /** `kiss` for a TNC behind TCP. Default `hdlc`. */
  readonly framing?: 'hdlc' | 'kiss' | undefined;
}

/** A connection to a TCP server interface of another node, HDLC framed, or to a TNC behind TCP. */
export class TcpClient implements Interface {
  readonly name: string;
  readonly mtu: number;
  readonly bitrate: number;
  readonly dials: boolean;
  readonly shared: boolean;
  readonly #client: SocketClient;

  constructor(options: TcpClientOptions, parts: HdlcSocketParts) {
    const { name, host, port } = options;
    this.name = name;
    this.mtu = options.fixedMtu ?? tcpMtu;
    this.bitrate = options.bitrate ?? tcpBitrate;
    // A TNC is a radio: whoever is heard is not its far end, and nobody there knows us by the connection.
    this.shared = options.framing === 'kiss';
    this.dials = !this.shared;
    this.#client = new SocketClient(
      { name, dial: { host, port }, where: `${host}:${port}` },
      {
        ...parts,
        framing: options.framing === 'kiss' ? kissFraming : hdlcFraming,
      },
    );
  }

  run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    return this.#client.run(port, signal);
  }

  send(packet: Uint8Array): Promise<void> {
    return this.#client.send(packet);
  }
}
