import { createHash } from 'node:crypto';
import { toHex } from '../../src/lib/bytes.ts';
import type { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import { decodeAnnounce, verifyAnnounce } from '../../src/mesh/reticulum/announce.ts';
import { PublicIdentity } from '../../src/mesh/reticulum/identity.ts';
import type { InterfaceMode } from '../../src/mesh/reticulum/interface-policy.ts';
import { decodePacket } from '../../src/mesh/reticulum/packet.ts';

/*
 * What a transport node may send, by the rules and not by our code: it is given every packet that came in and every
 * packet that goes out, and says of each that goes out why it may, or that it must not. It reads packets by itself.
 *
 * Source: SPEC.md §2, §6, §7 and §12; the rules of RNS 1.5.7.
 */

/** An interface of the node that is watched. */
export interface Watched {
  readonly name: string;
  readonly mode: InterfaceMode;
  readonly accessCode?: AccessCode;
}

export interface RulesParts {
  readonly transportId: Uint8Array;
  /** Hashes (hex) of the node's own destinations. */
  readonly own: () => ReadonlySet<string>;
  /** Ids (hex) of links that begin or end at the node now. */
  readonly ownLinks: () => ReadonlySet<string>;
  /** What is known of a destination: its keys (64 B) and the data of its last announce. */
  readonly known: (
    destination: string,
  ) => { readonly publicKey: Uint8Array; readonly announce: Uint8Array } | undefined;
}

interface Head {
  readonly hops: number;
  readonly transportId: string | undefined;
  readonly destinationType: number;
  readonly packetType: number;
  readonly destination: string;
  readonly context: number;
  readonly data: Uint8Array;
}

/** One way on which a packet came in. */
interface Came {
  readonly on: Watched;
  readonly hops: number;
  /** Whether it was addressed to the node for carrying. */
  readonly forCarrying: boolean;
}

/** An announce, told by its data, and the ways on which it came. */
interface Announced {
  readonly destination: string;
  readonly data: Uint8Array;
  readonly ways: Came[];
}

interface Carried {
  /** Hash, or of a link request the link's id. */
  readonly id: string;
  readonly destination: string;
  /** Where it may have come from: the same packet may have come over several. */
  readonly from: ReadonlySet<Watched>;
  readonly to: Watched;
  /** A link request: the proof passed. */
  proven: boolean;
}

const [single, group, plain, link] = [0, 1, 2, 3];
const [data, announce, linkRequest, proof] = [0, 1, 2, 3];
const pathResponse = 0x0b;
const linkRequestProof = 0xff;
const pathRequests = '6b9f66014d9853faab220fba47d02761';
const keptMost = 60_000;

/** Judges what a node sends. */
export class Rules {
  readonly #parts: RulesParts;
  /** By packet hash, or of link requests by link id: all ways on which it came, in two generations. */
  #came = new Map<string, Came[]>();
  #before = new Map<string, Came[]>();
  /** By destination and hash of the data; what the node may still tell outlasts a generation. */
  #announced = new Map<string, Announced>();
  #announcedBefore = new Map<string, Announced>();
  /** Who was asked about, by interface and destination. */
  #asked = new Set<string>();
  #askedBefore = new Set<string>();
  /** Packets carried, by truncated hash. */
  #carried = new Map<string, Carried>();
  #carriedBefore = new Map<string, Carried>();
  /** Links carried, by id. */
  readonly #links = new Map<string, Carried>();
  #taken = 0;
  readonly counts = { own: 0, announces: 0, answers: 0, packets: 0, proofs: 0, links: 0, searches: 0 };

  constructor(parts: RulesParts) {
    this.#parts = parts;
  }

  /** A packet came in; the bytes are not kept. */
  cameIn(bytes: Uint8Array, on: Watched): void {
    const opened = open(bytes, on);
    if (opened !== undefined) {
      this.cameInClear(opened, on);
    }
  }

  /** The same for one that is opened already. */
  cameInClear(opened: Uint8Array, on: Watched): void {
    const head = read(opened);
    if (head === undefined || head.hops > 127) {
      return;
    }
    this.#turn();
    const came = { on, hops: head.hops, forCarrying: head.transportId === toHex(this.#parts.transportId) };
    if (head.packetType === announce) {
      this.#announced
        .getOrInsertComputed(announceKey(head), () => ({
          destination: head.destination,
          data: new Uint8Array(head.data),
          ways: [],
        }))
        .ways.push(came);
      return;
    }
    if (head.destination === pathRequests && head.destinationType === plain && head.packetType === data) {
      this.#asked.add(`${on.name} ${toHex(head.data.subarray(0, 16))}`);
    }
    this.#came.getOrInsertComputed(idOf(opened, head), () => []).push(came);
  }

  /** Why a packet that goes out must not; undefined where it may. */
  violation(bytes: Uint8Array, on: Watched): string | undefined {
    if (((bytes[0]! & 0x80) !== 0) !== (on.accessCode !== undefined)) {
      return 'sealed where it must not be, or not where it must';
    }
    const opened = open(bytes, on);
    const head = opened && read(opened);
    if (opened === undefined || head === undefined) {
      return 'cannot be read';
    }
    if (head.hops > 127) {
      return 'too many hops';
    }
    if (head.packetType === announce) {
      return this.#announce(opened, head, on);
    }
    if (head.destinationType === plain || head.destinationType === group) {
      return this.#oneHop(opened, head);
    }
    if (head.destinationType === link && head.packetType !== linkRequest) {
      return this.#link(opened, head, on);
    }
    return head.packetType === proof ? this.#proof(opened, head, on) : this.#single(opened, head, on);
  }

  #announce(bytes: Uint8Array, head: Head, on: Watched): string | undefined {
    const isAnswer = head.context === pathResponse;
    if (bytes.length > 500) {
      return 'an announce longer than 500 bytes';
    }
    if (!isSigned(bytes)) {
      return 'an announce that nobody signed';
    }
    if (this.#parts.own().has(head.destination)) {
      this.counts.own += 1;
      return head.hops === 0 && head.transportId === undefined
        ? undefined
        : 'an announce of its own as somebody else’s';
    }
    if (head.transportId !== toHex(this.#parts.transportId)) {
      return 'an announce that does not say through whom it came';
    }
    if (head.destinationType !== single) {
      return 'an announce of something that has no keys';
    }
    const key = announceKey(head);
    const ways = [this.#announced, this.#announcedBefore].flatMap(of => of.get(key)?.ways ?? []);
    const isFrom = ({ hops }: Came) => hops + 1 === head.hops;
    let same = ways.filter(isFrom);
    if (isAnswer && same.length === 0 && ways.length > 0) {
      // Whoever announces twice in a second is told of by the later words, and by the way of the earlier.
      same = this.#twinsOf(head).filter(isFrom);
    }
    if (same.length === 0) {
      return `an announce of ${head.hops} hops that nobody sent from there`;
    }
    if (isAnswer) {
      this.counts.answers += 1;
      const asked = `${on.name} ${head.destination}`;
      return this.#asked.has(asked) || this.#askedBefore.has(asked)
        ? undefined
        : 'an answer that nobody asked for';
    }
    this.counts.announces += 1;
    return same.some(({ on: from }) => passes(on.mode, from.mode))
      ? undefined
      : `an announce over an interface of mode ${on.mode}`;
  }

  /**
   * PLAIN and GROUP go one hop: what leaves is the node's own. What is addressed to it for carrying leaves once more,
   * as the reference does it, and nobody takes it then.
   */
  #oneHop(bytes: Uint8Array, head: Head): string | undefined {
    if (head.hops > 0) {
      const isCarried =
        head.hops === 1 && this.#recent(idOf(bytes, head)).some(came => came.forCarrying && came.hops === 0);
      return isCarried ? undefined : 'a plain or group packet that was passed on';
    }
    if (head.destination !== pathRequests) {
      return 'a plain or group packet to somebody';
    }
    this.counts.searches += 1;
    return undefined;
  }

  #single(bytes: Uint8Array, head: Head, on: Watched): string | undefined {
    if (head.hops === 0) {
      this.counts.own += 1;
      return this.#recent(hashOf(bytes)).length === 0 ? undefined : 'somebody else’s packet as its own';
    }
    if (this.#parts.own().has(head.destination)) {
      return 'a packet for itself';
    }
    const isRequest = head.packetType === linkRequest;
    const id = idOf(bytes, head);
    const ways = this.#recent(id).filter(came => came.forCarrying && came.hops + 1 === head.hops);
    if (ways.length === 0) {
      return 'a packet that was not addressed to it for carrying, or with other hops';
    }
    if (head.transportId === toHex(this.#parts.transportId)) {
      return 'a packet addressed to itself for carrying';
    }
    const from = new Set(ways.map(way => way.on));
    const carried = { id, destination: head.destination, from, to: on, proven: false };
    if (!isRequest) {
      this.#carried.set(id.slice(0, 32), carried);
      this.counts.packets += 1;
      return undefined;
    }
    if (this.#links.get(id)?.proven !== true) {
      this.#links.set(id, carried);
    }
    this.counts.links += 1;
    return undefined;
  }

  /** The proof of a single packet goes back the way the packet came. */
  #proof(bytes: Uint8Array, head: Head, on: Watched): string | undefined {
    if (head.hops === 0) {
      this.counts.own += 1;
      return undefined;
    }
    const carried = this.#carried.get(head.destination) ?? this.#carriedBefore.get(head.destination);
    if (carried === undefined) {
      return 'a proof of a packet that it did not carry';
    }
    // What may be repeated, as packets of a Channel, may have come once more and not have left yet.
    const cameHere = this.#recent(carried.id).some(came => came.forCarrying && came.on === on);
    if (!(carried.from.has(on) || cameHere)) {
      return 'a proof that does not go back where its packet came from';
    }
    this.counts.proofs += 1;
    const ways = this.#recent(hashOf(bytes));
    return ways.some(came => came.on === carried.to && came.hops + 1 === head.hops)
      ? undefined
      : 'a proof that did not come from where its packet went';
  }

  #link(bytes: Uint8Array, head: Head, on: Watched): string | undefined {
    if (head.hops === 0) {
      this.counts.own += 1;
      return undefined;
    }
    if (this.#parts.ownLinks().has(head.destination)) {
      return 'a packet of a link of its own that was passed on';
    }
    const carried = this.#links.get(head.destination);
    if (carried === undefined) {
      return 'a packet of a link that does not go through here';
    }
    if (on !== carried.to && !carried.from.has(on)) {
      return 'a packet of a link that does not go this way';
    }
    const ways = this.#recent(hashOf(bytes)).filter(
      came =>
        came.hops + 1 === head.hops &&
        ((on === carried.to && carried.from.has(came.on)) ||
          (carried.from.has(on) && came.on === carried.to)),
    );
    if (ways.length === 0) {
      return 'a packet of a link that did not come from its other side, or with other hops';
    }
    this.counts.links += 1;
    if (head.packetType === proof && head.context === linkRequestProof) {
      if (!carried.from.has(on)) {
        return 'a link proof that goes on instead of back';
      }
      const keys = this.#parts.known(carried.destination)?.publicKey;
      if (keys === undefined || !provesLink(head, keys)) {
        return 'a link proof that its destination did not sign';
      }
      carried.proven = true;
      return undefined;
    }
    return carried.proven ? undefined : 'a packet of a link that was not proven';
  }

  /** Ways on which other announces of the same second came. */
  #twinsOf(head: Head): Came[] {
    return [this.#announced, this.#announcedBefore]
      .flatMap(of => [...of.values()])
      .filter(one => one.destination === head.destination && secondOf(one.data) === secondOf(head.data))
      .flatMap(({ ways }) => ways);
  }

  #recent(hash: string): Came[] {
    return [...(this.#came.get(hash) ?? []), ...(this.#before.get(hash) ?? [])];
  }

  /** What is too long ago to be carried is forgotten: an hour of this is more than memory holds. */
  #turn(): void {
    this.#taken += 1;
    if (this.#taken % keptMost !== 0) {
      return;
    }
    this.#before = this.#came;
    this.#came = new Map();
    this.#askedBefore = this.#asked;
    this.#asked = new Set();
    this.#carriedBefore = this.#carried;
    this.#carried = new Map();
    const told = [...this.#announcedBefore].filter(([, { destination, data: said }]) => {
      const known = this.#parts.known(destination);
      return known !== undefined && Buffer.compare(known.announce, said) === 0;
    });
    this.#announcedBefore = this.#announced;
    this.#announced = new Map(told);
  }
}

/** Whether announces of what is reached over an interface of one mode go out of another. */
function passes(to: InterfaceMode, from: InterfaceMode): boolean {
  switch (to) {
    case 'access-point':
      return false;
    case 'roaming':
      return from !== 'roaming' && from !== 'boundary';
    case 'boundary':
      return from !== 'roaming';
    case 'internal':
      return from !== 'boundary';
    default:
      return true;
  }
}

function open(bytes: Uint8Array, on: Watched): Uint8Array | undefined {
  if (on.accessCode === undefined) {
    return bytes;
  }
  try {
    return on.accessCode.open(new Uint8Array(bytes));
  } catch {
    return undefined;
  }
}

function announceKey({ destination, data: said }: Head): string {
  return `${destination} ${createHash('sha256').update(said).digest('hex')}`;
}

function read(bytes: Uint8Array): Head | undefined {
  const at = (bytes[0]! & 0x40) === 0 ? 2 : 18;
  if (bytes.length < at + 18 || (bytes[0]! & 0x80) !== 0) {
    return undefined;
  }
  return {
    hops: bytes[1]!,
    transportId: at === 2 ? undefined : toHex(bytes.subarray(2, 18)),
    destinationType: (bytes[0]! >> 2) & 3,
    packetType: bytes[0]! & 3,
    destination: toHex(bytes.subarray(at, at + 16)),
    context: bytes[at + 16]!,
    data: bytes.subarray(at + 17),
  };
}

/** SHA-256 over the low half of the flags and everything after the hops but the transport id; hex. */
function hashOf(bytes: Uint8Array, without = 0): string {
  const at = (bytes[0]! & 0x40) === 0 ? 2 : 18;
  return createHash('sha256')
    .update(Uint8Array.of(bytes[0]! & 0x0f))
    .update(bytes.subarray(at, bytes.length - without))
    .digest('hex');
}

/** What a packet is known by on its way: the MTU that a link request signals is made smaller on it, or left out. */
/** Hex of the second in which an announce was made. Source: SPEC.md §4: the last 5 of 10 random bytes after keys and name. */
function secondOf(said: Uint8Array): string {
  return toHex(said.subarray(79, 84));
}

function idOf(bytes: Uint8Array, head: Head): string {
  return head.packetType === linkRequest ? linkIdOf(bytes, head) : hashOf(bytes);
}

/** The truncated hash of a request without the three bytes that signal an MTU. */
function linkIdOf(bytes: Uint8Array, head: Head): string {
  return hashOf(bytes, Math.max(0, head.data.length - 64)).slice(0, 32);
}

function isSigned(bytes: Uint8Array): boolean {
  try {
    const packet = decodePacket(bytes);
    const { publicKey } = decodeAnnounce(packet);
    return verifyAnnounce(packet, decodeAnnounce(packet), new PublicIdentity(publicKey));
  } catch {
    return false;
  }
}

/** The signature is over link id, key of the link, the destination's signing key and what is signalled. */
function provesLink({ destination, data: body }: Head, keys: Uint8Array): boolean {
  const signed = Buffer.concat([
    Buffer.from(destination, 'hex'),
    body.subarray(64, 96),
    keys.subarray(32, 64),
    body.subarray(96),
  ]);
  return new PublicIdentity(keys).verify(body.subarray(0, 64), signed);
}
