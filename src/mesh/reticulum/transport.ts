import { toHex } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { SignatureThreads } from '../../lib/signature-threads.ts';
import type { Burden, Hold, Interface, Quality, Urgency } from '../interface.ts';
import type { MeshStorage } from '../storage.ts';
import { Announcer } from './announcer.ts';
import type { Attachment } from './attachment.ts';
import { Attachments, sendOver } from './attachments.ts';
import type { Blackhole } from './blackhole.ts';
import type { LocalDestination } from './destination.ts';
import type { InterfaceHandle, LinkDispatch } from './dispatch.ts';
import { Duplicates } from './duplicates.ts';
import { createForwarding, type Forwarding } from './forwarding.ts';
import { HashJournal } from './hash-journal.ts';
import type { Identity } from './identity.ts';
import type { IngressBursts } from './ingress.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import type { RateFacts } from './interface-stats.ts';
import { type Known, KnownDestinations } from './known.ts';
import { type Announced, type AnnounceFilter, Lessons } from './lessons.ts';
import { Listeners } from './listeners.ts';
import { Locals } from './locals.ts';
import type { NodeTables } from './node-tables.ts';
import { hashLength, packetHash } from './packet.ts';
import { encodePathRequest, pathRequestDestination } from './path-request.ts';
import type { Path } from './path-table.ts';
import type { RatchetRing } from './ratchet.ts';
import { Receipts } from './receipts.ts';
import { Reception } from './reception.ts';
import { type Group, type Outgoing, Sender } from './sender.ts';
import { slotHashOf } from './slot-hash.ts';
import type { TableSizes } from './table-sizes.ts';
import type { TransitLink, TransitLinkChange } from './transit-links.ts';
import { encodeTunnelSynthesis, tunnelDestination } from './tunnel-wire.ts';
import type { Tunnel } from './tunnels.ts';
import { type PathChange, Ways } from './ways.ts';

export interface TransportParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
  /**
   * Under which it is known to other nodes: packets in transport are addressed to its hash, and tunnels made in its
   * name. One that forwards nothing may have another each time it starts.
   */
  readonly identity: Identity;
  /** Whether packets of others are passed on: a transport node. Default false. */
  readonly forwards?: boolean;
  /**
   * Whether programs of this machine use this node as their instance (interfaces with `local: 'programs'`): their
   * packets are passed on in any case. Default false.
   */
  readonly sharedInstance?: boolean;
  /**
   * Where signatures are made and checked when there are many at once. Without it all is done where it comes up, which
   * is the same each time: simulations want that.
   */
  readonly threads?: SignatureThreads;
  /** Whose announces are neither learnt nor passed on. */
  readonly blackhole?: Pick<Blackhole, 'has' | 'size' | 'onChange'>;
}

export interface AnnounceOptions {
  /** Instead of the destination's own. At most 317 B, with a ratchet 285. */
  readonly appData?: Uint8Array;
  /** Only over this interface. */
  readonly interface?: InterfaceHandle;
}

/** How a path is asked for; see `Transport.requestPath`. */
export interface PathOptions {
  readonly insist?: boolean;
  readonly askedOver?: string;
}

export interface InterfaceChange {
  readonly iface: InterfaceHandle;
  readonly online: boolean;
}

/** Packet hashes remembered, in each of two generations. */
const duplicatesKept = 500_000;

/**
 * A Reticulum node: it speaks for its local destinations, remembers who announced what and which way
 * they are, and where it forwards, carries what others send through it. What comes in is taken by its
 * Reception; all that leaves goes through `transmit`.
 */
export class Transport {
  readonly #parts: TransportParts;
  readonly #journal: HashJournal;
  readonly #heard: Duplicates;
  readonly #attachments: Attachments;
  readonly #locals: Locals;
  readonly #known: KnownDestinations;
  readonly #ways: Ways;
  readonly #receipts: Receipts;
  readonly #announcer: Announcer;
  readonly #sender: Sender;
  readonly #lessons: Lessons;
  readonly #onInterface: Listeners<InterfaceChange>;
  readonly #onTransitLink: Listeners<TransitLinkChange>;
  readonly #forwarding: Forwarding | undefined;
  readonly #reception: Reception;
  #links: LinkDispatch | undefined;

  /** Loads what was remembered; entries that do not decode are counted and dropped. */
  constructor(parts: TransportParts) {
    const { clock, log, counters } = parts;
    this.#parts = parts;
    this.#journal = new HashJournal(parts);
    const slotHash = slotHashOf(parts.identity);
    this.#heard = new Duplicates(duplicatesKept, slotHash, this.#journal);
    this.#onInterface = new Listeners(log);
    this.#onTransitLink = new Listeners(log);
    this.#locals = new Locals(parts);
    this.#known = new KnownDestinations(parts);
    this.#ways = new Ways({
      ...parts,
      attachments: () => this.#attachments,
      ask: destination => this.#sendPathRequest(destination),
    });
    this.#receipts = new Receipts(clock, parts.threads);
    this.#announcer = new Announcer(parts);
    this.#sender = new Sender({
      ...parts,
      heard: this.#heard,
      known: this.#known,
      receipts: this.#receipts,
      wayTo: destination => {
        this.use(destination);
        return this.#ways.to(destination);
      },
      transmit: (packet, target, burden) => this.transmit(packet, target, burden),
    });
    const { forwards = false, sharedInstance = false } = parts;
    if (forwards || sharedInstance) {
      this.#forwarding = createForwarding({
        ...parts,
        slotHash,
        forwards,
        sharedInstance,
        paths: this.#ways.table,
        known: this.#known,
        attachments: () => this.#attachments,
        interfaceNamed: name => this.#ways.interfaceNamed(name),
        pathTimeout: () => this.#ways.timeout(),
        transmit: (packet, iface, burden) => {
          this.#heard.add(packetHash(packet));
          void this.transmit(packet, iface, burden);
        },
        askOn: (request, iface, burden) =>
          void this.#sender.sendPlain(pathRequestDestination, encodePathRequest(request), iface, burden),
        linkChanged: change => this.#onTransitLink.tell(change),
        isOurs: key => this.#links?.has?.(key) === true,
        forget: hash => this.#heard.delete(hash),
        unanswered: (destination, from) => {
          this.markUnresponsive(destination);
          this.#ways.requests
            .request(toHex(destination), destination, false, this.#askFor(from))
            .catch(() => {});
        },
      });
    }
    this.#lessons = new Lessons({
      log,
      known: this.#known,
      ways: this.#ways,
      forwarding: this.#forwarding,
      interfaceNamed: name => this.#attachments.sending(name),
    });
    this.#reception = new Reception({
      clock,
      log,
      counters,
      transportId: parts.identity.hash,
      heard: this.#heard,
      slotHash,
      locals: this.#locals,
      known: this.#known,
      paths: this.#ways.table,
      pathRequests: this.#ways.requests,
      receipts: this.#receipts,
      announcer: this.#announcer,
      links: () => this.#links,
      forwarding: this.#forwarding,
      blackhole: parts.blackhole,
      tunnelled: (id, iface) => this.#ways.tunnels.connected(id, iface.name),
      learn: (key, lesson) => this.#lessons.learn(key, lesson),
      transmit: (packet, iface) => this.transmit(packet, iface),
      threads: parts.threads,
    });
    this.#attachments = new Attachments({
      clock,
      log,
      counters,
      threads: parts.threads,
      receive: (from, packet, quality) => this.#reception.receive(from, packet, quality),
      refused: from => this.#reception.refused(from),
      changed: iface => {
        if (iface.sends) {
          this.#sayWhoComes(iface);
          // Over it alone: a peer that comes and goes must not make all others be asked.
          this.#ways.requests.askAgain(wanted => this.#sendPathRequest(wanted, one => one === iface));
        }
        this.#onInterface.tell({ iface, online: iface.online });
      },
      detached: iface => {
        this.#forwarding?.dropOver(iface);
        this.#reception.dropOver(iface);
        this.#ways.dropOver(iface.name);
      },
    });
    // Paths that were stored come back with a restart: those of whom nothing is heard any more must not.
    this.#dropBlackholed();
    parts.blackhole?.onChange(() => this.#dropBlackholed());
  }

  get identity(): Identity {
    return this.#parts.identity;
  }

  /**
   * Begins to use an interface. Its `service` is to be supervised by the caller; peers that it finds
   * are run here. Throws `config/invalid` where the name is taken.
   */
  attach(iface: Interface, policy: InterfacePolicy = {}): Attachment {
    return this.#attachments.attach(iface, policy);
  }

  /** All that are attached, peers included. */
  interfaces(): Iterable<Attachment> {
    return this.#attachments.values();
  }

  /** An interface came up or went down. Announcing then is the listener's business. */
  onInterface(listener: (change: InterfaceChange) => void): Cancel {
    return this.#onInterface.add(listener);
  }

  /**
   * Sends a whole packet over one interface or over all that are up. Resolves with whether a medium
   * took it; never rejects: failures are counted by code. `burden`, where it is to one interface: see `Burden`.
   */
  transmit(packet: Uint8Array, target: InterfaceHandle | 'all', burden?: Burden): Promise<boolean> {
    return this.#attachments.transmit(packet, target, burden);
  }

  /** Takes packets for a destination from now on. Throws `config/invalid` where it is registered already. */
  register(destination: LocalDestination): void {
    this.#locals.add(destination);
    this.dropPath(destination.hash);
  }

  /** Takes nothing more for it; false where it was not registered. */
  deregister(destination: LocalDestination): boolean {
    this.#announcer.forget(destination);
    return this.#locals.remove(destination);
  }

  /** The registered destination of a hash (16 B). */
  local(destination: Uint8Array): LocalDestination | undefined {
    return this.#locals.get(toHex(destination))?.destination;
  }

  /** The ratchets of a registered destination of ours, if it has any. Throws `config/invalid` where it is not registered. */
  ratchets(destination: LocalDestination): RatchetRing | undefined {
    return this.#locals.of(destination).ring;
  }

  /**
   * Announces a registered destination over every interface that is up, but those in access point
   * mode, or over one. Resolves with whether a medium took it. Rejects with `mesh/too-large` for app
   * data that would be lost on the way, `config/invalid` for a destination that cannot be announced,
   * and what the storage rejects with where its first ratchet cannot be stored.
   */
  async announce(destination: LocalDestination, options: AnnounceOptions = {}): Promise<boolean> {
    const { ring } = this.#locals.of(destination);
    const bytes = await this.#announcer.make(destination, ring, options);
    this.#heard.add(packetHash(bytes));
    if (options.interface !== undefined) {
      return this.transmit(bytes, options.interface);
    }
    const open = this.#attachments.allSending().filter(({ policy }) => policy.mode !== 'access-point');
    return sendOver(open, bytes);
  }

  /** Calls back for every announce that taught a path, after the tables know it. */
  onAnnounce(listener: (announced: Announced) => void, filter: AnnounceFilter = {}): Cancel {
    return this.#lessons.onAnnounce(listener, filter);
  }

  /** What a destination (16 B) of somebody else's announced last. */
  recall(destination: Uint8Array): Known | undefined {
    return this.#known.get(toHex(destination));
  }

  /** All destinations known from announces; `may`: whether one is of use, by its hash as hex. */
  known(may?: (destination: string) => boolean): Iterable<Known> {
    return this.#known.values(may);
  }

  /** The way to a destination (16 B), if one is known and its interface is up. */
  path(destination: Uint8Array): Path | undefined {
    return this.#ways.get(destination);
  }

  /** All paths, also those whose interface is down; `may`: whether one is of use, by its destination hash as hex. */
  paths(may?: (destination: string) => boolean): Iterable<Path> {
    return this.#ways.values(may);
  }

  /** How many paths go over each interface, by its name. */
  pathCounts(): ReadonlyMap<string, number> {
    return this.#ways.counts();
  }

  /** The interface that a path goes over, if it is up. */
  interfaceOf(path: Path): InterfaceHandle | undefined {
    return this.#ways.over(path);
  }

  /**
   * The way to a destination (16 B), asking the mesh where none is known. Without `insist` a known one
   * is good enough, and nobody is asked twice within 20 s. Rejects, retryable, with `mesh/no-path` when
   * no announce came within 15 s, or longer over slow media, and at once with `radio/offline` when
   * there is nobody to ask. `askedOver`: name of the interface where a stranger is heard who makes us ask: then no more is
   * asked than strangers may ask for, maybe nothing.
   */
  requestPath(destination: Uint8Array, options: PathOptions = {}): Promise<Path> {
    const { insist = false, askedOver } = options;
    const source = askedOver === undefined ? undefined : this.#attachments.named(askedOver);
    const found = this.#ways.request(destination, insist, source && this.#askFor(source));
    this.#reception.ingress.asked(toHex(destination));
    return found;
  }

  /** What was sent that way got no answer: another path may now replace it without being newer. */
  markUnresponsive(destination: Uint8Array): void {
    this.#ways.table.markUnresponsive(toHex(destination));
  }

  /** Forgets the way to a destination (16 B); false where none was known. */
  dropPath(destination: Uint8Array): boolean {
    return this.#ways.drop(destination);
  }

  /** Forgets all ways over an interface: whoever is behind it now, others were there before. */
  forgetPathsOver(interfaceName: string): void {
    this.#ways.dropOver(interfaceName);
  }

  /** A path was learnt, replaced or forgotten. */
  onPath(listener: (change: PathChange) => void): Cancel {
    return this.#ways.onChange(listener);
  }

  /** Far ends that are known again when they connect anew, connected or away. */
  tunnels(): Iterable<Tunnel> {
    return this.#ways.tunnels.values();
  }

  /** ms to wait for what the first hop to a destination answers: what waits before it, its time on the medium and 6 s. */
  firstHopTimeout(destination: Uint8Array): number {
    return this.#ways.firstHopTimeout(destination);
  }

  /**
   * What keeps a message of so many bytes to a destination from being begun now: the medium its path leads
   * over rations what is sent, or without a path every medium does. Undefined where nothing does.
   */
  hold(destination: Uint8Array, bytes: number, urgency: Urgency): Hold | undefined {
    return this.#ways.hold(destination, bytes, urgency);
  }

  /**
   * Seals data for a destination, with its newest ratchet if one is known, and sends it the known way;
   * without one, over every interface, which reaches neighbours only. Resolves with the packet hash
   * (32 B) when a medium took it. Rejects with `mesh/too-large`, `crypto/undecryptable` for keys that
   * nothing can be sealed for, and `radio/offline`, retryable, when no medium took it: then `onReceipt`
   * is not called.
   */
  send(outgoing: Outgoing): Promise<Uint8Array> {
    return this.#sender.send(outgoing);
  }

  /**
   * Sends data as it is to a plain destination (16 B), over one interface or all: to neighbours, who do
   * not pass it on. Resolves as `transmit` does; rejects with `mesh/too-large` above 464 B.
   */
  sendPlain(
    destination: Uint8Array,
    data: Uint8Array,
    target: InterfaceHandle | 'all' = 'all',
  ): Promise<boolean> {
    return this.#sender.sendPlain(destination, data, target);
  }

  /**
   * Seals data for a group, and sends it to neighbours, who do not pass it on. Resolves as `transmit` does;
   * rejects with `mesh/too-large` above 415 B, `config/invalid` for what is no group's key.
   */
  sendGroup(group: Group, data: Uint8Array, target: InterfaceHandle | 'all' = 'all'): Promise<boolean> {
    return this.#sender.sendGroup(group, data, target);
  }

  /** Something is sent to a destination (16 B): what is known of it and its path outlast what was only heard. */
  use(destination: Uint8Array): void {
    const key = toHex(destination);
    this.#known.use(key);
    this.#ways.table.use(key, 'us');
  }

  /** How well the packet of a hash (32 B) was heard, if that is long ago by no more than some hundred packets. */
  quality(packetHash: Uint8Array): Quality | undefined {
    return this.#forwarding?.qualities?.get(packetHash);
  }

  /** Announces of others that wait for an interface are not passed on. */
  dropAnnouncesWaiting(): void {
    this.#forwarding?.relay.dropWaiting();
  }

  /** The links between others that go through this node. */
  transitLinks(): Iterable<TransitLink> {
    return this.#forwarding?.transit.links() ?? [];
  }

  /** How often destinations have announced themselves lately, on a node that passes announces on. */
  announceRates(): Iterable<RateFacts> {
    return this.#forwarding?.relay.rates() ?? [];
  }

  /** Announces of others that wait for an interface. */
  announcesWaiting(iface: InterfaceHandle): number {
    return this.#forwarding?.relay.waiting(iface) ?? 0;
  }

  /** The node's own tables: to look into, not to change while it runs. */
  get tables(): NodeTables {
    return {
      heard: this.#heard,
      known: this.#known,
      paths: this.#ways.table,
      forwarding: this.#forwarding,
    };
  }

  /** New announces that came over an interface and were held back because too many did. */
  announcesHeld(iface: InterfaceHandle): number {
    return this.#reception.ingress.heldOf(iface);
  }

  /** What an interface brings too much of at this moment. */
  burstsOf(iface: InterfaceHandle): IngressBursts {
    return this.#reception.ingress.burstsOf(iface);
  }

  /** How full every table of this node is, its links' among them. */
  sizes(): TableSizes {
    return {
      interfaces: [...this.#attachments.values()].length,
      'own-destinations': [...this.#locals.values()].length,
      blackholed: this.#parts.blackhole?.size ?? 0,
      known: this.#known.size,
      paths: this.#ways.table.size,
      tunnels: this.#ways.tunnels.size,
      unwritten: this.#known.unwritten + this.#ways.table.unwritten + this.#ways.tunnels.unwritten,
      duplicates: this.#heard.size,
      'path-request-tags': this.#reception.tags,
      'announces-held': this.#reception.ingress.size,
      'inbound-waiting': this.#reception.queue.size,
      'path-requests': this.#ways.requests.size,
      receipts: this.#receipts.size,
      announced: this.#announcer.size,
      ...this.#forwarding?.sizes(),
      ...this.#links?.sizes?.(),
    };
  }

  /** When the announce of a destination (16 B) is passed on next, monotonic ms; undefined where it is not. */
  passingOn(destination: Uint8Array): number | undefined {
    return this.#forwarding?.relay.passingOn(toHex(destination))?.due;
  }

  /** A link between others that goes through this node was proven, or is gone. */
  onTransitLink(listener: (change: TransitLinkChange) => void): Cancel {
    return this.#onTransitLink.add(listener);
  }

  /** Hands over all that belongs to links. */
  useLinks(links: LinkDispatch): void {
    this.#links = links;
  }

  /** Drops a packet of this hash (32 B) from now on, as one that was heard or sent. */
  remember(hash: Uint8Array): void {
    this.#heard.add(hash);
  }

  /** Takes a packet of this hash (32 B) again, as if it had not been heard. */
  forget(hash: Uint8Array): void {
    this.#heard.delete(hash);
  }

  /** Ends what is waited for and writes what is not written yet. Interfaces are stopped by who supervises them. */
  async close(): Promise<void> {
    this.#forwarding?.close();
    this.#reception.close();
    this.#receipts.close();
    await Promise.all([this.#known.flush(), this.#ways.close(), this.#journal.flush()]);
  }

  #dropBlackholed(): void {
    const { blackhole } = this.#parts;
    if (blackhole === undefined || blackhole.size === 0) {
      return;
    }
    const isBlackholed = (key: string) => {
      const known = this.#known.get(key);
      return known !== undefined && blackhole.has(known.identity.hash);
    };
    for (const { destinationHash } of [...this.#ways.table.values(isBlackholed)]) {
      this.dropPath(destinationHash);
    }
  }

  /** Over a connection that this node made: the other end knows it again when it is made anew. */
  #sayWhoComes(attachment: Attachment): void {
    const { identity, random } = this.#parts;
    if (attachment.iface.dials === true) {
      const data = encodeTunnelSynthesis(identity, attachment.name, random);
      void this.#sender.sendPlain(tunnelDestination, data, attachment, 'own');
    }
  }

  /** Asks for ways as far as strangers may make us, who are heard on an interface. */
  #askFor(source: InterfaceHandle): (destination: Uint8Array) => void {
    return wanted =>
      this.#sendPathRequest(wanted, iface => this.#forwarding?.relay.mayAskFor(source, iface) !== false);
  }

  #sendPathRequest(destinationHash: Uint8Array, may: (iface: InterfaceHandle) => boolean = () => true): void {
    const tag = this.#parts.random.bytes(hashLength);
    const { identity, forwards } = this.#parts;
    const transportId = forwards === true ? identity.hash : undefined;
    const data = encodePathRequest({ destinationHash, transportId, tag });
    for (const iface of this.#attachments.allSending()) {
      if (may(iface)) {
        this.#forwarding?.relay.asking(iface);
        void this.sendPlain(pathRequestDestination, data, iface);
      }
    }
  }
}
