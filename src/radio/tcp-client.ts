import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { longestAccessCode } from '../mesh/reticulum/access-code.ts';
import { type Framing, hdlcFraming, kissFraming } from './framing/framing.ts';
import type { HdlcSocketParts } from './hdlc-socket.ts';
import { SocketClient } from './socket-client.ts';

/** Bytes of the largest packet over TCP, as the reference has it. */
export const tcpMtu = 262_144;
/** bit/s that the reference guesses for TCP: the link MTU follows from it. */
export const tcpBitrate = 10_000_000;
/** The same of its Backbone interfaces, which have the same wire: bytes, bit/s. */
export const backboneMtu = 1_048_576;
export const backboneBitrate = 100_000_000;

export interface TcpClientOptions {
  readonly name: string;
  /** Host name or address. */
  readonly host: string;
  readonly port: number;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number | undefined;
  /** For a way between hubs, which carries much: longer packets and links of more than over TCP. Default false. */
  readonly backbone?: boolean | undefined;
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
    const { mtu, bitrate } = carriedBy(options);
    this.mtu = mtu;
    this.bitrate = bitrate;
    // A TNC is a radio: whoever is heard is not its far end, and nobody there knows us by the connection.
    this.shared = options.framing === 'kiss';
    this.dials = !this.shared;
    this.#client = new SocketClient(
      { name, dial: { host, port }, where: `${host}:${port}` },
      {
        ...parts,
        framing: upTo(mtu, options.framing === 'kiss' ? kissFraming : hdlcFraming),
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

/** What a connection carries. */
export function carriedBy(
  options: Pick<TcpClientOptions, 'backbone' | 'bitrate' | 'fixedMtu'>,
): Pick<Interface, 'mtu' | 'bitrate'> {
  const { backbone = false, bitrate, fixedMtu } = options;
  return {
    mtu: fixedMtu ?? (backbone ? backboneMtu : tcpMtu),
    bitrate: bitrate ?? (backbone ? backboneBitrate : tcpBitrate),
  };
}

/** Frames of packets of `mtu` bytes, and the longest access code before them. */
export function upTo(mtu: number, framing: Framing): Framing {
  const longest = Math.max(mtu, tcpMtu) + longestAccessCode;
  return { ...framing, deframer: options => framing.deframer({ ...options, longest }) };
}
