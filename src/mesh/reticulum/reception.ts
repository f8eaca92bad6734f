import { equal } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { Quality } from '../interface.ts';
import { AnnounceIntake, type Lesson } from './announce-intake.ts';
import type { Announcer } from './announcer.ts';
import type { Blackhole } from './blackhole.ts';
import type { LocalDestination } from './destination.ts';
import type { Inbound, InterfaceHandle, LinkDispatch } from './dispatch.ts';
import type { Duplicates } from './duplicates.ts';
import type { Forwarding } from './forwarding.ts';
import type { Opened } from './identity.ts';
import { inboundOf, isRepeatable } from './inbound.ts';
import { InboundQueue } from './inbound-queue.ts';
import type { Ingress } from './ingress.ts';
import type { KnownDestinations } from './known.ts';
import { encodePacketProof } from './link-wire.ts';
import { hopsOver, isInstance } from './local-hops.ts';
import type { Local, Locals } from './locals.ts';
import { contexts, decodePacket, encodePacket, type Packet, packetHash, truncatedHash } from './packet.ts';
import { type PathRequests, pathRequestDestination } from './path-request.ts';
import { PathRequestIntake } from './path-request-intake.ts';
import type { PathTable } from './path-table.ts';
import type { Receipts } from './receipts.ts';
import type { SlotHash } from './slot-hash.ts';
import type { Passed } from './transit.ts';
import { decodeTunnelSynthesis, tunnelDestination } from './tunnel-wire.ts';
import { Turns } from './turns.ts';

export interface ReceptionParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** 16 B: what packets in transport that are meant for us are addressed to. */
  readonly transportId: Uint8Array;
  readonly heard: Duplicates;
  readonly slotHash: SlotHash;
  readonly locals: Locals;
  readonly known: KnownDestinations;
  readonly paths: PathTable;
  readonly pathRequests: PathRequests;
  readonly receipts: Receipts;
  readonly announcer: Announcer;
  readonly links: () => LinkDispatch | undefined;
  /** Undefined on a node that does nothing for others. */
  readonly forwarding: Forwarding | undefined;
  readonly blackhole: Pick<Blackhole, 'has'> | undefined;
  /** Whoever is at the other end of an interface says who they are, and signed it. `id`: of their tunnel, 32 B. */
  readonly tunnelled: (id: Uint8Array, iface: InterfaceHandle) => void;
  /** A verified announce offers a better path than the one known. */
  readonly learn: (key: string, lesson: Lesson) => void;
  readonly transmit: (packet: Uint8Array, iface: InterfaceHandle) => Promise<boolean>;
  /** See `TransportParts`. */
  readonly threads: SignatureThreads | undefined;
}

/**
 * Takes the packets that interfaces receive: decodes, drops what was heard before or is for others,
 * and hands the rest to announces, links, receipts and local destinations. What cannot be read is
 * counted by its code and dropped here, in one place.
 */
export class Reception {
  readonly #parts: ReceptionParts;
  readonly #turns: Turns;
  readonly #pathRequests: PathRequestIntake;
  /** The medium that the packet at hand went out of has no room for more. */
  #wait: Promise<void> | undefined;
  readonly #announces: AnnounceIntake;
  readonly #queue: InboundQueue;

  constructor(parts: ReceptionParts) {
    this.#parts = parts;
    this.#turns = new Turns(parts.clock);
    const announces = new AnnounceIntake({ ...parts, queue: () => this.#queue });
    this.#announces = announces;
    const requests = new PathRequestIntake({
      ...parts,
      ingress: announces.ingress,
      queue: () => this.#queue,
    });
    this.#pathRequests = requests;
    this.#queue = new InboundQueue({
      ...parts,
      work: {
        announce: (inbound, isOneOfMany) => announces.verify(inbound, isOneOfMany),
        'path-request': inbound => requests.answer(inbound, false),
        limited: (inbound, isOneOfMany) =>
          inbound.packet.packetType === 'announce'
            ? announces.verify(inbound, isOneOfMany)
            : requests.answer(inbound, true),
      },
      failed: (from, error) => this.#failed(from, error),
    });
  }

  /** What new destinations have to pass. */
  get ingress(): Ingress {
    return this.#announces.ingress;
  }

  /** What waits for its turn. */
  get queue(): InboundQueue {
    return this.#queue;
  }

  /** Tags of path requests remembered. */
  get tags(): number {
    return this.#pathRequests.tags;
  }

  /** Never throws. A promise asks the medium to wait: the others have a turn first. */
  receive(from: InterfaceHandle, raw: Uint8Array, quality: Quality | undefined): void | Promise<void> {
    let work = 1;
    this.#wait = undefined;
    try {
      work = this.#take(from, raw, quality);
    } catch (error) {
      this.#failed(from, error);
    }
    return this.#wait ?? (work === 0 ? undefined : this.#turns.charge(from, work));
  }

  /** An interface is gone. */
  dropOver(iface: InterfaceHandle): void {
    this.#announces.dropOver(iface);
    this.#queue.dropOver(iface);
  }

  close(): void {
    this.#announces.close();
    this.#queue.close();
  }

  /** What cannot be read is counted by its code. */
  #failed(from: InterfaceHandle, error: unknown): void {
    this.#parts.counters.add(codeOf(error));
    if (!isGatewayError(error)) {
      this.#parts.log.error({ interface: from.name, error }, 'a bug in taking a packet');
    }
  }

  /** What came was of no network of ours, which cost a signature to see. A promise as that of `receive`. */
  refused(from: InterfaceHandle): void | Promise<void> {
    return this.#turns.charge(from, 1);
  }

  /** What the packet cost, in signatures and key exchanges. */
  #take(from: InterfaceHandle, raw: Uint8Array, quality: Quality | undefined): number {
    if (raw.length > from.mtu) {
      throw new GatewayError('wire/malformed', `packet of ${raw.length} bytes on a medium of ${from.mtu}`);
    }
    const packet = decodePacket(raw, hopsOver(from, 0));
    const { packetType, destinationType, transportId } = packet;
    const { forwarding } = this.#parts;
    // Our instance may leave its own transport id on what it hands to its programs.
    const mayBeOurs = isInstance(from) || (transportId && equal(transportId, this.#parts.transportId));
    if (transportId && packetType !== 'announce' && !mayBeOurs) {
      return this.#drop('mesh/not-for-us');
    }
    if (packetType === 'announce' && transportId && equal(transportId, this.#parts.transportId)) {
      // What this node passed on itself and somebody says again: the way it offers goes in a circle.
      return this.#drop('announce/echo');
    }
    if (packetType === 'announce' && destinationType !== 'single') {
      throw new GatewayError('wire/malformed', `announce of a ${destinationType} destination`);
    }
    const inbound = inboundOf(packet, raw, from, quality);
    if (destinationType === 'plain' || destinationType === 'group') {
      if (raw[1]! > 0) {
        throw new GatewayError('wire/malformed', `${destinationType} packet that was passed on`);
      }
      if (destinationType === 'plain') {
        forwarding?.spread(inbound);
      }
    } else if (!(isInstance(from) || isRepeatable(packet.context)) && !this.#isNew(packet, inbound.hash)) {
      // Our instance has dropped what it heard before.
      if (packetType === 'data' && destinationType === 'link') {
        this.#parts.links()?.linkRepeat?.(inbound);
      }
      return this.#drop('mesh/duplicate');
    }
    if (quality !== undefined) {
      forwarding?.qualities?.add(inbound.hash, quality);
    }
    const passed = this.#carry(inbound);
    if (passed?.at === 'over') {
      this.#wait = passed.wait;
      return passed.work;
    }
    switch (packetType) {
      case 'announce':
        this.#wait = this.#announces.take(inbound);
        return 0;
      case 'link-request':
        return this.#takeLinkRequest(inbound);
      case 'proof':
        return this.#takeProof(inbound);
      case 'data':
        return this.#takeData(inbound);
    }
  }

  /** What became of a packet that may be others'. */
  #carry(inbound: Inbound): Passed | undefined {
    const transit = this.#parts.forwarding?.transit;
    const { packet } = inbound;
    if (transit === undefined || packet.packetType === 'announce') {
      return undefined;
    }
    // Nobody asks a link for a link: such a request is of no link, and goes one hop like all that has no receiver.
    if (packet.destinationType === 'link' && packet.packetType !== 'link-request') {
      return packet.context === contexts.linkRequestProof
        ? transit.carryLinkProof(inbound)
        : transit.carryLink(inbound);
    }
    if (packet.packetType === 'proof') {
      // What has no receiver of its own goes one hop, proof or not.
      return packet.destinationType === 'single' ? transit.carryProof(inbound) : undefined;
    }
    return this.#localFor(inbound) === undefined ? transit.carry(inbound) : undefined;
  }

  /**
   * Repeats of announces are left to the path table. A link request proof is remembered by who takes
   * it: it may be on its way elsewhere when it is first overheard.
   */
  #isNew(packet: Packet, hash: Uint8Array): boolean {
    const { heard } = this.#parts;
    const known = heard.has(hash);
    if (!known && !(packet.packetType === 'proof' && packet.context === contexts.linkRequestProof)) {
      heard.add(hash);
    }
    return !known || packet.packetType === 'announce';
  }

  #takeLinkRequest(inbound: Inbound): number {
    const destination = this.#localFor(inbound)?.destination;
    if (destination === undefined) {
      return this.#drop('mesh/not-for-us');
    }
    const links = this.#parts.links();
    if (!destination.acceptsLinks || links === undefined) {
      return this.#drop('mesh/rejected');
    }
    links.linkRequest(inbound, destination);
    return 3;
  }

  #takeProof(inbound: Inbound): number {
    const { packet } = inbound;
    if (packet.context === contexts.linkRequestProof) {
      this.#parts.links()?.linkProof(inbound);
      return 1;
    }
    if (packet.destinationType === 'link') {
      this.#parts.links()?.linkPacket(inbound);
      return 0;
    }
    const refused = () => this.#drop('crypto/bad-signature');
    switch (this.#parts.receipts.prove(packet.destinationHash, packet.data, inbound, refused)) {
      case 'unknown':
        return this.#drop('mesh/not-for-us');
      case 'invalid':
        throw new GatewayError('crypto/bad-signature', 'proof not signed by the receiver');
      case 'proven':
      case 'later':
        return 1;
    }
  }

  #takeData(inbound: Inbound): number {
    const { packet } = inbound;
    if (packet.destinationType === 'link') {
      this.#parts.links()?.linkPacket(inbound);
      return 0;
    }
    if (packet.destinationType === 'plain') {
      if (equal(packet.destinationHash, pathRequestDestination)) {
        this.#wait = this.#pathRequests.take(inbound);
        return 0;
      }
      if (equal(packet.destinationHash, tunnelDestination)) {
        return this.#takeTunnel(inbound);
      }
    }
    const local = this.#localFor(inbound);
    if (local === undefined) {
      if (this.#parts.forwarding?.transit.isLink(packet.destinationHash)) {
        // Overheard on its way to who takes it.
        this.#parts.heard.delete(inbound.hash);
      }
      return this.#drop('mesh/not-for-us');
    }
    if (
      isRepeatable(packet.context) &&
      packet.destinationType === 'single' &&
      !this.#isNew(packet, inbound.hash)
    ) {
      return this.#drop('mesh/duplicate');
    }
    const opened = open(local, packet.data);
    if (opened === undefined) {
      this.#drop('crypto/undecryptable');
      // Every ratchet was tried, which is what a flood of these would be sent for.
      return 1 + (local.ring?.kept.length ?? 0);
    }
    this.#deliver(local.destination, opened, inbound);
    return 2;
  }

  #deliver(destination: LocalDestination, { plaintext, ratchetId }: Opened, inbound: Inbound): void {
    const { packet, hash, iface, interfaceName, quality } = inbound;
    const prove = () => this.#prove(destination, hash, iface);
    try {
      destination.onPacket({
        data: plaintext,
        packetHash: hash,
        ratchetId,
        quality,
        interfaceName,
        hops: packet.hops,
        prove: destination.proofStrategy === 'app' ? prove : () => {},
      });
    } catch (error) {
      this.#parts.counters.add(codeOf(error));
      this.#parts.log.error(
        { destination: destination.key.slice(0, 8), error },
        'a destination failed to take a packet',
      );
      return;
    }
    if (destination.proofStrategy === 'all') {
      prove();
    }
  }

  #prove(destination: LocalDestination, hash: Uint8Array, iface: InterfaceHandle): void {
    if (destination.identity === undefined) {
      return;
    }
    const signature = destination.identity.sign(hash);
    const bytes = encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'single',
      packetType: 'proof',
      destinationHash: truncatedHash(hash),
      context: contexts.none,
      data: destination.explicitProofs ? encodePacketProof({ packetHash: hash, signature }) : signature,
    });
    this.#parts.heard.add(packetHash(bytes));
    void this.#parts.transmit(bytes, iface);
  }

  /** Somebody says who they are over a connection that they made. Whoever overheard it can send it again, but not here. */
  #takeTunnel({ packet, hash, iface }: Inbound): number {
    const { heard } = this.#parts;
    if (heard.has(hash)) {
      return this.#drop('mesh/duplicate');
    }
    const { id } = decodeTunnelSynthesis(packet.data);
    heard.add(hash);
    if (iface.shared === true) {
      // Its ways are those of everybody on it, and would leave with whoever says so, for wherever they say it next.
      this.#drop('tunnel/refused');
    } else if (iface.policy?.local === undefined) {
      this.#parts.tunnelled(id, iface);
    }
    return 1;
  }

  #localFor({ packet, key }: Inbound): Local | undefined {
    const local = this.#parts.locals.get(key);
    return local?.destination.kind === packet.destinationType ? local : undefined;
  }

  #drop(why: string): 0 {
    this.#parts.counters.add(why);
    return 0;
  }
}

/** Undefined where neither a ratchet nor the Identity's own key opens it. */
function open({ destination, ring }: Local, sealed: Uint8Array): Opened | undefined {
  try {
    return destination.open(sealed, ring);
  } catch (error) {
    if (isGatewayError(error, 'crypto/undecryptable')) {
      return undefined;
    }
    throw error;
  }
}
