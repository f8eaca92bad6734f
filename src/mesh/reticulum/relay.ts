import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { Burden } from '../interface.ts';
import { emittedAt } from './announce.ts';
import type { Lesson } from './announce-intake.ts';
import { AnnouncePacer } from './announce-pacer.ts';
import { AnnounceRates } from './announce-rate.ts';
import { AskedShares } from './asked-share.ts';
import type { Inbound, InterfaceHandle } from './dispatch.ts';
import { Egress } from './egress.ts';
import { FairRoom } from './fair-room.ts';
import { passesAnnounce, searchesOver } from './interface-policy.ts';
import type { RateFacts } from './interface-stats.ts';
import type { Heard, Known } from './known.ts';
import { countedFor, isProgram } from './local-hops.ts';
import { contexts, encodePacket, packetMtu } from './packet.ts';
import type { PathRequest } from './path-request.ts';
import { PathSearches } from './path-searches.ts';
import type { Path } from './path-table.ts';
import { type Rebroadcast, type RebroadcastState, Rebroadcasts } from './rebroadcasts.ts';
import type { TableSizes } from './table-sizes.ts';

export interface RelayParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  /** 16 B: what is passed on says that it came through here. */
  readonly transportId: Uint8Array;
  /** All that packets can leave by now. */
  readonly sending: () => readonly InterfaceHandle[];
  readonly interfaceNamed: (name: string) => InterfaceHandle | undefined;
  readonly path: (key: string) => Path | undefined;
  /** What that way leads over, which is up: without looking at the way itself. */
  readonly over: (key: string) => InterfaceHandle | undefined;
  readonly known: (key: string) => Known | undefined;
  /** ms that an answer to a path request may take. */
  readonly pathTimeout: () => number;
  /** Whether announces of everybody are passed on, and not only those of programs of this machine. */
  readonly forwards: boolean;
  /** Whether there may be programs of this machine. */
  readonly sharedInstance: boolean;
  readonly transmit: (packet: Uint8Array, iface: InterfaceHandle, burden: Burden) => void;
  readonly askOn: (request: PathRequest, iface: InterfaceHandle, burden: Burden) => void;
}

/** A known path that is about to be told to who asked for it. */
export interface PathAnswer {
  /** Destination hash, hex. */
  readonly key: string;
  readonly iface: InterfaceHandle;
  /** When it was asked for, and when it is told; monotonic ms. */
  readonly since: number;
  readonly due: number;
}

/** ms before a known path is told to who asked: somebody nearer may answer first. Source: RNS 1.5.7. */
const answerGrace = 400;
/** ms more on a roaming interface: whoever is better placed is heard first. Source: RNS 1.5.7. */
const roamingGrace = 1500;
/** Answers that wait for their moment; for one interface as many as there are free. */
const answersMost = 4096;
/** Bytes of a search on its way. */
const searchLength = 80;
/** Announces that wait for all interfaces together: whoever opens many connections must not multiply them. */
const waitingMost = 65_536;

/**
 * What makes others able to find their way through this node: announces that are passed on, and path
 * requests that are answered for destinations elsewhere, or searched for.
 *
 * Source: Reticulum manual, “Understanding Reticulum › Announces”; the rules of RNS 1.5.7.
 */
export class Relay {
  readonly #parts: RelayParts;
  readonly #rebroadcasts: Rebroadcasts;
  readonly #rates = new AnnounceRates();
  readonly #searches: PathSearches;
  readonly #pacers = new Map<InterfaceHandle, AnnouncePacer>();
  /** Answers that wait for their moment, by destination and interface. */
  readonly #answering = new Map<string, PathAnswer>();
  readonly #answerRoom = new FairRoom(answersMost);
  readonly #asked: AskedShares;
  readonly #room = { used: 0, limit: waitingMost };
  readonly #egress: Egress;

  constructor(parts: RelayParts) {
    const { clock, random, counters } = parts;
    this.#parts = parts;
    this.#asked = new AskedShares(clock);
    this.#egress = new Egress(parts);
    this.#rebroadcasts = new Rebroadcasts({
      clock,
      random,
      counters,
      send: announce => this.#passOn(announce),
    });
    this.#searches = new PathSearches({ clock, counters, timeout: parts.pathTimeout });
  }

  /** How full its tables are. */
  sizes(): TableSizes {
    return {
      rebroadcasts: this.#rebroadcasts.size,
      'announce-rates': this.#rates.size,
      'announces-waiting': this.#room.used,
      pacers: this.#pacers.size,
      'path-searches': this.#searches.size,
      'path-answers': this.#answering.size,
    };
  }

  /** How often destinations have announced themselves lately. */
  rates(): Iterable<RateFacts> {
    return this.#rates.values();
  }

  /** How far the passing on of a destination's announce (its hash in hex) is. */
  passingOn(key: string): RebroadcastState | undefined {
    return this.#rebroadcasts.get(key);
  }

  /** Known paths that are about to be told. */
  answers(): Iterable<PathAnswer> {
    return this.#answering.values();
  }

  /** Announces that wait for an interface. */
  waiting(iface: InterfaceHandle): number {
    return this.#pacers.get(iface)?.waiting ?? 0;
  }

  /** Forgets all announces that wait for an interface. */
  dropWaiting(): void {
    for (const pacer of this.#pacers.values()) {
      pacer.close();
    }
  }

  /** Whether somebody else waits for a path to this destination. */
  searches(key: string): boolean {
    return this.#searches.has(key);
  }

  /** A verified announce taught a path. */
  learnt(key: string, lesson: Lesson): void {
    const { clock, counters, interfaceNamed, forwards } = this.#parts;
    const from = interfaceNamed(lesson.interfaceName);
    this.#tellPrograms(key, from);
    for (const iface of this.#searches.end(key)) {
      if (!isProgram(iface)) {
        this.#answer(key, iface);
      }
    }
    if (lesson.pathResponse) {
      return;
    }
    if (isProgram(from)) {
      this.#announceProgram(key);
      return;
    }
    if (!forwards || from === undefined) {
      return;
    }
    const packet = this.#asPassedOn(lesson, lesson.hops, contexts.none);
    if (packet === undefined) {
      return;
    }
    const announce = { key, hops: lesson.hops, emitted: emittedAt(lesson.randomBlob), packet };
    if (this.#rebroadcasts.renews(announce)) {
      return;
    }
    if (this.#rates.allows(key, clock.now(), from.policy?.announce)) {
      this.#rebroadcasts.add(announce);
    } else {
      counters.add('announce/rate-blocked');
    }
  }

  /** An announce was heard that a transport node passed on; `hops` as received. */
  overheard(key: string, hops: number): void {
    this.#rebroadcasts.heard(key, hops);
  }

  /** A path request of our own leaves by an interface. */
  asking(iface: InterfaceHandle): void {
    this.#egress.note(iface);
  }

  /** Whether it may be asked over an interface for the way to somebody whom who is heard on `source` wants to reach. */
  mayAskFor(source: InterfaceHandle, iface: InterfaceHandle): boolean {
    const isFree = isProgram(source) || isProgram(iface);
    return isFree || (this.#egress.allows(iface) && this.#mayAsk(iface, searchLength, source));
  }

  /** Somebody asks for a path to a destination that is not here; `limited`: one of so many that nothing is searched. */
  requested(request: PathRequest, { iface }: Inbound, limited: boolean): void {
    const { clock, counters } = this.#parts;
    const key = toHex(request.destinationHash);
    const path = this.#pathFor(key, iface);
    if (path === undefined) {
      if (limited && !this.#searches.has(key)) {
        counters.add('path/search-limited');
        return;
      }
      this.#search(key, request, iface);
      return;
    }
    if (isProgram(iface) || isProgram(this.#parts.interfaceNamed(path.interfaceName))) {
      // Nobody is nearer.
      this.#answer(key, iface);
      return;
    }
    const roaming = iface.policy?.mode === 'roaming';
    const back = request.transportId !== undefined && toHex(request.transportId) === toHex(path.nextHop);
    if (back || (roaming && this.#parts.interfaceNamed(path.interfaceName) === iface)) {
      // Its way leads through who asks, or it heard the announce itself.
      return;
    }
    const answer = `${key} ${iface.name}`;
    if (this.#answering.has(answer)) {
      return;
    }
    if (!this.#answerRoom.take(iface)) {
      counters.add('path/answers-full');
      return;
    }
    const delay = answerGrace + (roaming ? roamingGrace : 0);
    const since = clock.monotonic();
    this.#answering.set(answer, { key, iface, since, due: since + delay });
    clock.after(delay, () => {
      this.#answering.delete(answer);
      this.#answerRoom.give(iface);
      this.#answer(key, iface);
    });
  }

  /** An interface is gone. */
  dropOver(iface: InterfaceHandle): void {
    this.#pacers.get(iface)?.close();
    this.#pacers.delete(iface);
  }

  close(): void {
    this.#rebroadcasts.close();
    for (const pacer of this.#pacers.values()) {
      pacer.close();
    }
    this.#pacers.clear();
  }

  /** The way that somebody is told who asks over an interface. */
  #pathFor(key: string, iface: InterfaceHandle): Path | undefined {
    const { path: pathTo, forwards, interfaceNamed } = this.#parts;
    const path = pathTo(key);
    const mayTell =
      forwards || isProgram(iface) || (path !== undefined && isProgram(interfaceNamed(path.interfaceName)));
    return mayTell ? path : undefined;
  }

  /** Asks on for a destination that nothing is known of: for programs everywhere, for others as the modes say. */
  #search(key: string, request: PathRequest, iface: InterfaceHandle): void {
    const { sending, askOn, transportId, forwards } = this.#parts;
    const asked = iface.policy ?? {};
    const forProgram = isProgram(iface);
    const others = sending().filter(
      other =>
        other !== iface &&
        (forProgram || isProgram(other) || (forwards && searchesOver(asked, other.policy ?? {}))),
    );
    const search = others.length === 0 ? undefined : this.#searches.begin(key, iface);
    if (search === undefined && !(forProgram && others.length > 0)) {
      return;
    }
    const onward = { ...request, transportId: forwards ? transportId : undefined };
    for (const other of others) {
      if (!forProgram && (search?.sentOn.has(other) || search?.askedOn.has(other))) {
        continue;
      }
      if (this.mayAskFor(iface, other)) {
        search?.sentOn.add(other);
        this.#egress.note(other);
        askOn(onward, other, forProgram ? 'own' : 'hearsay');
      }
    }
  }

  #answer(key: string, iface: InterfaceHandle): void {
    const packet = this.#announceOf(key, contexts.pathResponse);
    if (
      packet !== undefined &&
      iface.online &&
      (isProgram(iface) || this.#mayAsk(iface, packet.length, iface))
    ) {
      this.#parts.counters.add('path/answered');
      this.#transmit(packet, iface, 'hearsay');
    }
  }

  /** Programs hear every announce at once: they have no other way to. */
  #tellPrograms(key: string, from: InterfaceHandle | undefined): void {
    if (!this.#parts.sharedInstance) {
      return;
    }
    const programs = this.#parts.sending().filter(iface => isProgram(iface) && iface !== from);
    const packet = programs.length === 0 ? undefined : this.#announceOf(key, contexts.none);
    for (const program of programs) {
      if (packet !== undefined) {
        this.#transmit(packet, program, 'hearsay');
      }
    }
  }

  /** What a program announces leaves at once and once, as what the hub announces does. */
  #announceProgram(key: string): void {
    const packet = this.#announceOf(key, contexts.none);
    for (const iface of this.#parts.sending()) {
      if (packet !== undefined && !isProgram(iface) && passesAnnounce(iface.policy ?? {}, {})) {
        this.#transmit(packet, iface, 'announce');
      }
    }
  }

  #transmit(packet: Uint8Array, iface: InterfaceHandle, burden: Burden): void {
    const counted = countedFor(iface, packet);
    if (counted !== undefined && counted.length <= iface.mtu) {
      this.#parts.transmit(counted, iface, burden);
    }
  }

  /** Whether something that strangers heard on `source` asked for may leave by an interface; counted where not. */
  #mayAsk(iface: InterfaceHandle, bytes: number, source: InterfaceHandle): boolean {
    const may = this.#asked.take(iface, bytes, source);
    if (!may) {
      this.#parts.counters.add('path/asked-too-much');
    }
    return may;
  }

  /** The last announce of a destination as this node passes it on. */
  #announceOf(key: string, context: number): Uint8Array | undefined {
    const known = this.#parts.known(key);
    const path = this.#parts.path(key);
    return known && path && this.#asPassedOn(known, path.hops, context);
  }

  #asPassedOn(heard: Heard, hops: number, context: number): Uint8Array | undefined {
    try {
      const packet = encodePacket({
        hops,
        transportId: this.#parts.transportId,
        contextFlag: heard.announceHasRatchet,
        propagation: 'transport',
        destinationType: 'single',
        packetType: 'announce',
        destinationHash: heard.destinationHash,
        context,
        data: heard.announce,
      });
      // The header of transport makes it longer than anybody takes.
      return packet.length <= packetMtu ? packet : undefined;
    } catch (error) {
      if (error instanceof GatewayError) {
        // It has come as far as anything goes.
        return undefined;
      }
      throw error;
    }
  }

  #passOn(announce: Rebroadcast): void {
    const from = this.#parts.over(announce.key);
    if (from === undefined) {
      return;
    }
    const { key, hops, emitted, packet } = announce;
    const paced = { key, hops, emitted, packet, source: from.name };
    for (const iface of this.#parts.sending()) {
      if (isProgram(iface)) {
        // They were told when it came.
        continue;
      }
      if (passesAnnounce(iface.policy ?? {}, from.policy ?? {}) && packet.length <= iface.mtu) {
        this.#pacer(iface).offer(paced);
      }
    }
  }

  #pacer(iface: InterfaceHandle): AnnouncePacer {
    const { clock, counters } = this.#parts;
    return this.#pacers.getOrInsertComputed(
      iface,
      () =>
        new AnnouncePacer({
          clock,
          counters,
          iface,
          room: this.#room,
          send: packet => this.#transmit(packet, iface, 'hearsay'),
        }),
    );
  }
}
