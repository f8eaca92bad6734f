import { GatewayError } from '../lib/errors.ts';
import type { Client } from './desk.ts';
import { type Address, type Message, nameOf, type Priority, schemeOf } from './message.ts';
import type { Missed } from './missed.ts';
import { hubRoom, isKept } from './own-rooms.ts';
import { matches, type RouteRule } from './route-rule.ts';
import type { Ruling } from './ruling.ts';
import type { Consent } from './society-contract.ts';

/** What the router knows of the world; nothing of it is asked for anywhere else. */
export interface RoutingFacts {
  /** 32 hex digits: the hub's own LXMF delivery destination. */
  readonly hubLxmf: string;
  /** Rooms in force, and who is in them; `removed` are not, whatever else would make them members. */
  readonly rooms: Readonly<
    Record<
      string,
      {
        readonly members: readonly Address[];
        readonly removed?: readonly Address[];
        /** Members who have not agreed yet. */
        readonly asked?: readonly Address[];
      }
    >
  >;
  /** Who else gets what is said in the hub's own rooms. */
  readonly routes: readonly RouteRule[];
  /** Holders of valid tokens. */
  readonly clients: readonly Pick<Client, 'name' | 'scopes' | 'rooms'>[];
  /** What the bridge of a scheme says of an address; undefined where there is no such bridge. */
  readonly reaches: (address: Address) => boolean | undefined;
  /** Whose an address on a mesh is, where it is a local party's own. */
  readonly partyAt: (address: Address) => Address | undefined;
  /** Who is in the hub's own room because a bridge asks for it. */
  readonly hubMembers: readonly Address[];
  /** Who sent a message that is known, and where to. */
  readonly headOf: (id: string) => { readonly from: Address; readonly to: Address } | undefined;
  /** Whom a message that is known was for, whether it has reached them or will, and what the rules said that added them. */
  readonly reachedBy: (id: string) => readonly Reached[];
  /** What somebody has said of getting what is said in rooms. */
  readonly consentOf?: (address: Address) => Consent | undefined;
  /** Whether nothing at all goes to an address. */
  readonly isBlocked?: (address: Address) => boolean;
}

/** Who got a message, and by what. */
export interface Reached {
  readonly address: Address;
  readonly ruling?: Ruling;
  /** It ended so, without reaching them. */
  readonly missed?: Missed;
}

/** Who gets a message, one delivery each. */
export interface Routing {
  readonly to: Address;
  readonly recipients: readonly Recipient[];
}

export interface Recipient {
  readonly bridge: string;
  readonly address: Address;
  /** The place of the rule in the routes that adds it; absent where it is meant anyway. */
  readonly route?: number;
  /** Instead of the message's own. */
  readonly priority?: Priority;
  /** What a rule said of the message that is changed, where one added it to that. */
  readonly ruling?: Ruling;
  /** The message that is changed has not reached them: they are told nothing, and the sender that. */
  readonly missed?: Missed;
}

type Routed = Pick<Message, 'from' | 'to' | 'inReplyTo' | 'type'> & Partial<Pick<Message, 'priority'>>;

/**
 * Where a message is going and who gets it: never who it came from, unless an app writes to its own
 * address by name, and nobody twice, by whichever of their addresses. `origin` is where it was said, if that is not
 * its sender. Throws `request/not-found` where nobody has the address, `request/forbidden` where it is blocked.
 *
 * To a room: its members; whoever is answered, where that is somebody outside who wrote to the room; and whoever a route
 * adds, of the hub's own rooms most of all. What its sender changes or takes back is for those whom that was for and for nobody
 * else, whoever is in the room by now and whatever rules there are; `missed` says of whom it did not reach.
 */
export function route(message: Routed, facts: RoutingFacts, origin?: Address): Routing {
  const to = destinationOf(message, facts);
  if (schemeOf(to) === 'room') {
    return { to, recipients: recipientsIn(to, message, facts, origin) };
  }
  if (facts.isBlocked?.(to) === true) {
    const detail = `${to.slice(0, 200)} is blocked`;
    throw new GatewayError('request/forbidden', detail, { errors: [{ pointer: '/to', detail }] });
  }
  const one = recipient(to, facts);
  if (one === undefined) {
    if (message.to === `lxmf:${facts.hubLxmf}` && changed(message, facts) === to) {
      // Whom it is for is not there any more: it is kept beside what it changes, and concerns nobody else.
      return { to, recipients: [] };
    }
    throw notFound(`nobody has the address ${to.slice(0, 200)}`);
  }
  const wasSaidThere = origin !== undefined && to === here(origin, facts);
  const echo = wasSaidThere || (to === here(message.from, facts) && one.bridge !== 'app');
  const missed = changedBy(to, message, facts)?.find(({ address }) => address === to)?.missed;
  return { to, recipients: echo ? [] : [missed === undefined ? one : { ...one, missed }] };
}

/** Who gets what is said in a room: its members who want it. */
function receiversOf(room: string, facts: RoutingFacts): readonly Address[] {
  const asked = (Object.hasOwn(facts.rooms, room) ? facts.rooms[room]?.asked : undefined) ?? [];
  const members = membersOf(room, facts) ?? [];
  return asked.length === 0
    ? members
    : members.filter(one => !asked.includes(one) || facts.consentOf?.(one) === 'given');
}

/** Whether rooms and routes have nothing for an address. */
function isOut(address: Address, facts: RoutingFacts): boolean {
  return facts.consentOf?.(address) === 'refused' || facts.isBlocked?.(address) === true;
}

/** Who is in a room: the members it was given and the clients that were minted with it, without those taken out of it. */
export function membersOf(room: string, facts: RoutingFacts): readonly Address[] | undefined {
  const given = Object.hasOwn(facts.rooms, room) ? facts.rooms[room] : undefined;
  if (given === undefined && !isKept(room)) {
    return undefined;
  }
  const asked = room === hubRoom ? facts.hubMembers : [];
  const readers = facts.clients.filter(client => isMember(client, room)).map(client => `app:${client.name}`);
  const all = [...(given?.members ?? []), ...asked, ...readers];
  const removed = given?.removed ?? [];
  return removed.length === 0 ? all : all.filter(address => !removed.includes(address));
}

/** Whether a client was minted into a room and may read what is said there. */
export function isMember(client: Pick<Client, 'scopes' | 'rooms'>, room: string): boolean {
  const mayRead = client.scopes.includes('messages:read') || client.scopes.includes('admin');
  return mayRead && client.rooms.includes(room);
}

function recipientsIn(
  to: Address,
  message: Routed,
  facts: RoutingFacts,
  origin: Address | undefined,
): readonly Recipient[] {
  const room = nameOf(to);
  if (membersOf(room, facts) === undefined) {
    throw notFound(`there is no room ${room}`);
  }
  const passed = new Set([here(message.from, facts)]);
  if (origin !== undefined) {
    passed.add(here(origin, facts));
  }
  const found = new Map<Address, Recipient>();
  const add = (addresses: Iterable<Address>, how: Omit<Recipient, 'bridge' | 'address'> = {}) => {
    for (const address of addresses) {
      const left = passed.has(address) || found.has(address) || isOut(address, facts);
      const one = left ? undefined : recipient(address, facts);
      if (one !== undefined) {
        found.set(address, { ...one, ...how });
      }
    }
  };
  const reached = changedBy(to, message, facts);
  if (reached !== undefined) {
    for (const { address, ruling, missed } of reached) {
      const priority = ruling?.priority === undefined ? {} : { priority: ruling.priority };
      add([address], { ...(ruling && { ruling }), ...(missed && { missed }), ...priority });
    }
    return [...found.values()];
  }
  add(inside([to], facts));
  add(inside(related(to, message, facts), facts));
  for (const [index, rule] of facts.routes.entries()) {
    if (matches(rule, { ...message, to })) {
      const priority = rule.priority === undefined ? {} : { priority: rule.priority };
      add(inside(rule.to, facts), { route: index, ...priority });
      if (rule.stop === true) {
        break;
      }
    }
  }
  return [...found.values()];
}

/** Who a message in a room concerns because of the one it names. */
function related(to: Address, message: Routed, facts: RoutingFacts): readonly Address[] {
  const target = message.inReplyTo === undefined ? undefined : facts.headOf(message.inReplyTo);
  return target?.to === to ? [target.from] : [];
}

/** Where the message goes that is changed or taken back by whoever said it; undefined where none is. */
function changed(message: Routed, facts: RoutingFacts): Address | undefined {
  const target = isChange(message) ? facts.headOf(message.inReplyTo) : undefined;
  return target?.from === message.from ? target.to : undefined;
}

/** Whom the message was for that is changed or taken back there; undefined where none is. */
function changedBy(to: Address, message: Routed, facts: RoutingFacts): readonly Reached[] | undefined {
  return changed(message, facts) === to ? facts.reachedBy(message.inReplyTo ?? '') : undefined;
}

/** Whether a message is about changing another, or taking it back. */
export function isChange<M extends Pick<Message, 'type' | 'inReplyTo'>>(
  message: M,
): message is M & { readonly inReplyTo: string } {
  return (
    message.inReplyTo !== undefined && (message.type === 'chat.edit' || message.type === 'chat.redaction')
  );
}

/** Addresses as this hub knows them, and instead of its rooms, also of rooms in rooms, who is in them. */
function inside(addresses: Iterable<Address>, facts: RoutingFacts): Set<Address> {
  const people = new Set<Address>();
  const seen = new Set<Address>();
  const open = [...addresses];
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const address = here(next, facts);
    if (seen.has(address)) {
      continue;
    }
    seen.add(address);
    if (schemeOf(address) === 'room') {
      open.push(...receiversOf(nameOf(address), facts));
    } else {
      people.add(address);
    }
  }
  return people;
}

/** What an address is at this hub: its own address on the mesh is its room, a resident's is the resident. */
function here(address: Address, facts: RoutingFacts): Address {
  return address === `lxmf:${facts.hubLxmf}` ? `room:${hubRoom}` : (facts.partyAt(address) ?? address);
}

/**
 * The hub's own address is that of its room, but for an answer to an app or a person: that is for them alone. A change of
 * what was said there goes where that went.
 */
function destinationOf(message: Routed, facts: RoutingFacts): Address {
  if (message.to !== `lxmf:${facts.hubLxmf}`) {
    return facts.partyAt(message.to) ?? message.to;
  }
  const changes = changed(message, facts);
  if (changes !== undefined) {
    return changes;
  }
  const asked = message.inReplyTo === undefined ? undefined : facts.headOf(message.inReplyTo)?.from;
  const isPerson = asked !== undefined && (schemeOf(asked) === 'app' || asked.startsWith('matrix:@'));
  return isPerson && recipient(asked, facts) !== undefined ? asked : `room:${hubRoom}`;
}

function recipient(address: Address, facts: RoutingFacts): Recipient | undefined {
  const scheme = schemeOf(address);
  if (scheme === 'app') {
    return facts.clients.some(client => client.name === nameOf(address))
      ? { bridge: 'app', address }
      : undefined;
  }
  return facts.reaches(address) === true ? { bridge: scheme, address } : undefined;
}

function notFound(detail: string): GatewayError {
  return new GatewayError('request/not-found', detail, { errors: [{ pointer: '/to', detail }] });
}
