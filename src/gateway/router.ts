import { GatewayError } from '../lib/errors.ts';
import type { Client } from './desk.ts';
import { type Address, type Message, nameOf, schemeOf } from './message.ts';

/** What the router knows of the world; nothing of it is asked for anywhere else. */
export interface RoutingFacts {
  /** 32 hex digits: the hub's own LXMF delivery destination. */
  readonly hubLxmf: string;
  /** Rooms of the configuration and their members. */
  readonly rooms: Readonly<Record<string, { readonly members: readonly Address[] }>>;
  /** Holders of valid tokens. */
  readonly clients: readonly Pick<Client, 'name' | 'scopes' | 'rooms'>[];
  /** What the bridge of a scheme says of an address; undefined where there is no such bridge. */
  readonly reaches: (address: Address) => boolean | undefined;
  /** Whose an address on a mesh is, where it is a local party's own. */
  readonly partyAt: (address: Address) => Address | undefined;
  /** Who is in the hub's own room because a bridge asks for it. */
  readonly hubMembers: readonly Address[];
  /** The sender of a message that is known. */
  readonly senderOf: (id: string) => Address | undefined;
}

/** Who gets a message, one delivery each. */
export interface Routing {
  readonly to: Address;
  readonly recipients: readonly Recipient[];
}

export interface Recipient {
  readonly bridge: string;
  readonly address: Address;
}

/** Rooms the hub keeps by itself. */
export const hubRoom = 'hub';
export const sensorRoom = 'sensors';

/**
 * Where a message is going and who gets it: never who it came from, unless an app writes to its own
 * address by name, and nobody twice. `origin` is where it was said, if that is not its sender. Throws
 * `request/not-found` where nobody has the address.
 */
export function route(
  message: Pick<Message, 'from' | 'to' | 'inReplyTo'>,
  facts: RoutingFacts,
  origin?: Address,
): Routing {
  const to = resolveHub(message, facts);
  if (schemeOf(to) === 'room') {
    const room = nameOf(to);
    const members = membersOf(room, facts);
    if (members === undefined) {
      throw notFound(`there is no room ${room}`);
    }
    const addresses = new Set(members);
    addresses.delete(message.from);
    if (origin !== undefined) {
      addresses.delete(origin);
    }
    return { to, recipients: [...addresses].flatMap(address => recipient(address, facts) ?? []) };
  }
  const one = recipient(to, facts);
  if (one === undefined) {
    throw notFound(`nobody has the address ${to.slice(0, 200)}`);
  }
  const echo = to === origin || (to === message.from && one.bridge !== 'app');
  return { to, recipients: echo ? [] : [one] };
}

/** Who is in a room: the configuration's members and the clients that were minted with it. */
export function membersOf(room: string, facts: RoutingFacts): readonly Address[] | undefined {
  const configured = Object.hasOwn(facts.rooms, room) ? facts.rooms[room]?.members : undefined;
  if (configured === undefined && room !== hubRoom && room !== sensorRoom) {
    return undefined;
  }
  const asked = room === hubRoom ? facts.hubMembers : [];
  const readers = facts.clients.filter(client => isMember(client, room)).map(client => `app:${client.name}`);
  return [...(configured ?? []), ...asked, ...readers];
}

/** Whether a client was minted into a room and may read what is said there. */
export function isMember(client: Pick<Client, 'scopes' | 'rooms'>, room: string): boolean {
  const mayRead = client.scopes.includes('messages:read') || client.scopes.includes('admin');
  return mayRead && client.rooms.includes(room);
}

function resolveHub(message: Pick<Message, 'to' | 'inReplyTo'>, facts: RoutingFacts): Address {
  if (message.to !== `lxmf:${facts.hubLxmf}`) {
    return facts.partyAt(message.to) ?? message.to;
  }
  const sender = message.inReplyTo === undefined ? undefined : facts.senderOf(message.inReplyTo);
  const known = sender !== undefined && schemeOf(sender) === 'app' && recipient(sender, facts) !== undefined;
  return known ? sender : `room:${hubRoom}`;
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
