import { equal, toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Burden } from '../interface.ts';
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
import { hopsOnward, isFar, isProgram } from './local-hops.ts';
import { hashLength, maxHops, type Packet, packetMtu } from './packet.ts';
import type { Path, PathTable } from './path-table.ts';
import { proofSignature } from './receipts.ts';
import { type ReverseEntry, ReverseTable } from './reverse-table.ts';
import type { SlotHash } from './slot-hash.ts';
import type { TableSizes } from './table-sizes.ts';
import { type TransitLink, type TransitLinkChange, TransitLinks } from './transit-links.ts';

export interface TransitParts {
  readonly clock: Clock;
  readonly slotHash: SlotHash;
  readonly counters: Counters;
  readonly paths: PathTable;
  readonly known: (key: string) => Known | undefined;
  readonly interfaceOf: (path: Path) => InterfaceHandle | undefined;
  /** Whether packets of everybody are passed on, and not only those of programs of this machine. */
  readonly forwards: boolean;
  /** 16 B: what is to be passed on here is addressed to it. */
  readonly transportId: Uint8Array;
  /** Sends bytes that change owner; a promise asks whoever sent them here to wait. */
  readonly pass: (
    packet: Uint8Array,
    out: InterfaceHandle,
    burden: Burden,
    from: InterfaceHandle,
  ) => Promise<void> | undefined;
  /** Whether a link (its id in hex) begins or ends here. */
  readonly isOurs: (linkKey: string) => boolean;
  /** Takes a packet of this hash again: it was overheard, and is yet to come the way it belongs. */
  readonly forget: (hash: Uint8Array) => void;
  /** See `TransitLinksParts`. */
  readonly changed?: (change: TransitLinkChange) => void;
  /** A link request that was passed on found nobody. */
  readonly unproven: (link: TransitLink) => void;
}

/** What was done with a packet that may be others'. */
export type Passed =
  /** It is none of this node's to pass on. */
  | { readonly at: 'not-ours' }
  /** Over: it left, or cannot. `work`: signatures that were checked for it. */
  | { readonly at: 'over'; readonly work: number; readonly wait: Promise<void> | undefined };

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
  /** Its tables, for whoever looks into the node. */
  readonly tables: { readonly reverse: ReverseTable; readonly links: TransitLinks };

  constructor(parts: TransitParts) {
    this.#parts = parts;
    this.#reverse = new ReverseTable(parts.clock, parts.slotHash);
    this.#links = new TransitLinks(parts);
    this.tables = { reverse: this.#reverse, links: this.#links };
  }

  /** How full its tables are. */
  sizes(): TableSizes {
    return { reverse: this.#reverse.size, 'transit-links': this.#links.size };
  }

  /** Whether this (16 B) is the id of a link that goes through here. */
  isLink(linkId: Uint8Array): boolean {
    return this.#links.get(toHex(linkId)) !== undefined;
  }

  /** The links that go through here. */
  links(): Iterable<TransitLink> {
    return this.#links.values();
  }

  /**
   * A packet whose next hop is this node, for a destination that is not here. What is for a program of this
   * machine has no next hop in it: for whoever sent it the program is where this node is.
   */
  carry(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const { transportId, destinationType } = packet;
    const isAddressed = transportId !== undefined && equal(transportId, this.#parts.transportId);
    if (destinationType !== 'single' && !isAddressed) {
      // What has no receiver of its own is for whoever hears it.
      return notOurs;
    }
    const path = this.#parts.paths.get(inbound.key);
    const out = path && this.#parts.interfaceOf(path);
    if (!(isAddressed || isProgram(out))) {
      return notOurs;
    }
    if (!(this.#parts.forwards || isProgram(iface) || isProgram(out))) {
      return notOurs;
    }
    if (path === undefined || out === undefined) {
      return this.#dropped('relay/no-path');
    }
    const { destinationHash } = path;
    let onward: Uint8Array;
    if (packet.packetType === 'link-request') {
      const key = toHex(linkIdOf(raw, packet.data.length));
      if (this.#links.get(key) !== undefined || this.#parts.isOurs(key)) {
        // Whoever overhears a request can send it again, with another MTU as a packet of its own: the link stays what it is.
        return this.#dropped('mesh/duplicate');
      }
      onward = this.#openLink(inbound, key, nextHeader(packet, raw, path, out), path, out);
    } else {
      this.#reverse.add(inbound.hash, { receivedOn: iface, sentOn: out, destinationHash });
      onward = nextHeader(packet, raw, path, out);
    }
    this.#parts.paths.use(inbound.key, 'others');
    return this.#pass(onward, out, iface);
  }

  /** Data or a proof of a link that may go through here. */
  carryLink(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const link = this.#links.get(inbound.key);
    if (link === undefined) {
      return notOurs;
    }
    if (!link.proven) {
      return this.#dropped('relay/link-unproven');
    }
    const out = otherEnd(link, iface, packet.hops);
    if (out === undefined) {
      return this.#wrongWay(inbound);
    }
    raw[1] = packet.hops;
    this.#links.use(link);
    return this.#pass(raw, out, iface);
  }

  /** A link request proof for a link whose request may have gone through here. Throws `wire/*`, `crypto/bad-signature`. */
  carryLinkProof(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const link = this.#links.get(inbound.key);
    if (link === undefined) {
      return notOurs;
    }
    if (iface !== link.sentOn) {
      return this.#dropped('relay/wrong-way');
    }
    if (link.proven) {
      // It is sent once: this is an echo, or somebody who replays it with hops of their own.
      return this.#dropped('mesh/duplicate');
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
    return this.#pass(raw, link.receivedOn, iface, 1);
  }

  /**
   * The proof of a single packet that may have gone through here. The first is passed on as it is, for checking
   * all of them costs more than forwarding; any further one only where it is signed. Throws `crypto/bad-signature`.
   */
  carryProof(inbound: Inbound): Passed {
    const { packet, raw, iface } = inbound;
    const entry = this.#reverse.get(packet.destinationHash);
    if (entry === undefined) {
      return notOurs;
    }
    if (entry.sentOn !== iface) {
      return this.#wrongWay(inbound);
    }
    const again = entry.passed;
    if (again && !this.#proves(entry, packet)) {
      throw new GatewayError('crypto/bad-signature', 'another proof, not signed by the receiver');
    }
    this.#reverse.pass(entry);
    raw[1] = packet.hops;
    return this.#pass(raw, entry.receivedOn, iface, again ? 1 : 0);
  }

  dropOver(iface: InterfaceHandle): void {
    this.#links.dropOver(iface);
    this.#reverse.dropOver(iface);
  }

  close(): void {
    this.#links.close();
  }

  #proves({ destinationHash, packetHash }: ReverseEntry, { data }: Packet): boolean {
    const identity = this.#parts.known(toHex(destinationHash))?.identity;
    const signature = proofSignature(data, packetHash);
    return identity !== undefined && signature !== undefined && identity.verify(signature, packetHash);
  }

  #openLink(inbound: Inbound, key: string, onward: Uint8Array, path: Path, out: InterfaceHandle): Uint8Array {
    const { packet, iface } = inbound;
    const request = decodeLinkRequest(packet.data);
    const now = this.#parts.clock.monotonic();
    this.#links.add({
      key,
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

  #pass(packet: Uint8Array, out: InterfaceHandle, from: InterfaceHandle, work = 0): Passed {
    packet[1] = hopsOnward(packet[1]!, out);
    if (packet[1] >= maxHops) {
      return this.#dropped('relay/too-far');
    }
    this.#parts.counters.add('relay/passed');
    // What programs of this machine send is no less ours than what the hub sends itself.
    const burden = isProgram(from) ? 'own' : 'relayed';
    return { at: 'over', work, wait: this.#parts.pass(packet, out, burden, from) };
  }

  /** On a medium that many share it was overheard before it came here: then it counts as not heard. */
  #wrongWay({ hash }: Inbound): Passed {
    this.#parts.forget(hash);
    return this.#dropped('relay/wrong-way');
  }

  #dropped(why: string): Passed {
    this.#parts.counters.add(why);
    return { at: 'over', work: 0, wait: undefined };
  }
}

/** The packet as it leaves for the next on its way: in transport still, or as one that only its receiver takes. */
function nextHeader(
  { hops, transportId }: Packet,
  raw: Uint8Array,
  path: Path,
  out: InterfaceHandle,
): Uint8Array {
  if (transportId === undefined) {
    raw[1] = hops;
    return raw;
  }
  if (isFar(path.hops, out)) {
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
    return from === sentOn && (hops === takenHops || hops === remainingHops) ? sentOn : undefined;
  }
  if (from === sentOn) {
    return hops === remainingHops ? receivedOn : undefined;
  }
  return from === receivedOn && hops === takenHops ? sentOn : undefined;
}
