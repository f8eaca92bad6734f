import { equal, toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { LocalDestination } from '../reticulum/destination.ts';
import type { Identity } from '../reticulum/identity.ts';
import type { Link } from '../reticulum/link-session.ts';
import type { Links } from '../reticulum/links.ts';
import { hashLength } from '../reticulum/packet.ts';
import type { TableSizes } from '../reticulum/table-sizes.ts';
import type { Transport } from '../reticulum/transport.ts';
import { deliveryAspects } from './announce.ts';
import { withDestination } from './message.ts';
import { deliveryHash, type PeerLinkEvents, PeerLinks } from './peer-links.ts';
import { type OnMessage, Receiver } from './receiver.ts';
import { Sender, type SendOptions } from './sender.ts';

export interface LxmfRouterParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Transport;
  readonly links: Links;
  /** Bytes of the largest message taken over a link. Default 8 MiB. */
  readonly receiveLimit?: number;
}

/** ms a Resource's sender waits for its proof. Source: RNS 1.5.7, as its sender does. */
const resourcePatience = 40_000;
const defaultReceiveLimit = 8 * 1024 * 1024;

/** A delivery destination of ours. */
export interface DeliveryDestinationOptions {
  readonly identity: Identity;
  /** What it announces. */
  readonly appData: () => Uint8Array;
  readonly onMessage: OnMessage;
}

/**
 * Sends and receives LXMF messages for delivery destinations of ours, over Transport and Links. Nothing
 * ticks: it moves when a packet, a proof, an announce or a time-out comes.
 */
export class LxmfRouter {
  readonly #parts: LxmfRouterParts;
  readonly #receiver: Receiver;
  readonly #peerLinks: PeerLinks;
  readonly #sender: Sender;
  readonly #served = new Map<string, LocalDestination>();
  readonly #onMessage = new WeakMap<LocalDestination, OnMessage>();
  readonly #stop: Cancel;

  constructor(parts: LxmfRouterParts) {
    const { clock, log, counters, transport, links } = parts;
    this.#parts = parts;
    this.#receiver = new Receiver({
      clock,
      log,
      counters,
      recall: source =>
        this.#served.get(toHex(source))?.identity?.public ?? transport.recall(source)?.identity,
      search: (source, interfaceName) => {
        const insist = transport.path(source) !== undefined;
        // Anybody can name anybody as the author of what they write.
        transport.requestPath(source, { insist, askedOver: interfaceName }).catch(() => {});
      },
    });
    this.#peerLinks = new PeerLinks({ clock, counters, links, events: local => this.#events(local) });
    this.#sender = new Sender({ clock, counters, transport, peerLinks: this.#peerLinks });
    this.#stop = transport.onAnnounce(({ destinationHash, identity, pathResponse }) => {
      this.#receiver.learnt(destinationHash, identity);
      if (!pathResponse) {
        this.#sender.announced(destinationHash);
      }
    });
  }

  /** Messages whose sender's announce is waited for. */
  get held(): number {
    return this.#receiver.held;
  }

  /** How full its tables are. */
  sizes(): TableSizes {
    return {
      'lxmf-served': this.#served.size,
      ...this.#receiver.sizes(),
      ...this.#peerLinks.sizes(),
      ...this.#sender.sizes(),
    };
  }

  /** A delivery destination, ready to be served. */
  destination(options: DeliveryDestinationOptions): LocalDestination {
    const { identity, appData, onMessage } = options;
    const local: LocalDestination = new LocalDestination({
      ...deliveryAspects,
      identity,
      appData,
      proofStrategy: 'app',
      ratchets: true,
      onPacket: ({ data, hops, interfaceName, quality, prove }) =>
        this.#receiver.receive({
          to: local.hash,
          packed: withDestination(local.hash, data),
          method: 'opportunistic',
          hops,
          interfaceName,
          quality,
          patience: Number.POSITIVE_INFINITY,
          prove,
        }),
    });
    this.#onMessage.set(local, onMessage);
    return local;
  }

  /** Takes messages and links for a destination made here. Throws `config/invalid` where its hash is served already. */
  serve(local: LocalDestination): void {
    this.#parts.transport.register(local);
    this.#served.set(local.key, local);
    this.#receiver.serve(local.hash, this.#onMessage.get(local)!);
    this.#parts.links.accept(local, { onLink: () => this.#peerLinks.accepted(local) });
  }

  /** Takes nothing more for it, and closes the links it opened. */
  withdraw(local: LocalDestination): void {
    this.#parts.links.refuse(local);
    this.#parts.transport.deregister(local);
    this.#served.delete(local.key);
    this.#receiver.withdraw(local.hash);
    this.#peerLinks.close(local);
  }

  /** Forgets what is held and stops listening. */
  close(): void {
    this.#stop();
    this.#receiver.close();
  }

  /**
   * Sends a packed message (see `encodeMessage`) from the destination of ours that it names; resolves
   * when the peer has proven it. Rejects, all but the last two retryable, with `mesh/no-path`,
   * `mesh/timeout`, `mesh/link-closed`, `radio/offline`, `store/full`, `mesh/rejected`, `mesh/too-large`
   * or the signal's reason. A peer that demands stamps proves a message without one and drops it all
   * the same: that cannot be told from here.
   */
  async send(packed: Uint8Array, options: SendOptions): Promise<'delivered'> {
    const local = this.#served.get(toHex(packed.subarray(hashLength, 2 * hashLength)));
    if (local === undefined) {
      throw new GatewayError('mesh/rejected', 'a message from a destination that is not served here');
    }
    return this.#sender.send(packed, local, options);
  }

  #events(local: LocalDestination): PeerLinkEvents {
    const limit = this.#parts.receiveLimit ?? defaultReceiveLimit;
    const arrival = (link: Link, packed: Uint8Array) => ({
      to: local.hash,
      packed,
      method: 'direct' as const,
      hops: link.hops,
      interfaceName: link.iface.name,
      quality: undefined,
      remote: remoteOf(link),
    });
    return {
      onPacket: ({ data, prove, prepare }, link) =>
        this.#receiver.receive({
          ...arrival(link, data),
          patience: Number.POSITIVE_INFINITY,
          prove,
          prepare,
        }),
      onResourceOffer: (offer, link) => {
        if (offer.size > limit) {
          this.#parts.counters.add('mesh/too-large');
          return 'reject';
        }
        return {
          onResource: ({ data, prove, reject, drop }) =>
            this.#receiver.receive({
              ...arrival(link, data),
              patience: resourcePatience,
              prove,
              refuse: reject,
              drop,
            }),
        };
      },
      onPeer: (destination, identity) => this.#receiver.learnt(destination, identity),
    };
  }
}

/** Who is at the other end, if that is known. */
function remoteOf(
  link: Link,
): { identity: NonNullable<Link['remote']>; destination: Uint8Array } | undefined {
  const identity = link.remote;
  if (identity === undefined) {
    return undefined;
  }
  const destination = deliveryHash(identity);
  const own = link.role === 'responder' || equal(destination, link.destinationHash);
  return own ? { identity, destination } : undefined;
}
