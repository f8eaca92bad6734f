import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError, isGatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { inWords } from './hdlc-socket.ts';
import { Intake } from './intake.ts';
import { type DatagramSource, type Datagrams, type Network, systemNetwork } from './network.ts';

/** Bytes of the largest packet in a datagram. Source: RNS 1.5.7, UDPInterface. */
export const udpMtu = 1064;
/** bit/s that the reference guesses for UDP. */
const udpBitrate = 10_000_000;
/** Bytes of the shortest packet there is. */
const shortestPacket = 20;
/** ms between two looks whether the address is still ours and the way there still open. */
const lookInterval = 5000;
/** Bytes of packets that may wait to be worked off. */
const intakeLimit = 1024 * 1024;

export interface UdpAddress {
  readonly host: string;
  readonly port: number;
}

export interface UdpOptions {
  readonly name: string;
  /** Where packets are taken from anybody; port 0 picks a free one: see `Udp.address`. */
  readonly listen: UdpAddress;
  /** Where packets go: a host, or with `broadcast` everybody on a network. */
  readonly forward: UdpAddress;
  /** Whether `forward` may be a broadcast address. */
  readonly broadcast: boolean;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number;
  /** Bytes of the access code that each packet carries beside what fits. Default none. */
  readonly codeSize?: number;
}

export interface UdpParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly network?: Network;
}

/** Packets as they are in datagrams, one in each, to one address and from anybody: the reference's UDPInterface. */
export class Udp implements Interface {
  readonly name: string;
  readonly mtu = udpMtu;
  readonly shared = true;
  readonly bitrate: number;
  readonly #options: UdpOptions;
  readonly #parts: UdpParts & { readonly network: Network };
  #open: { readonly socket: Datagrams; readonly forward: string } | undefined;
  /** Ends the run: the medium is lost. */
  #lost: ((error: GatewayError) => void) | undefined;
  #own: { readonly addresses: ReadonlySet<string>; readonly until: number } | undefined;

  constructor(options: UdpOptions, parts: UdpParts) {
    this.name = options.name;
    this.bitrate = options.bitrate ?? udpBitrate;
    this.#options = options;
    this.#parts = { ...parts, network: parts.network ?? systemNetwork };
  }

  /** Where it listens, while it does. */
  get address(): UdpAddress | undefined {
    return this.#open && { host: this.#open.socket.address, port: this.#open.socket.port };
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const { listen, forward, broadcast } = this.#options;
    const { network, counters } = this.#parts;
    const intake = new Intake(port, counters, { used: 0, limit: intakeLimit });
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => {});
    const ended = new AbortController();
    let socket: Datagrams | undefined;
    try {
      const to = await resolve(forward.host);
      socket = await network.open({
        address: await resolve(listen.host),
        port: listen.port,
        broadcast,
        receive: (bytes, from) => this.#receive(bytes, from, intake),
        failed: lost.reject,
      });
      await network.route(to, forward.port, broadcast);
      if (signal.aborted) {
        return;
      }
      this.#open = { socket, forward: to };
      this.#lost = lost.reject;
      port.ready();
      await Promise.race([lost.promise, this.#watch(to, AbortSignal.any([signal, ended.signal]))]);
    } catch (error) {
      if (!signal.aborted) {
        throw isGatewayError(error)
          ? new GatewayError(error.code, `${this.#where()}: ${error.message}`, {
              retryable: true,
              cause: error,
            })
          : error;
      }
    } finally {
      ended.abort();
      this.#open = undefined;
      this.#lost = undefined;
      intake.close();
      await socket?.close();
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    if (this.#open === undefined) {
      throw new GatewayError('radio/offline', `${this.name} is not open`, { retryable: true });
    }
    const { socket, forward } = this.#open;
    try {
      await socket.send(packet, this.#options.forward.port, forward);
    } catch (error) {
      if (isGatewayError(error, 'radio/offline')) {
        this.#lost?.(error);
      }
      throw error;
    }
  }

  #receive(packet: Uint8Array, from: DatagramSource, intake: Intake): void {
    if (this.#options.broadcast && this.#isOwn(from)) {
      return;
    }
    if (packet.length < shortestPacket || packet.length > udpMtu + (this.#options.codeSize ?? 0)) {
      this.#parts.counters.add('wire/malformed');
      return;
    }
    intake.take(packet);
  }

  /** What is broadcast comes back to whoever listens on the same port. */
  #isOwn({ address, port }: DatagramSource): boolean {
    return port === this.#open?.socket.port && this.#ownAddresses().has(address);
  }

  #ownAddresses(): ReadonlySet<string> {
    const now = this.#parts.clock.monotonic();
    if (this.#own === undefined || now >= this.#own.until) {
      this.#own = { addresses: ownAddresses(this.#parts.network), until: now + lookInterval };
    }
    return this.#own.addresses;
  }

  /** Rejects when our address or the way is gone: a socket would not tell. Ends with the signal. */
  async #watch(to: string, signal: AbortSignal): Promise<void> {
    const { clock, network } = this.#parts;
    const { forward, broadcast } = this.#options;
    const here = this.#open?.socket.address ?? '';
    const fixed = here !== '0.0.0.0' && here !== '::';
    for (;;) {
      await clock.sleep(lookInterval, signal);
      if (fixed && !ownAddresses(network).has(here)) {
        throw new GatewayError('radio/offline', `this machine does not have the address ${here} any more`, {
          retryable: true,
        });
      }
      await network.route(to, forward.port, broadcast);
    }
  }

  #where(): string {
    const { listen, forward } = this.#options;
    return `${listen.host}:${listen.port} to ${forward.host}:${forward.port}`;
  }
}

function ownAddresses(network: Network): ReadonlySet<string> {
  return new Set(
    Object.values(network.adapters())
      .flat()
      .map(one => one?.address ?? ''),
  );
}

/** The address of a host name; `radio/offline` where there is none. */
async function resolve(host: string): Promise<string> {
  if (isIP(host) !== 0) {
    return host;
  }
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    throw new GatewayError('radio/offline', `${host}: ${inWords(cause as Error)}`, {
      retryable: true,
      cause,
    });
  }
}
