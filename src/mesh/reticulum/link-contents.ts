import { Channel } from './channel.ts';
import type { IncomingBudget } from './incoming-budget.ts';
import { LinkPackets, type LinkPacketsParts } from './link-packets.ts';
import type { Compressor, LinkPort } from './link-port.ts';
import { decodePacketProof } from './link-wire.ts';
import { contexts, type Packet } from './packet.ts';
import { type RequestHandlers, Requests } from './request.ts';
import { IncomingResources } from './resource-incoming.ts';
import type { OfferDecision, ResourceOffer } from './resource-offer.ts';
import { OutgoingResources } from './resource-outgoing.ts';
import type { ResourceAdvertisement } from './resource-wire.ts';

export interface LinkContentsParts extends LinkPacketsParts {
  readonly compressor: Compressor | undefined;
  readonly budget: IncomingBudget;
  readonly handlers: RequestHandlers | undefined;
  readonly maxRequestSize: number | undefined;
  /** A Resource that is neither request nor response. Must not throw. */
  readonly onResourceOffer: (offer: ResourceOffer) => OfferDecision;
}

/** What one link carries: packets, requests, Resources and a Channel, both ways. What comes in is given to its owner by its context. */
export class LinkContents {
  readonly packets: LinkPackets;
  readonly requests: Requests;
  readonly outgoing: OutgoingResources;
  readonly #port: LinkPort;
  readonly #parts: LinkContentsParts;
  readonly #incoming: IncomingResources;
  #channel: Channel | undefined;

  constructor(port: LinkPort, parts: LinkContentsParts) {
    const { compressor, budget, handlers, maxRequestSize } = parts;
    this.#port = port;
    this.#parts = parts;
    this.packets = new LinkPackets(port, parts);
    this.outgoing = new OutgoingResources(port, compressor);
    this.requests = new Requests(port, this.outgoing, handlers, maxRequestSize);
    this.#incoming = new IncomingResources(port, compressor, budget, (offer, advertisement) =>
      this.#decide(offer, advertisement),
    );
  }

  /** Opened when it is first asked for: until then its messages are neither taken nor proven. */
  get channel(): Channel {
    this.#channel ??= new Channel(this.#port, this.#parts);
    return this.#channel;
  }

  /** A proof, as it travels. Throws `wire/*`, `crypto/bad-signature`. */
  proof({ context, data }: Packet): void {
    if (context === contexts.resourceProof) {
      this.outgoing.proof(data);
    } else if (this.#channel?.awaits(decodePacketProof(data)) === true) {
      this.#channel.proof(data);
    } else {
      this.packets.proof(data);
    }
  }

  /** The data of a packet that is not sealed by itself. */
  clear(context: typeof contexts.resource | typeof contexts.cacheRequest, data: Uint8Array): void {
    if (context === contexts.resource) {
      this.#incoming.part(data);
    } else {
      this.#incoming.asked(data);
    }
  }

  /** What a sealed packet held. `hash`: of the packet, 32 B. Throws `wire/*`, `mesh/too-large`. */
  take(context: number, body: Uint8Array, hash: Uint8Array): void {
    switch (context) {
      case contexts.none:
        this.packets.take(body, hash);
        break;
      case contexts.request:
        this.requests.requestPacket(body, hash);
        break;
      case contexts.response:
        this.requests.responsePacket(body);
        break;
      case contexts.resourceAdvertisement:
        this.#incoming.advertised(body);
        break;
      case contexts.resourceRequest:
        this.outgoing.partRequest(body, hash);
        break;
      case contexts.resourceHashmapUpdate:
        this.#incoming.hashmapUpdate(body);
        break;
      case contexts.resourceInitiatorCancel:
        this.#incoming.cancelled(body);
        break;
      case contexts.resourceReceiverCancel:
        this.outgoing.rejected(body);
        break;
      case contexts.channel:
        if (this.#channel === undefined) {
          this.#port.counters.add('channel/not-open');
        } else {
          this.#channel.packet(body, hash);
        }
        break;
      default:
        this.#port.counters.add('link/unknown-context');
    }
  }

  /** The link is closed. */
  lost(): void {
    this.packets.lost();
    this.#channel?.lost();
    this.outgoing.lost();
    this.#incoming.lost();
    this.requests.lost();
  }

  #decide(offer: ResourceOffer, { flags }: ResourceAdvertisement): OfferDecision {
    if (flags.request && offer.requestId) {
      return this.requests.offerRequest(offer);
    }
    if (flags.response && offer.requestId) {
      return this.requests.offerResponse(offer);
    }
    return this.#parts.onResourceOffer(offer);
  }
}
