import { equal, toHex } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import type { Quality } from '../interface.ts';
import { Alarm } from './alarm.ts';
import type { Channel } from './channel.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { type Identity, PublicIdentity } from './identity.ts';
import {
  type LinkCloseReason,
  type LinkEffect,
  type LinkInput,
  type LinkRole,
  type LinkState,
  stepLink,
  wakeAt,
} from './link.ts';
import { LinkContents, type LinkContentsParts } from './link-contents.ts';
import type { HeldKeys } from './link-keys.ts';
import { type LinkAgreement, LinkLine } from './link-line.ts';
import type { LinkPacket, SendOptions } from './link-packets.ts';
import type { LinkPort, Told } from './link-port.ts';
import {
  decodeIdentification,
  decodeRtt,
  encodeIdentification,
  encodeRtt,
  identificationSigned,
  keepaliveAnswer,
  keepaliveQuestion,
} from './link-wire.ts';
import type { LinkParts } from './links.ts';
import { contexts, travelsClear } from './packet.ts';
import type { RequestOptions, Response } from './request.ts';
import type { OfferDecision, ResourceOffer } from './resource-offer.ts';
import type { ResourceOptions } from './resource-outgoing.ts';

/** Who hears of what happens on a link. None of these must throw; they are called within the receiving of a packet. */
export interface LinkEvents {
  onPacket?(packet: LinkPacket, link: Link): void;
  /** The initiator has said who it is. */
  onIdentified?(identity: PublicIdentity, link: Link): void;
  /** The other end would like to send a Resource, nothing of which is here yet. Without this all are rejected. */
  onResourceOffer?(offer: ResourceOffer, link: Link): OfferDecision;
  onClosed?(reason: LinkCloseReason, link: Link): void;
}

/** What a link is made with, once its keys are agreed. */
export interface LinkSetup
  extends LinkAgreement,
    Pick<LinkContentsParts, 'sign' | 'verify' | 'proofStrategy' | 'handlers' | 'maxRequestSize'> {
  readonly id: Uint8Array;
  readonly destinationHash: Uint8Array;
  readonly state: LinkState;
  readonly role: LinkRole;
  readonly hops: number;
  readonly remote: PublicIdentity | undefined;
  readonly events: LinkEvents;
}

/**
 * A Link: an encrypted channel to a destination, or from an initiator whom we do not know until it
 * identifies. What happens to it and when is link.ts; this carries that out, and opens what
 * comes in for its contents.
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
  /** Whether it is noted how well packets are heard. */
  tracksQuality = true;
  readonly #parts: LinkParts;
  readonly #line: LinkLine;
  readonly #alarm: Alarm;
  readonly #contents: LinkContents;
  #state: LinkState;
  #lastRtt = 0;
  #usedAt: number;
  #quality: Quality | undefined;
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
    this.#state = setup.state;
    this.#usedAt = parts.clock.monotonic();
    this.#hops = setup.hops;
    this.#remote = setup.remote;
    this.#established = established;
    this.#closed = closed;
    this.#line = new LinkLine(setup.id, setup, parts);
    this.#alarm = new Alarm(parts.clock, () => this.#step({ on: 'time' }));
    const { compressor, budget } = parts;
    const { sign, verify, proofStrategy, handlers, maxRequestSize } = setup;
    this.#contents = new LinkContents(this.#port(), {
      sign,
      verify,
      proofStrategy,
      compressor,
      budget,
      handlers,
      maxRequestSize,
      onPacket: packet => this.#guard(() => this.events.onPacket?.(packet, this)),
      onResourceOffer: offer => this.events.onResourceOffer?.(offer, this) ?? 'reject',
    });
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

  /** Reckons with another round trip from now on: somebody knows better than its first packets. */
  set rtt(rtt: number) {
    this.#lastRtt = rtt;
    if ('rtt' in this.#state) {
      this.#state = { ...this.#state, rtt };
    }
  }

  /** Monotonic ms of what was last said over it; keepalives say nothing. */
  get usedAt(): number {
    return this.#usedAt;
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

  get iface(): InterfaceHandle {
    return this.#line.iface;
  }

  /** What of its keys is there: all of them until it is closed, nothing from then on. */
  get held(): HeldKeys {
    return this.#line.held;
  }

  /** How well the last packet was heard, where its medium said so and `tracksQuality` is on. */
  get quality(): Quality | undefined {
    return this.tracksQuality ? this.#quality : undefined;
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
    const proven = new Promise<number>(resolve => {
      this.#mustBeUsable();
      resolve(this.#contents.packets.send(data, options));
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
    const body = encodeIdentification({ publicKey: identity.publicKey, signature });
    this.#send('data', contexts.linkIdentify, this.#line.seal(body));
  }

  /** See `Requests.request`. */
  async request(path: string, data: MsgpackValue = null, options: RequestOptions = {}): Promise<Response> {
    this.#mustBeUsable();
    return this.#contents.requests.request(path, data, options);
  }

  /** Sends data of any size; see `OutgoingResources.send`. */
  async sendResource(data: Uint8Array, options: ResourceOptions = {}): Promise<void> {
    this.#mustBeUsable();
    return this.#contents.outgoing.send(data, options);
  }

  /** Its Channel, opened when it is first asked for: until then the other end's messages go unproven. */
  get channel(): Channel {
    return this.#contents.channel;
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
    const { packet, quality } = inbound;
    this.#quality = quality ?? this.#quality;
    if (packet.packetType === 'proof') {
      this.#step({ on: 'inbound', authentic: false });
      this.#contents.proof(packet);
    } else if (packet.packetType === 'data') {
      this.#takeData(inbound);
    } else {
      throw new GatewayError('wire/malformed', `a ${packet.packetType} addressed to a link`);
    }
  }

  /** A data packet of this hash (32 B) came once more: one that was proven is proven again. */
  repeated(hash: Uint8Array): void {
    if (this.usable) {
      this.#contents.packets.repeated(hash);
    }
  }

  #takeData(inbound: Inbound): void {
    const { context, data } = inbound.packet;
    if (context === contexts.keepalive) {
      this.#takeKeepalive(data);
      return;
    }
    if (travelsClear(context)) {
      this.#step({ on: 'inbound', authentic: false });
      this.#contents.clear(context, data);
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
    this.#usedAt = this.#parts.clock.monotonic();
    this.#step({ on: 'inbound', authentic: true });
    if (!this.usable) {
      return;
    }
    if (context === contexts.linkIdentify) {
      this.#takeIdentification(body);
      return;
    }
    this.#contents.take(context, body, inbound.hash);
  }

  #takeKeepalive(data: Uint8Array): void {
    if (this.role === 'responder' && data[0] === keepaliveQuestion) {
      this.#step({ on: 'question' });
    } else if (this.role === 'initiator' && data[0] === keepaliveAnswer) {
      this.#step({ on: 'inbound', authentic: false });
    }
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
    if (this.#parts.blackhole?.has(identity.hash)) {
      this.#parts.counters.add('link/blackholed');
      this.close();
      return;
    }
    if (this.#remote === undefined) {
      this.#remote = identity;
      this.#guard(() => this.events.onIdentified?.(identity, this));
    }
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
        this.#sayClosed();
        break;
      case 'established':
        this.#guard(() => this.#established(this));
        break;
      case 'closed':
        this.#end(effect.reason);
        break;
      case 'wake':
        // Whoever heard that it is established may have closed it.
        if (this.#state.at !== 'closed') {
          this.#alarm.at(effect.at);
        }
        break;
    }
  }

  /** Whoever asked for it with a key that gives no secret hears nothing, and could not have read it. */
  #sayClosed(): void {
    try {
      this.#send('data', contexts.linkClose, this.#line.seal(this.id));
    } catch (error) {
      if (!isGatewayError(error, 'crypto/undecryptable')) {
        throw error;
      }
      this.#parts.counters.add(error.code);
    }
  }

  #end(reason: LinkCloseReason): void {
    this.#alarm.stop();
    this.#closed(this, reason);
    this.#contents.lost();
    this.#line.end();
    this.#guard(() => this.events.onClosed?.(reason, this));
  }

  #send(as: 'data' | 'proof', context: number, data: Uint8Array, told?: Told): void {
    if (context !== contexts.keepalive) {
      this.#usedAt = this.#parts.clock.monotonic();
    }
    this.#step({ on: 'outbound' });
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
      get backlog() {
        return link.iface.backlog ?? 0;
      },
      get source() {
        return link.iface.name;
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
      seal: (plaintext, ahead) => link.#line.seal(plaintext, ahead),
      open: token => link.#line.open(token),
      sendSealed: (context, body, told) => {
        if (link.usable) {
          link.#send('data', context, link.#line.seal(body), told);
        }
      },
      sendClear: (as, context, data) => {
        if (link.#state.at !== 'closed') {
          link.#send(as, context, data);
        }
      },
      close: () => link.close(),
    };
  }
}
