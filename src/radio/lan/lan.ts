import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import { type Log, silentLog } from '../../lib/log.ts';
import type { Interface, InterfacePort } from '../../mesh/interface.ts';
import { type Network, systemNetwork } from '../network.ts';
import type { OpenAdapter } from './adapter.ts';
import { type AdapterWish, isLinkLocal } from './adapters.ts';
import { decodeToken, type Group, isTokenOf, multicastAddress } from './group.ts';
import { lanBitrate, lanMtu } from './peer.ts';
import { Peers } from './peers.ts';
import { type AdapterView, Reach } from './reach.ts';
import { Repeats } from './repeats.ts';

/** ms between two announcements of ourselves to the group, and two looks at the adapters. */
const announceInterval = 1600;
/** Bytes of the shortest packet there is. */
const shortestPacket = 20;

export interface LanOptions extends AdapterWish {
  readonly name: string;
  readonly group: Group;
  /** UDP port of discovery; the one above it is used as well. */
  readonly discoveryPort: number;
  /** UDP port of the packets themselves. */
  readonly dataPort: number;
  /** Peers at once; one more takes the place of one that never sent a packet, or is passed over and counted. */
  readonly maxPeers: number;
  /** bit/s, where the network is known to be slower or faster than guessed. */
  readonly bitrate?: number;
  /** Bytes of the access code that each packet carries beside what fits. Default none. */
  readonly codeSize?: number;
}

export interface LanParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log?: Log;
  readonly network?: Network;
}

/** What a LAN sees now. */
export interface LanView {
  readonly multicast: string;
  readonly adapters: readonly AdapterView[];
  /** `heard` is ms ago; `spoke` says whether a packet ever came from it. */
  readonly peers: readonly { readonly name: string; readonly heard: number; readonly spoke: boolean }[];
}

/**
 * Finds the other nodes on the networks that this machine is on, without configuration, and is found by
 * them: the reference's AutoInterface. Each node found is an interface of its own; packets go to it alone,
 * one in a datagram.
 *
 *     every 1.6 s   look at the adapters; announce the token to the group on each
 *     token heard   its sender is a peer, and is told at once that we are here; our own is an echo
 *     it answers    it knows us too, and takes what we send: the peer is up
 *     22 s silence  the peer is gone
 *
 * Adapters may come and go. Where none is left `run` rejects, and is to be run again.
 *
 * Source: RNS 1.5.7, AutoInterface; checked against it and 1.4.2 in network namespaces (test/interop/lan.test.ts).
 */
export class Lan implements Interface {
  readonly name: string;
  readonly mtu = lanMtu;
  readonly bitrate: number;
  readonly listens = true;
  readonly #options: LanOptions;
  readonly #parts: LanParts & { readonly log: Log; readonly network: Network };
  #session: LanSession | undefined;

  constructor(options: LanOptions, parts: LanParts) {
    this.name = options.name;
    this.bitrate = options.bitrate ?? lanBitrate;
    this.#options = options;
    this.#parts = { ...parts, log: parts.log ?? silentLog, network: parts.network ?? systemNetwork };
  }

  /** Adapters and peers; undefined while it does not run. */
  get view(): LanView | undefined {
    return this.#session?.view();
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const session = new LanSession(this.#options, this.#parts, port);
    this.#session = session;
    try {
      await session.look();
      port.ready();
      while (!signal.aborted) {
        session.announce();
        await this.#parts.clock.sleep(announceInterval, signal);
        await session.look();
      }
    } catch (error) {
      if (!signal.aborted) {
        session.lose(error);
        throw error;
      }
    } finally {
      this.#session = undefined;
      await session.close();
    }
  }

  /** Nothing is sent to all at once: what it found is attached and sends for itself. */
  async send(): Promise<void> {
    throw new GatewayError('radio/offline', `${this.name} only finds peers`);
  }
}

/** One run of a LAN: the adapters it has open and the peers it has found. */
class LanSession {
  readonly #options: LanOptions;
  readonly #parts: LanParts & { readonly log: Log; readonly network: Network };
  readonly #reach: Reach;
  readonly #peers: Peers;
  readonly #repeats = new Repeats();

  constructor(
    options: LanOptions,
    parts: LanParts & { readonly log: Log; readonly network: Network },
    port: InterfacePort,
  ) {
    this.#options = options;
    this.#parts = parts;
    const { counters } = parts;
    this.#reach = new Reach(options, parts, {
      onDiscovery: (adapter, datagram, from, alone) => this.#discovered(adapter, datagram, from, alone),
      onPacket: (adapter, packet, from) => this.#received(adapter, packet, from),
      onLost: (adapter, reason) => this.#peers.loseBy(adapter, reason),
    });
    this.#peers = new Peers({
      name: options.name,
      bitrate: options.bitrate ?? lanBitrate,
      limit: options.maxPeers,
      counters,
      attach: peer => port.attach(peer),
    });
  }

  /** Sees to adapters and peers that came or went. Rejects with `radio/offline` where no adapter is left. */
  async look(): Promise<void> {
    const now = this.#parts.clock.monotonic();
    await this.#reach.look(now);
    for (const { adapter, address } of this.#peers.look(now)) {
      this.#tell(adapter, address);
    }
  }

  /** Says to the group that we are here. What an adapter refuses is counted; the next look tells why. */
  announce(): void {
    for (const adapter of this.#reach.open()) {
      this.#count(adapter.announce());
    }
  }

  /** All peers are gone, for this reason. */
  lose(error: unknown): void {
    this.#peers.lose(isGatewayError(error) ? error.message : 'stopped by a mistake of this program');
  }

  close(): Promise<void> {
    return this.#reach.close();
  }

  view(): LanView {
    return {
      multicast: multicastAddress(this.#options.group),
      adapters: this.#reach.view(),
      peers: this.#peers.view(this.#parts.clock.monotonic()),
    };
  }

  #discovered(adapter: OpenAdapter, datagram: Uint8Array, from: string, alone: boolean): void {
    const { clock, counters, log } = this.#parts;
    if (!isLinkLocal(from)) {
      counters.add('radio/not-link-local');
      return;
    }
    try {
      if (!isTokenOf(decodeToken(datagram), this.#options.group.name, from)) {
        counters.add('radio/wrong-token');
        return;
      }
    } catch (error) {
      counters.add(codeOf(error));
      return;
    }
    const now = clock.monotonic();
    if (this.#reach.isOwn(from)) {
      this.#reach.heardEcho(from, now);
    } else if (this.#peers.heard(adapter, from, alone, now) === 'new') {
      log.debug({ interface: this.#options.name, adapter: adapter.place.adapter, peer: from }, 'peer found');
      this.#tell(adapter, from);
    }
  }

  #received(adapter: OpenAdapter, packet: Uint8Array, from: string): void {
    const { clock, counters } = this.#parts;
    const peer = this.#peers.get(adapter, from);
    if (peer === undefined) {
      counters.add('radio/unknown-peer');
      return;
    }
    if (packet.length < shortestPacket || packet.length > lanMtu + (this.#options.codeSize ?? 0)) {
      counters.add('wire/malformed');
      return;
    }
    const now = clock.monotonic();
    this.#peers.spoke(adapter, from, now);
    if (this.#peers.size > 1 && this.#repeats.isRepeat(packet, peer.name, now)) {
      counters.add('radio/heard-twice');
      return;
    }
    peer.take(packet);
  }

  #tell(adapter: OpenAdapter, address: string): void {
    this.#count(adapter.tell(address));
  }

  #count(sending: Promise<void>): void {
    sending.catch(error => this.#parts.counters.add(codeOf(error)));
  }
}
