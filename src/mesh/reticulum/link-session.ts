import { equal, toHex } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import { Alarm } from './alarm.ts';
import type { ProofStrategy } from './destination.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { type Identity, PublicIdentity } from './identity.ts';
import {
  type LinkCloseReason,
  type LinkEffect,
  type LinkInput,
  type LinkRole,
  type LinkState,
  stepLink,
  trafficTimeout,
  wakeAt,
} from './link.ts';
import { type LinkAgreement, LinkLine, type Told } from './link-line.ts';
import type { LinkPort } from './link-port.ts';
import {
  decodeIdentification,
  decodePacketProof,
  decodeRtt,
  encodeIdentification,
  encodePacketProof,
  encodeRtt,
  identificationSigned,
  keepaliveAnswer,
  keepaliveQuestion,
} from './link-wire.ts';
import type { LinkParts } from './links.ts';
import { contexts, type Packet, truncatedHash } from './packet.ts';
import { type ReceiptOutcome, Receipts } from './receipts.ts';
import { type RequestHandlers, type RequestOptions, Requests, type Response } from './request.ts';
import { IncomingResources } from './resource-incoming.ts';
import type { OfferDecision, ResourceOffer } from './resource-offer.ts';
import { OutgoingResources, type ResourceOptions } from './resource-outgoing.ts';

/** What came over a link in one packet. */
export interface LinkPacket {
  /** The receiver's to keep. */
  readonly data: Uint8Array;
  /** 32 B. */
  readonly packetHash: Uint8Array;
  /** Sends the proof that lets the sender know it arrived: call it when the data is safe. Again does it again. */
  prove(): void;
}

/** Who hears of what happens on a link. None of these must throw; they are called within the receiving of a packet. */
export interface LinkEvents {
  onPacket?(packet: LinkPacket, link: Link): void;
  /** The initiator has said who it is. */
  onIdentified?(identity: PublicIdentity, link: Link): void;
  /** The other end would like to send a Resource, nothing of which is here yet. Without this all are rejected. */
  onResourceOffer?(offer: ResourceOffer, link: Link): OfferDecision;
  onClosed?(reason: LinkCloseReason, link: Link): void;
}

export interface SendOptions {
  /** ms to wait for the proof; by default six round trips, at least one second. */
  readonly timeout?: number;
  /** What became of it, told exactly once, before the promise is settled. Must not throw. */
  readonly onReceipt?: (outcome: ReceiptOutcome) => void;
}

/** What a link is made with, once its keys are agreed. */
export interface LinkSetup extends LinkAgreement {
  readonly id: Uint8Array;
  readonly destinationHash: Uint8Array;
  readonly state: LinkState;
  readonly role: LinkRole;
  readonly hops: number;
  readonly sign: (message: Uint8Array) => Uint8Array;
  /** Whether the other end signed a message on this link. */
  readonly verify: (signature: Uint8Array, message: Uint8Array) => boolean;
  readonly remote: PublicIdentity | undefined;
  readonly proofStrategy: ProofStrategy;
  readonly events: LinkEvents;
  readonly handlers: RequestHandlers | undefined;
  readonly maxRequestSize: number | undefined;
}

/** Packets remembered, so that one that is repeated is proven again. */
const packetsRemembered = 256;

/**
 * A Link: an encrypted channel to a destination, or from an initiator whom we do not know until it
 * identifies. What happens to it and when is link.ts; this carries that out, and opens and hands on
 * what comes in.
 */
export class Link {
  /** 16 B. */
  readonly id: Uint8Array;
  /** The same as hex. */
  readonly key: string;
  /** 16 B: whose destination it is, ours or theirs. */
  readonly destinationHash: Uint8Array;
  readonly role: LinkRole;
  /** Who hears of it; may be replaced. */
  events: LinkEvents;
  readonly #parts: LinkParts;
  readonly #setup: LinkSetup;
  readonly #line: LinkLine;
  readonly #alarm: Alarm;
  readonly #receipts: Receipts;
  readonly #requests: Requests;
  readonly #outgoing: OutgoingResources;
  readonly #incoming: IncomingResources;
  /** Whether each packet that came lately was proven, by hash. */
  readonly #heard = new Map<string, boolean>();
  #state: LinkState;
  #lastRtt = 0;
  #hops: number;
  #remote: PublicIdentity | undefined;
  readonly #established: (link: Link) => void;
  readonly #closed: (link: Link, reason: LinkCloseReason) => void;

  constructor(
    setup: LinkSetup,
    parts: LinkParts,
    established: (link: Link) => void,
    closed: (link: Link, reason: LinkCloseReason) => void,
  ) {
    this.id = setup.id;
    this.key = toHex(setup.id);
    this.destinationHash = setup.destinationHash;
    this.role = setup.role;
    this.events = setup.events;
    this.#parts = parts;
    this.#setup = setup;
    this.#state = setup.state;
    this.#hops = setup.hops;
    this.#remote = setup.remote;
    this.#established = established;
    this.#closed = closed;
    this.#line = new LinkLine(setup.id, setup, parts);
    this.#alarm = new Alarm(parts.clock, () => this.#step({ on: 'time' }));
    this.#receipts = new Receipts(parts.clock);
    const port = this.#port();
    this.#outgoing = new OutgoingResources(port, parts.compressor);
    this.#incoming = new IncomingResources(port, parts.compressor, parts.budget, (offer, advertisement) => {
      if (advertisement.flags.request && offer.requestId) {
        return this.#requests.offerRequest(offer);
      }
      if (advertisement.flags.response && offer.requestId) {
        return this.#requests.offerResponse(offer);
      }
      return this.events.onResourceOffer?.(offer, this) ?? 'reject';
    });
    this.#requests = new Requests(port, this.#outgoing, setup.handlers, setup.maxRequestSize);
    this.#alarm.at(wakeAt(this.#state));
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Whether packets can be sent and are expected. */
  get usable(): boolean {
    return this.#state.at === 'active' || this.#state.at === 'stale';
  }

  /** ms */
  get rtt(): number {
    return this.#lastRtt;
  }

  /** Bytes of the largest packet. */
  get mtu(): number {
    return this.#line.mtu;
  }

  /** Bytes that `send` takes at most. */
  get mdu(): number {
    return this.#line.mdu;
  }

  get hops(): number {
    return this.#hops;
  }

  get interfaceName(): string {
    return this.#line.iface.name;
  }

  get iface(): InterfaceHandle {
    return this.#line.iface;
  }

  /** Whose destination it is, or who the initiator said it is. */
  get remote(): PublicIdentity | undefined {
    return this.#remote;
  }

  /**
   * Sends data in one packet; resolves with the ms it took to be proven. Rejects with `mesh/timeout`,
   * `mesh/link-closed`, `mesh/too-large`, or `radio/offline` where the medium did not take it. Whoever
   * is not interested may leave the promise alone.
   */
  send(data: Uint8Array, options: SendOptions = {}): Promise<number> {
    const proven = new Promise<number>((resolve, reject) => {
      this.#mustBeUsable();
      if (data.length === 0 || data.length > this.#line.mdu) {
        throw new GatewayError(
          'mesh/too-large',
          `${data.length} bytes, a packet of this link carries 1 to ${this.#line.mdu}`,
        );
      }
      const conclude = (outcome: ReceiptOutcome) => {
        options.onReceipt?.(outcome);
        if (outcome.at === 'delivered') {
          resolve(outcome.rtt);
        } else {
          reject(new GatewayError(outcome.code, 'a packet on a link was not proven', { retryable: true }));
        }
      };
      this.#send('data', contexts.none, this.#line.seal(data), {
        before: hash => {
          this.#receipts.add({
            hash,
            timeout: options.timeout ?? trafficTimeout(this.#lastRtt),
            verify: signature => this.#setup.verify(signature, hash),
            conclude,
          });
        },
        refused: hash => {
          if (this.#receipts.withdraw(hash)) {
            conclude({ at: 'failed', code: 'radio/offline' });
          }
        },
      });
    });
    proven.catch(() => {});
    return proven;
  }

  /** Tells the destination who we are; only initiators can. Throws `mesh/link-closed`, `mesh/rejected` on a responder's link. */
  identify(identity: Identity): void {
    this.#mustBeUsable();
    if (this.role !== 'initiator') {
      throw new GatewayError('mesh/rejected', 'only the initiator of a link can identify on it');
    }
    const signature = identity.sign(identificationSigned(this.id, identity.publicKey));
    this.#sendSealed(
      contexts.linkIdentify,
      encodeIdentification({ publicKey: identity.publicKey, signature }),
    );
  }

  /** See `Requests.request`. */
  async request(path: string, data: MsgpackValue = null, options: RequestOptions = {}): Promise<Response> {
    this.#mustBeUsable();
    return this.#requests.request(path, data, options);
  }

  /** Sends data of any size; see `OutgoingResources.send`. */
  async sendResource(data: Uint8Array, options: ResourceOptions = {}): Promise<void> {
    this.#mustBeUsable();
    return this.#outgoing.send(data, options);
  }

  /** Closes it, telling the other end. */
  close(): void {
    this.#step({ on: 'close' });
  }

  /** The interface it ran over is gone. */
  lost(): void {
    this.#step({ on: 'lost' });
  }

  /** An initiator's link is proven: what it now knows. The signature was checked. */
  proven(agreed: LinkAgreement & { readonly hops: number }): void {
    this.#line.agree(agreed);
    this.#hops = agreed.hops;
    this.#step({ on: 'proof' });
  }

  /** A packet addressed to this link came over its interface. Throws `wire/*`, `crypto/*`, `mesh/*`. */
  take(inbound: Inbound): void {
    if (this.#state.at === 'closed' || this.#state.at === 'pending') {
      throw new GatewayError('mesh/link-closed', `a packet for a link that is ${this.#state.at}`);
    }
    const { packet } = inbound;
    if (packet.packetType === 'proof') {
      this.#takeProof(packet);
    } else if (packet.packetType === 'data') {
      this.#takeData(packet, inbound.hash);
    } else {
      throw new GatewayError('wire/malformed', `a ${packet.packetType} addressed to a link`);
    }
  }

  /** A data packet of this hash (32 B) came once more: one that was proven is proven again. */
  repeated(hash: Uint8Array): void {
    if (this.usable && this.#heard.get(toHex(hash)) === true) {
      this.#parts.counters.add('link/proven-again');
      this.#prove(hash);
    }
  }

  #takeProof(packet: Packet): void {
    if (packet.context === contexts.resourceProof) {
      this.#step({ on: 'inbound', authentic: false });
      this.#outgoing.proof(packet.data);
      return;
    }
    const { packetHash: proven } = decodePacketProof(packet.data);
    this.#step({ on: 'inbound', authentic: false });
    const result = this.#receipts.prove(truncatedHash(proven), packet.data);
    if (result === 'invalid') {
      throw new GatewayError('crypto/bad-signature', 'a proof on a link not signed by its other end');
    }
    if (result === 'unknown') {
      this.#parts.counters.add('link/proof-of-none');
    }
  }

  #takeData(packet: Packet, hash: Uint8Array): void {
    const { context, data } = packet;
    switch (context) {
      case contexts.keepalive:
        this.#takeKeepalive(data);
        return;
      case contexts.resource:
        this.#step({ on: 'inbound', authentic: false });
        this.#incoming.part(data);
        return;
      case contexts.cacheRequest:
        this.#step({ on: 'inbound', authentic: false });
        this.#incoming.asked(data);
        return;
    }
    const body = this.#line.open(data);
    if (context === contexts.linkRtt) {
      this.#step({ on: 'rtt', rtt: decodeRtt(body) });
      return;
    }
    if (context === contexts.linkClose) {
      if (!equal(body, this.id)) {
        throw new GatewayError('wire/malformed', 'a link close for another link');
      }
      this.#step({ on: 'closed' });
      return;
    }
    this.#step({ on: 'inbound', authentic: true });
    this.#takeBody(context, body, hash);
  }

  #takeKeepalive(data: Uint8Array): void {
    if (this.role === 'responder' && data[0] === keepaliveQuestion) {
      this.#step({ on: 'question' });
    } else if (this.role === 'initiator' && data[0] === keepaliveAnswer) {
      this.#step({ on: 'inbound', authentic: false });
    }
  }

  #takeBody(context: number, body: Uint8Array, hash: Uint8Array): void {
    switch (context) {
      case contexts.none:
        this.#takePacket(body, hash);
        break;
      case contexts.linkIdentify:
        this.#takeIdentification(body);
        break;
      case contexts.request:
        this.#requests.requestPacket(body, hash);
        break;
      case contexts.response:
        this.#requests.responsePacket(body);
        break;
      case contexts.resourceAdvertisement:
        this.#incoming.advertised(body);
        break;
      case contexts.resourceRequest:
        this.#outgoing.partRequest(body, hash);
        break;
      case contexts.resourceHashmapUpdate:
        this.#incoming.hashmapUpdate(body);
        break;
      case contexts.resourceInitiatorCancel:
        this.#incoming.cancelled(body);
        break;
      case contexts.resourceReceiverCancel:
        this.#outgoing.rejected(body);
        break;
      default:
        this.#parts.counters.add('link/unknown-context');
    }
  }

  #takePacket(data: Uint8Array, hash: Uint8Array): void {
    const key = toHex(hash);
    this.#heard.set(key, false);
    if (this.#heard.size > packetsRemembered) {
      this.#heard.delete(this.#heard.keys().next().value!);
    }
    const prove = () => {
      if (this.#heard.has(key)) {
        this.#heard.set(key, true);
      }
      this.#prove(hash);
    };
    if (this.#setup.proofStrategy === 'all') {
      prove();
    }
    this.#guard(() => this.events.onPacket?.({ data, packetHash: hash, prove }, this));
  }

  #takeIdentification(body: Uint8Array): void {
    const { publicKey, signature } = decodeIdentification(body);
    if (this.role !== 'responder') {
      return;
    }
    const identity = new PublicIdentity(publicKey);
    if (!identity.verify(signature, identificationSigned(this.id, publicKey))) {
      throw new GatewayError(
        'crypto/bad-signature',
        'an identification on a link that is not signed by its identity',
      );
    }
    if (this.#remote === undefined) {
      this.#remote = identity;
      this.#guard(() => this.events.onIdentified?.(identity, this));
    }
  }

  #prove(hash: Uint8Array): void {
    this.#sendClear(
      'proof',
      contexts.none,
      encodePacketProof({ packetHash: hash, signature: this.#setup.sign(hash) }),
    );
  }

  #step(input: LinkInput): void {
    const [state, effects] = stepLink(this.#state, input, this.#parts.clock.monotonic());
    this.#state = state;
    if ('rtt' in state) {
      this.#lastRtt = state.rtt;
    }
    for (const effect of effects) {
      this.#carryOut(effect);
    }
  }

  #carryOut(effect: LinkEffect): void {
    switch (effect.do) {
      case 'send-rtt':
        this.#send('data', contexts.linkRtt, this.#line.seal(encodeRtt(effect.rtt)));
        break;
      case 'send-keepalive':
        this.#send(
          'data',
          contexts.keepalive,
          Uint8Array.of(effect.as === 'question' ? keepaliveQuestion : keepaliveAnswer),
        );
        break;
      case 'send-close':
        this.#send('data', contexts.linkClose, this.#line.seal(this.id));
        break;
      case 'established':
        this.#guard(() => this.#established(this));
        break;
      case 'closed':
        this.#end(effect.reason);
        break;
      case 'wake':
        this.#alarm.at(effect.at);
        break;
    }
  }

  #end(reason: LinkCloseReason): void {
    this.#alarm.stop();
    this.#closed(this, reason);
    this.#receipts.close();
    this.#outgoing.lost();
    this.#incoming.lost();
    this.#requests.lost();
    this.#line.end();
    this.#heard.clear();
    this.#guard(() => this.events.onClosed?.(reason, this));
  }

  #sendSealed(context: number, body: Uint8Array, before?: (hash: Uint8Array) => void): void {
    if (this.usable) {
      this.#send('data', context, this.#line.seal(body), before && { before });
    }
  }

  #sendClear(as: 'data' | 'proof', context: number, data: Uint8Array): void {
    if (this.#state.at !== 'closed') {
      this.#send(as, context, data);
    }
  }

  #send(as: 'data' | 'proof', context: number, data: Uint8Array, told?: Told): void {
    if (this.#state.at !== 'closed') {
      this.#step({ on: 'outbound' });
    }
    this.#line.send(as, context, data, told);
  }

  #mustBeUsable(): void {
    if (!this.usable) {
      throw new GatewayError('mesh/link-closed', `the link is ${this.#state.at}`, { retryable: true });
    }
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#parts.counters.add('link/callback-failed');
      if (!isGatewayError(error)) {
        this.#parts.log.error({ error, link: this.key.slice(0, 8) }, 'a callback of a link failed');
      }
    }
  }

  #port(): LinkPort {
    const link = this;
    const { clock, random, log, counters } = this.#parts;
    return {
      id: this.id,
      get mtu() {
        return link.#line.mtu;
      },
      get mdu() {
        return link.#line.mdu;
      },
      get rtt() {
        return link.#lastRtt;
      },
      get establishmentRate() {
        return (link.#line.cost * 8 * 1000) / Math.max(link.#lastRtt, 0.1);
      },
      get usable() {
        return link.usable;
      },
      get remote() {
        return link.#remote;
      },
      clock,
      random,
      log,
      counters,
      seal: plaintext => link.#line.seal(plaintext),
      open: token => link.#line.open(token),
      sendSealed: (context, body, before) => link.#sendSealed(context, body, before),
      sendClear: (as, context, data) => link.#sendClear(as, context, data),
    };
  }
}
