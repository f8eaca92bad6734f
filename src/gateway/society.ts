import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { type BlockBook, createBlocks } from './blocks.ts';
import type { Bridge } from './bridge.ts';
import type { ClientBook } from './clients.ts';
import type { Client, HubFacts } from './desk.ts';
import { createDirectory, type DirectoryBook } from './directory.ts';
import type { Limits } from './limits.ts';
import { type Address, schemeOf, shownName } from './message.ts';
import { plainName } from './names.ts';
import type { Outbox } from './outbox.ts';
import { isKept } from './own-rooms.ts';
import { createPeerNotes, type PeerNotes } from './peer-notes.ts';
import type { Residents } from './residents.ts';
import { type ConfiguredRooms, createRoomBook, type RoomBook } from './room-book.ts';
import type { RoomInForce } from './room-overlay.ts';
import { createRouteBook, type RouteBook } from './route-book.ts';
import type { RouteRule } from './route-rule.ts';
import { membersOf, type RoutingFacts } from './router.ts';
import { createRoutes, type Routes } from './routes.ts';
import type { Store } from './store/store.ts';
import { straysIn } from './strays.ts';

export interface SocietyParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly limits: Limits;
  readonly hub: HubFacts;
  readonly bridges: readonly Bridge[];
  readonly residents: Residents;
  readonly clients: ClientBook;
  readonly outbox: Outbox;
  readonly rooms: ConfiguredRooms;
  readonly routes: readonly RouteRule[];
  /** A room is gone and its address with it, or one is there that has none. */
  readonly onMoved: () => void;
}

/** Whom the hub knows, who is in which room, and by which rules others hear of it; all of it changes while the hub runs. */
export interface Society {
  readonly notes: PeerNotes;
  readonly blocks: BlockBook;
  readonly directory: DirectoryBook;
  readonly book: RoomBook;
  readonly routes: Routes;
  readonly routeBook: RouteBook;
  /** What the router goes by, as it is now. */
  routing(): RoutingFacts;
  membersOf(room: string): readonly Address[];
  roomExists(room: string): boolean;
  roomsOf(client: Client): readonly string[];
  /** A far side's own place for a room. */
  placesOf(room: string): readonly Address[];
  /** Who is in a room without anybody having put them there. */
  automatic(room: string): { readonly tokens: readonly Address[]; readonly bridges: readonly Address[] };
  /** How people call whoever has the address. */
  nameOf(address: Address): string;
  /** Deliveries on disk that are not to go any more, and why, though nobody has called them back. */
  strays(): ReadonlyMap<string, string>;
  /** Calls them back. Resolves when it is on disk, as far as that takes it now. */
  callBackStrays(strays: ReadonlyMap<string, string>): Promise<void>;
  /** The configuration is another one. What of it the disk cannot take now is logged; it is in force all the same. */
  adopt(rooms: ConfiguredRooms, routes: readonly RouteRule[]): Promise<void>;
}

export function createSociety(parts: SocietyParts): Society {
  const { store, clock, random, log, counters, limits, hub, residents, clients, outbox } = parts;
  const bridges = new Map(parts.bridges.map(bridge => [bridge.name, bridge]));
  const notes = createPeerNotes(store);
  const blocks = createBlocks({ store, clock, onBlocked: cancelBlocked });
  const pinned = new Set<Address>();
  const directory = createDirectory({ store, clock, log, limits, pinned, notes, blocks });

  const routes = createRoutes({
    rules: [],
    clock,
    counters,
    facts: { hub, nameOf: personName },
  });
  const book = createRoomBook({
    store,
    clock,
    residents,
    configured: parts.rooms,
    limit: limits.residents,
    membersLimit: limits.members,
    audience: (name, room) =>
      (membersOf(name, { ...routing(), rooms: { [name]: room } }) ?? []).filter(isApp),
    onChange: roomChanged,
  });
  const routeBook = createRouteBook({
    store,
    clock,
    random,
    routes,
    configured: parts.routes,
    limit: limits.routes,
    onChange: () => pin(),
  });
  const tellsWhenSent = (bridge: string) => bridges.get(bridge)?.carries.tellsWhenSent === true;
  /** The rooms in force, with the places that far sides have for them. */
  let rooms: RoutingFacts['rooms'] = {};
  furnish();
  const routing = (): RoutingFacts => ({
    hubLxmf: hub.lxmf,
    rooms,
    clients: clients.active(),
    reaches(address) {
      const bridge = bridges.get(schemeOf(address));
      return bridge === undefined
        ? undefined
        : (bridge.reaches?.(address) ?? address.length > bridge.name.length + 1);
    },
    routes: routes.rules,
    headOf: store.read.headOf,
    reachedBy: id => store.read.reachedBy(id, tellsWhenSent),
    partyAt: residents.at,
    hubMembers: parts.bridges.flatMap(bridge => bridge.hubMembers ?? []),
    consentOf: address => notes.get(address)?.consent,
    isBlocked: blocks.has,
  });
  const roomExists = (room: string) => membersOf(room, routing()) !== undefined;
  const isApp = (address: Address) => schemeOf(address) === 'app';

  function placesOf(room: string): readonly Address[] {
    return isKept(room) ? [] : parts.bridges.flatMap(bridge => bridge.placeOf?.(room) ?? []);
  }

  /** Makes the rooms known to those who go by them. */
  function furnish(): void {
    rooms = Object.fromEntries(
      Object.entries(book.rooms).map(([name, room]) => [
        name,
        { ...room, members: [...room.members, ...placesOf(name)] },
      ]),
    );
    pin();
    const own = Object.fromEntries(Object.entries(book.rooms).filter(([name]) => !isKept(name)));
    for (const bridge of parts.bridges) {
      bridge.onRooms?.(own);
    }
  }

  /** Whom rooms and routes name is not forgotten. */
  function pin(): void {
    const addresses = [
      ...Object.values(book.rooms).flatMap(({ members }) => members),
      ...routes.rules.flatMap(({ to }) => to),
    ];
    directory.keep(addresses.filter(address => !pinned.has(address)));
    pinned.clear();
    for (const address of addresses) {
      pinned.add(address);
    }
  }

  /** A room is another one: what waits for who is not in it any more is called back. */
  function roomChanged(name: string, before: RoomInForce | undefined, after: RoomInForce | undefined): void {
    const was = before?.members ?? [];
    furnish();
    const members = new Set(after === undefined ? [] : (membersOf(name, routing()) ?? []));
    const left = new Set([...was, ...placesOf(name)].filter(address => !members.has(address)));
    const reason = after === undefined ? `the room ${name} is gone` : `not in the room ${name} any more`;
    callBack(
      () => store.read.waitingOf(`room:${name}`).filter(({ recipient }) => left.has(recipient)),
      reason,
    ).catch(error =>
      log.warn({ code: codeOf(error) }, 'what waited for a former member was not called back'),
    );
    // One that is made anew may find its address being taken away.
    if (after === undefined || (!isKept(name) && residents.of(`room:${name}`) === undefined)) {
      parts.onMoved();
    }
  }

  /** What waits for somebody who is blocked now is called back. */
  function cancelBlocked(): Promise<void> {
    return callBack(
      () => store.read.openDeliveries().filter(({ recipient }) => blocks.has(recipient)),
      'its recipient is blocked',
    );
  }

  /**
   * Calls back what waits and is not to go any more. What was routed just before the change is being written now: an empty
   * commit behind it waits for that.
   */
  async function callBack(find: () => readonly { readonly id: string }[], reason: string): Promise<void> {
    await store.committer.commit('events.add', { events: [] }).catch(() => undefined);
    await outbox.cancel(
      find().map(({ id }) => id),
      reason,
    );
  }

  /** Who is in a room without anybody having put them there. */
  function automatic(room: string) {
    const { [room]: _, ...others } = rooms;
    const facts = { ...routing(), rooms: { ...others, [room]: { members: [] } } };
    const all = membersOf(room, facts) ?? [];
    return {
      tokens: all.filter(isApp),
      bridges: all.filter(address => !isApp(address)),
    };
  }
  const roomsOf = (client: Client) => {
    const facts = routing();
    const known = new Set([...Object.keys(rooms), ...client.rooms]);
    return [...known].filter(room => membersOf(room, facts)?.includes(`app:${client.name}`) === true);
  };

  /** How people call whoever has the address. */
  function personName(address: Address): string {
    const known = residents.of(address)?.name ?? directory.nameOf(address);
    return known ?? shownName(plainName(address)) ?? schemeOf(address);
  }

  return {
    notes,
    blocks,
    directory,
    book,
    routes,
    routeBook,
    routing,
    membersOf: room => membersOf(room, routing()) ?? [],
    roomExists,
    roomsOf,
    placesOf,
    automatic,
    nameOf: personName,
    strays: () =>
      new Map(
        straysIn(store.read.waiting(), routing(), store.read.message).map(({ id, reason }) => [id, reason]),
      ),
    async callBackStrays(strays) {
      for (const [reason, some] of Map.groupBy(strays, ([, why]) => why)) {
        const ids = some.map(([id]) => id);
        await outbox
          .cancel(ids, reason)
          .catch(error =>
            log.warn({ code: codeOf(error) }, 'what is not to go any more was not called back'),
          );
      }
    },
    async adopt(wanted, rules) {
      for (const adopting of [routeBook.adopt(rules), book.adopt(wanted)]) {
        await adopting.catch(error => {
          log.warn({ code: codeOf(error) }, 'a change of the configuration could not be noted on disk');
        });
      }
    },
  };
}
