import type { KeyObject } from 'node:crypto';
import { toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Blackhole } from './blackhole.ts';
import type { LocalDestination } from './destination.ts';
import type { Inbound, LinkDispatch } from './dispatch.ts';
import type { PublicIdentity } from './identity.ts';
import type { IncomingBudget } from './incoming-budget.ts';
import { freshPair, importPublic, keyLength, sign, verify } from './keys.ts';
import { accepted, type LinkCloseReason, requested } from './link.ts';
import { LinkKeys } from './link-keys.ts';
import type { Compressor } from './link-port.ts';
import { InboundRoom, type LinkLimits, linkLimits } from './link-room.ts';
import { Link, type LinkEvents } from './link-session.ts';
import {
  decodeLinkRequest,
  decodeLinkRequestProof,
  encodeLinkRequest,
  encodeLinkRequestProof,
  type LinkRequestProof,
  linkIdOf,
  linkRequestProofSigned,
} from './link-wire.ts';
import { Listeners } from './listeners.ts';
import { isFar } from './local-hops.ts';
import { contexts, encodePacket } from './packet.ts';
import type { RequestHandlers } from './request.ts';
import type { TableSizes } from './table-sizes.ts';
import type { Transport } from './transport.ts';

export interface LinkParts {
  readonly transport: Pick<
    Transport,
    'transmit' | 'use' | 'path' | 'interfaceOf' | 'firstHopTimeout' | 'remember' | 'forget' | 'onInterface'
  >;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** Room for Resources on their way in, over all links. */
  readonly budget: IncomingBudget;
  /** Without it nothing is sent compressed, and compressed Resources are refused. */
  readonly compressor?: Compressor;
  readonly limits?: LinkLimits;
  /** Whose links are closed as soon as they say who they are. */
  readonly blackhole?: Pick<Blackhole, 'has'>;
}

/** How a destination takes links. */
export interface LinkAcceptor {
  /** A link is established; what it returns hears of it. Must not throw. */
  onLink(link: Link): LinkEvents;
  /** What is served to requests. */
  readonly handlers?: RequestHandlers;
  /** Bytes of the largest request taken; by default 1 MiB. */
  readonly maxRequestSize?: number;
  /**
   * ms until a link request is answered; at once by default. For who opens a link and begins to listen for its
   * answer only then, as the reference's tools do.
   */
  readonly answerAfter?: number;
}

/** How a link is opened. */
export interface OpenOptions {
  /** Whose destination it is: its announce has been heard. */
  readonly identity: PublicIdentity;
  readonly signal?: AbortSignal;
  readonly events?: LinkEvents;
  /** What is served to the other end's requests. */
  readonly handlers?: RequestHandlers;
}

/** A link was established, or one that was is over. */
export interface LinkChange {
  readonly link: Link;
  /** Why it is over; undefined where it begins. */
  readonly closed?: LinkCloseReason;
}

interface Opening {
  readonly link: Link;
  readonly identity: PublicIdentity;
  readonly mtu: number;
  readonly keys: LinkKeys;
}

/**
 * All Links of this node, by link id: opens them, accepts them for local destinations, and hands each
 * packet to its link.
 */
export class Links implements LinkDispatch {
  readonly #parts: LinkParts;
  readonly #links = new Map<string, Link>();
  readonly #opening = new Map<string, Opening>();
  readonly #settled = new Map<string, (error?: GatewayError) => void>();
  readonly #room: InboundRoom<Link>;
  readonly #acceptors = new Map<string, LinkAcceptor>();
  readonly #onChange: Listeners<LinkChange>;
  /** Those that were established: what never was is nobody's news. */
  readonly #established = new WeakSet<Link>();

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#onChange = new Listeners(parts.log);
    this.#room = new InboundRoom(parts.limits ?? linkLimits, parts.counters);
    parts.transport.onInterface(({ iface, online }) => {
      if (!online) {
        this.#interfaceLost(iface.name);
      }
    });
  }

  /** Takes links for a registered destination from now on. Throws `config/invalid` for one without an Identity. */
  accept(destination: LocalDestination, acceptor: LinkAcceptor): void {
    if (destination.kind !== 'single') {
      throw new GatewayError('config/invalid', 'only a single destination has links');
    }
    this.#acceptors.set(destination.key, acceptor);
    destination.acceptsLinks = true;
  }

  /** Takes no more links for it; those there are stay. */
  refuse(destination: LocalDestination): void {
    this.#acceptors.delete(destination.key);
    destination.acceptsLinks = false;
  }

  /** A link was established, or one that was is over. */
  onChange(listener: (change: LinkChange) => void): Cancel {
    return this.#onChange.add(listener);
  }

  /** All that are open or opening. */
  all(): Iterable<Link> {
    return this.#links.values();
  }

  /** By link id. */
  get(id: Uint8Array): Link | undefined {
    return this.#links.get(toHex(id));
  }

  has(key: string): boolean {
    return this.#links.has(key);
  }

  get size(): number {
    return this.#links.size;
  }

  sizes(): TableSizes {
    return {
      links: this.#links.size,
      'links-opening': this.#opening.size,
      ...this.#room.sizes(),
      'resource-bytes': this.#parts.budget.used,
    };
  }

  /** Closes all, telling the other ends. */
  close(): void {
    for (const link of [...this.#links.values()]) {
      link.close();
    }
  }

  /**
   * Opens a link to a destination whose path is known. Rejects with `mesh/no-path`, `mesh/timeout` when
   * no proof came within 6 s per hop and what the first hop takes, `mesh/link-closed`, or the signal's
   * reason.
   */
  async open(destinationHash: Uint8Array, options: OpenOptions): Promise<Link> {
    const { signal, identity } = options;
    signal?.throwIfAborted();
    const { transport, random, clock } = this.#parts;
    const path = transport.path(destinationHash);
    const iface = path && transport.interfaceOf(path);
    if (path === undefined || iface === undefined) {
      throw new GatewayError('mesh/no-path', 'no path to the destination of a link', { retryable: true });
    }
    transport.use(destinationHash);
    const encryption = freshPair('x25519', random);
    const signing = freshPair('ed25519', random);
    const mtu = iface.linkMtu;
    const data = encodeLinkRequest({
      encryptionKey: encryption.publicKey,
      signingKey: signing.publicKey,
      mtu,
      signalled: true,
    });
    const far = isFar(path.hops, iface);
    const raw = encodePacket({
      hops: 0,
      transportId: far ? path.nextHop : undefined,
      contextFlag: false,
      propagation: far ? 'transport' : 'broadcast',
      destinationType: 'single',
      packetType: 'link-request',
      destinationHash,
      context: contexts.none,
      data,
    });
    const id = linkIdOf(raw, data.length);
    const keys = new LinkKeys(encryption, id);
    const link = new Link(
      {
        id,
        destinationHash: Uint8Array.from(destinationHash),
        state: requested(clock.monotonic(), path.hops, transport.firstHopTimeout(destinationHash)),
        role: 'initiator',
        hops: path.hops,
        iface,
        mtu,
        keys,
        cost: raw.length,
        sign: message => sign(signing.privateKey, message),
        verify: (signature, message) => identity.verify(signature, message),
        remote: identity,
        proofStrategy: () => 'app',
        events: options.events ?? {},
        handlers: options.handlers,
        maxRequestSize: undefined,
      },
      this.#parts,
      opened => this.#settle(opened),
      (closed, reason) => this.#forget(closed, reason),
    );
    this.#links.set(link.key, link);
    this.#opening.set(link.key, { link, identity, mtu, keys });
    return this.#opened(link, raw, signal);
  }

  linkRequest(inbound: Inbound, destination: LocalDestination): void {
    const { packet, raw, iface } = inbound;
    const acceptor = this.#acceptors.get(destination.key);
    const { identity } = destination;
    if (acceptor === undefined || identity === undefined) {
      throw new GatewayError('mesh/rejected', 'no links are accepted here');
    }
    const request = decodeLinkRequest(packet.data);
    const id = linkIdOf(raw, packet.data.length);
    if (this.#links.has(toHex(id))) {
      throw new GatewayError('mesh/rejected', 'a link request heard before');
    }
    const { clock, random, counters } = this.#parts;
    this.#room.makeWay(iface.name, clock.monotonic());
    const encryption = freshPair('x25519', random);
    const encryptionKey = Uint8Array.from(request.encryptionKey);
    const signingKey = Uint8Array.from(request.signingKey);
    let peerSigning: KeyObject | undefined;
    const proof = {
      encryptionKey: encryption.publicKey,
      mtu: Math.min(request.mtu, iface.linkMtu),
      signalled: true,
    };
    const signature = identity.sign(
      linkRequestProofSigned(id, identity.publicKey.subarray(keyLength), proof),
    );
    const answer = encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType: 'proof',
      destinationHash: id,
      context: contexts.linkRequestProof,
      data: encodeLinkRequestProof({ ...proof, signature }),
    });
    counters.add('link/accepted');
    // What is done here from now on costs the other end no time: it verifies meanwhile.
    const send = () => void this.#parts.transport.transmit(answer, iface);
    if (acceptor.answerAfter === undefined) {
      send();
    } else {
      clock.after(acceptor.answerAfter, send);
    }
    const link = new Link(
      {
        id,
        destinationHash: destination.hash,
        state: accepted(clock.monotonic(), packet.hops),
        role: 'responder',
        hops: packet.hops,
        iface,
        mtu: proof.mtu,
        keys: new LinkKeys(encryption, id, encryptionKey),
        cost: raw.length + answer.length,
        sign: message => identity.sign(message),
        verify: (by, message) => {
          peerSigning ??= importPublic('ed25519', signingKey);
          return verify(peerSigning, message, by);
        },
        remote: undefined,
        proofStrategy: () => destination.proofStrategy,
        events: {},
        handlers: acceptor.handlers,
        maxRequestSize: acceptor.maxRequestSize,
      },
      this.#parts,
      opened => {
        if (this.#room.established(opened, clock.monotonic())) {
          this.#begun(opened);
          opened.events = acceptor.onLink(opened);
        } else {
          opened.close();
        }
      },
      (closed, reason) => this.#forget(closed, reason),
    );
    this.#links.set(link.key, link);
    this.#room.requested(link);
  }

  linkProof(inbound: Inbound): void {
    const { packet, iface } = inbound;
    const opening = this.#opening.get(inbound.key);
    if (opening === undefined) {
      throw new GatewayError('mesh/link-closed', 'proof of a link that is not being opened');
    }
    const { link, identity, mtu, keys } = opening;
    const proof = readProof(packet.data, link);
    const signed = linkRequestProofSigned(link.id, identity.publicKey.subarray(keyLength), proof);
    if (!identity.verify(proof.signature, signed)) {
      throw new GatewayError('crypto/bad-signature', 'link request proof not signed by the destination');
    }
    if (proof.mtu > mtu) {
      throw new GatewayError('wire/malformed', `link MTU ${proof.mtu} confirmed where ${mtu} was asked`);
    }
    keys.agree(proof.encryptionKey);
    this.#parts.transport.remember(inbound.hash);
    this.#opening.delete(link.key);
    link.proven({ keys, mtu: proof.mtu, iface, hops: packet.hops, cost: inbound.raw.length });
  }

  linkPacket(inbound: Inbound): void {
    const link = this.#links.get(inbound.key);
    if (link === undefined) {
      throw new GatewayError('mesh/link-closed', 'a packet for a link that is not here');
    }
    if (link.iface.name !== inbound.interfaceName) {
      this.#parts.transport.forget(inbound.hash);
      throw new GatewayError('mesh/rejected', 'a link packet over another interface than its link’s');
    }
    link.take(inbound);
  }

  linkRepeat(inbound: Inbound): void {
    const link = this.#links.get(inbound.key);
    if (link?.iface.name === inbound.interfaceName) {
      link.repeated(inbound.hash);
    }
  }

  #opened(link: Link, raw: Uint8Array, signal: AbortSignal | undefined): Promise<Link> {
    return new Promise<Link>((resolve, reject) => {
      const abort = () => link.close();
      const settle = (error?: GatewayError) => {
        signal?.removeEventListener('abort', abort);
        this.#settled.delete(link.key);
        if (error === undefined) {
          resolve(link);
        } else {
          reject(signal?.aborted ? signal.reason : error);
        }
      };
      this.#settled.set(link.key, settle);
      signal?.addEventListener('abort', abort, { once: true });
      this.#parts.counters.add('link/requested');
      void this.#parts.transport.transmit(raw, link.iface).then(taken => {
        if (!taken && link.state.at === 'pending') {
          link.lost();
        }
      });
    });
  }

  #settle(link: Link): void {
    this.#parts.counters.add('link/opened');
    this.#begun(link);
    this.#settled.get(link.key)?.();
  }

  #begun(link: Link): void {
    this.#established.add(link);
    this.#onChange.tell({ link });
  }

  #forget(link: Link, reason: LinkCloseReason): void {
    this.#links.delete(link.key);
    this.#opening.delete(link.key);
    if (link.role === 'responder') {
      this.#room.delete(link);
    }
    this.#parts.counters.add(`link/closed-${reason}`);
    if (this.#established.delete(link)) {
      this.#onChange.tell({ link, closed: reason });
    }
    const code = reason === 'timeout' ? 'mesh/timeout' : 'mesh/link-closed';
    this.#settled.get(link.key)?.(
      new GatewayError(code, `the link was not established: ${reason}`, { retryable: true }),
    );
  }

  #interfaceLost(name: string): void {
    for (const link of [...this.#links.values()]) {
      if (link.iface.name === name) {
        link.lost();
      }
    }
  }
}

/** A proof in another mode than the one asked for ends the link: nothing that came after it could be read. */
function readProof(data: Uint8Array, link: Link): LinkRequestProof {
  try {
    return decodeLinkRequestProof(data);
  } catch (error) {
    if (isGatewayError(error, 'wire/unsupported')) {
      link.close();
    }
    throw error;
  }
}
