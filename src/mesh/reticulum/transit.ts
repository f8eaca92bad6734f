import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { keyLength } from './keys.ts';
import type { Known } from './known.ts';
import { establishmentPerHop } from './link.ts';
import {
  decodeLinkRequest,
  decodeLinkRequestProof,
  linkIdOf,
  linkRequestProofSigned,
  signallingLength,
  withMtu,
} from './link-wire.ts';
import { hashLength, packetMtu } from './packet.ts';
import type { Path, PathTable } from './path-table.ts';
import { ReverseTable } from './reverse-table.ts';
import { type TransitLink, TransitLinks } from './transit-links.ts';

export interface TransitParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly paths: PathTable;
  readonly known: (key: string) => Known | undefined;
  readonly interfaceOf: (path: Path) => InterfaceHandle | undefined;
  /** Sends bytes that change owner; a promise asks whoever sent them here to wait. */
  readonly pass: (packet: Uint8Array, iface: InterfaceHandle) => Promise<void> | undefined;
  /** A link request that was passed on found nobody. */
  readonly unproven: (link: TransitLink) => void;
}

/** What was done with a packet that may be others'. */
export type Passed =
  /** It is none of this node's to pass on. */
  | { readonly at: 'not-ours' }
  /** Over: it left, or cannot. */
  | { readonly at: 'over'; readonly wait: Promise<void> | undefined };

const notOurs: Passed = { at: 'not-ours' };

/**
 * Carries the packets of others: those addressed to this node as the next on their way, and what
 * belongs to links and proofs whose beginning went through here. Packets are changed in place, for
 * their bytes belong to their receiver.
 *
 * Source: Reticulum manual, “Understanding Reticulum › Packet Prioritisation, Reaching the Destination”;
 * SPEC.md §12; the rules of RNS 1.5.7.
 */
export class Transit {
  readonly #parts: TransitParts;
  readonly #reverse: ReverseTable;
  readonly #links: TransitLinks;

  constructor(parts: TransitParts) {
    this.#parts = parts;
    this.#reverse = new ReverseTable(parts.clock);
    this.#links = new TransitLinks(parts);
  }

  /** The links that go through here. */
  links(): Iterable<TransitLink> {
    return this.#links.values();
  }

  /** A packet whose next hop is this node, for a destination that is not here. */
  carry(inbound: Inbound): Passed {
    const { packet, raw } = inbound;
    const path = this.#parts.paths.get(toHex(packet.destinationHash));
    const out = path && this.#parts.interfaceOf(path);
    if (path === undefined || out === undefined) {
      return this.#dropped('relay/no-path');
    }
    let onward = nextHeader(raw, packet.hops, path);
    if (packet.packetType === 'link-request') {
      onward = this.#openLink(inbound, onward, path, out);
    } else {
      this.#reverse.add(inbound.hash, { receivedOn: inbound.iface, sentOn: out });
    }
    this.#parts.paths.use(path);
    return this.#pass(onward, out);
  }

  /** Data or a proof of a link that may go through here. */
  carryLink(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const link = this.#links.get(toHex(packet.destinationHash));
    if (link === undefined) {
      return notOurs;
    }
    if (!link.proven) {
      return this.#dropped('relay/link-unproven');
    }
    const out = otherEnd(link, iface, packet.hops);
    if (out === undefined) {
      return this.#dropped('relay/wrong-way');
    }
    raw[1] = packet.hops;
    this.#links.use(link);
    return this.#pass(raw, out);
  }

  /** A link request proof for a link whose request may have gone through here. Throws `wire/*`, `crypto/bad-signature`. */
  carryLinkProof(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const link = this.#links.get(toHex(packet.destinationHash));
    if (link === undefined) {
      return notOurs;
    }
    if (iface !== link.sentOn || (link.proven && packet.hops !== link.remainingHops)) {
      return this.#dropped('relay/wrong-way');
    }
    const identity = this.#parts.known(toHex(link.destinationHash))?.identity;
    const { signature, ...proof } = decodeLinkRequestProof(packet.data);
    if (
      identity === undefined ||
      !identity.verify(
        signature,
        linkRequestProofSigned(packet.destinationHash, identity.publicKey.subarray(keyLength), proof),
      )
    ) {
      throw new GatewayError('crypto/bad-signature', 'link request proof not signed by the destination');
    }
    if (packet.hops !== link.remainingHops) {
      // The request went another way than the announce came, and this is the length of it.
      link.remainingHops = packet.hops;
      this.#parts.paths.setHops(toHex(link.destinationHash), packet.hops);
    }
    this.#links.prove(link);
    raw[1] = packet.hops;
    return this.#pass(raw, link.receivedOn);
  }

  /** The proof of a single packet that may have gone through here. */
  carryProof(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const entry = this.#reverse.take(packet.destinationHash);
    if (entry === undefined) {
      return notOurs;
    }
    if (entry.sentOn !== iface) {
      return this.#dropped('relay/wrong-way');
    }
    raw[1] = packet.hops;
    return this.#pass(raw, entry.receivedOn);
  }

  dropOver(iface: InterfaceHandle): void {
    this.#links.dropOver(iface);
  }

  close(): void {
    this.#links.close();
  }

  #openLink(inbound: Inbound, onward: Uint8Array, path: Path, out: InterfaceHandle): Uint8Array {
    const { packet, raw, iface } = inbound;
    const request = decodeLinkRequest(packet.data);
    const now = this.#parts.clock.monotonic();
    this.#links.add({
      key: toHex(linkIdOf(raw, packet.data.length)),
      receivedOn: iface,
      takenHops: packet.hops,
      sentOn: out,
      remainingHops: path.hops,
      destinationHash: path.destinationHash,
      proven: false,
      until: now + establishmentPerHop * Math.max(1, path.hops) + (packetMtu * 8000) / out.bitrate,
    });
    if (!request.signalled) {
      return onward;
    }
    if (out.linkMtu <= packetMtu) {
      // A medium that carries no more than any does is not signalled over.
      return onward.subarray(0, onward.length - signallingLength);
    }
    const mtu = Math.min(request.mtu, out.linkMtu, iface.linkMtu);
    return mtu < request.mtu ? withMtu(onward, mtu) : onward;
  }

  #pass(packet: Uint8Array, out: InterfaceHandle): Passed {
    this.#parts.counters.add('relay/passed');
    return { at: 'over', wait: this.#parts.pass(packet, out) };
  }

  #dropped(why: string): Passed {
    this.#parts.counters.add(why);
    return { at: 'over', wait: undefined };
  }
}

/** The packet as it leaves for the next on its way: in transport still, or as one that only its receiver takes. */
function nextHeader(raw: Uint8Array, hops: number, path: Path): Uint8Array {
  if (path.hops > 1) {
    raw[1] = hops;
    raw.set(path.nextHop, 2);
    return raw;
  }
  const onward = raw.subarray(hashLength);
  onward[0] = raw[0]! & 0x0f;
  onward[1] = hops;
  return onward;
}

/** Where a link's packet goes on, by where it comes from and how far it has come; undefined where that is not its way. */
function otherEnd(link: TransitLink, from: InterfaceHandle, hops: number): InterfaceHandle | undefined {
  const { receivedOn, sentOn, takenHops, remainingHops } = link;
  if (receivedOn === sentOn) {
    return hops === takenHops || hops === remainingHops ? sentOn : undefined;
  }
  if (from === sentOn) {
    return hops === remainingHops ? receivedOn : undefined;
  }
  return from === receivedOn && hops === takenHops ? sentOn : undefined;
}
