import { GatewayError } from '../lib/errors.ts';
import { holds, requireScope } from './access.ts';
import type { BlockBook } from './blocks.ts';
import type { Client, DeliveryState, DeliveryView } from './desk.ts';
import type { Address } from './message.ts';
import { hubRoom, isKept, sensorRoom } from './own-rooms.ts';
import type { PeerNotes } from './peer-notes.ts';
import type { Residents } from './residents.ts';
import type { RoomBook } from './room-book.ts';
import type { RoomInForce, WantedRoom } from './room-overlay.ts';
import type { Guard, MemberState, RoomDetail, RoomPatch, Rooms } from './society-contract.ts';
import type { Store } from './store/store.ts';

export interface RoomDeskParts {
  readonly store: Store;
  readonly book: RoomBook;
  readonly notes: PeerNotes;
  readonly blocks: Pick<BlockBook, 'has'>;
  readonly residents: Pick<Residents, 'of'>;
  /** The hub's own address on the mesh. */
  readonly hubAddress: Address;
  /** Everybody who is in a room. */
  readonly membersOf: (room: string) => readonly Address[];
  /** Who would be in a room without anybody having said so: by tokens, by bridges, the room's own place on a far side. */
  readonly automatic: (room: string) => {
    readonly tokens: readonly Address[];
    readonly bridges: readonly Address[];
  };
  /** A far side's own place for a room: it goes with the room. */
  readonly placesOf: (room: string) => readonly Address[];
  /** Rooms a client is a member of. */
  readonly roomsOf: (client: Client) => readonly string[];
  /** Whether somebody at an address can be asked, and so must be. */
  readonly isAsked: (address: Address) => boolean;
  /** A key by which a newcomer is told. */
  readonly newKey: () => string;
  /** Tells the newcomers of a room that they are in, or asks them. */
  readonly welcome: (room: string) => Promise<void>;
  readonly nameOf: (address: Address) => string | undefined;
  /** Why a delivery waits, where its row does not say. */
  readonly waitsFor: (delivery: string) => string | undefined;
}

/** Messages of a room that are looked through for a member's trouble. */
const looked = 100;

/** Rooms as clients see and change them. */
export function createRoomDesk(parts: RoomDeskParts): Rooms {
  const { store, book, notes, blocks, residents } = parts;

  function viewOf(name: string, room: RoomInForce) {
    return {
      name,
      members: [...new Set(parts.membersOf(name))],
      addresses: name === hubRoom ? [parts.hubAddress] : (residents.of(`room:${name}`)?.addresses ?? []),
      open: room.open,
      source: room.source,
      changed: room.changed,
    };
  }

  function troubles(room: string): ReadonlyMap<Address, MemberState['trouble']> {
    const found = new Map<Address, MemberState['trouble']>();
    for (const row of store.read.latestDeliveries(`room:${room}`, looked)) {
      if (found.has(row.recipient)) {
        continue;
      }
      const history = JSON.parse(row.history) as DeliveryView['history'];
      const isOpen = row.state === 'queued' || row.state === 'sending';
      // While it is tried again, why it did not get there before is what there is to say.
      const before = history.findLast(step => step.reason !== undefined)?.reason;
      const reason = isOpen ? (parts.waitsFor(row.id) ?? before) : (row.reason ?? undefined);
      if (['sent', 'delivered', 'read'].includes(row.state)) {
        found.set(row.recipient, undefined);
      } else if (isOpen ? reason !== undefined : row.state !== 'cancelled') {
        found.set(row.recipient, {
          message: row.message,
          state: isOpen ? 'queued' : (row.state as DeliveryState),
          at: history.at(-1)?.at ?? 0,
          ...(reason === undefined ? {} : { reason }),
          ...(row.code === null ? {} : { code: row.code }),
        });
      }
    }
    return found;
  }

  /** Who says of each address that it is in a room. */
  function sourcesOf(name: string, room: RoomInForce): (address: Address) => MemberState['source'] {
    const { tokens, bridges } = parts.automatic(name);
    const sources = new Map<Address, MemberState['source']>();
    const say = (source: MemberState['source'], addresses: readonly Address[]) => {
      for (const address of addresses) {
        sources.getOrInsert(address, source);
      }
    };
    say('api', book.addedTo(name));
    say('config', room.members);
    say('token', tokens);
    say('bridge', [...bridges, ...parts.placesOf(name)]);
    return address => sources.get(address) ?? 'config';
  }

  function detailOf(name: string, room: RoomInForce): RoomDetail {
    const view = viewOf(name, room);
    const sourceOf = sourcesOf(name, room);
    const trouble = troubles(name);
    const memberStates = view.members.map((address): MemberState => {
      const consent = room.asked.includes(address)
        ? (notes.get(address)?.consent ?? 'asked')
        : notes.get(address)?.consent;
      const known = parts.nameOf(address);
      const last = trouble.get(address);
      return {
        address,
        ...(known === undefined ? {} : { name: known }),
        source: sourceOf(address),
        ...(consent === undefined ? {} : { consent }),
        ...(blocks.has(address) ? { blocked: true } : {}),
        ...(last === undefined ? {} : { trouble: last }),
      };
    });
    return { ...view, memberStates };
  }

  /** The room, where the client may see it; throws `request/not-found` otherwise, so that nobody learns what there is. */
  function find(client: Client, name: string): RoomInForce {
    const room = book.get(name);
    const isMine = holds(client, 'admin') || (room !== undefined && parts.roomsOf(client).includes(name));
    if (room === undefined || !isMine) {
      throw new GatewayError('request/not-found', `there is no room ${name.slice(0, 64)}`);
    }
    return room;
  }

  function mayChange(client: Client, name: string): void {
    requireScope(client, 'rooms:write');
    find(client, name);
    if (isKept(name)) {
      requireScope(client, 'admin');
    }
  }

  /** Makes of a room what is wanted, in one change that says whom of its new members to tell; then they are told. */
  async function become(
    client: Client,
    name: string,
    next: (before: RoomInForce | undefined) => RoomPatch,
  ): Promise<RoomDetail> {
    const room = await book.put(name, before => {
      const patch = next(before);
      if (patch.consent !== undefined) {
        requireScope(client, 'admin');
      }
      const was = before === undefined ? [] : parts.membersOf(name);
      const wanted = [...new Set(patch.members ?? was)];
      const fresh = wanted.filter(member => !was.includes(member));
      for (const [index, member] of wanted.entries()) {
        if (fresh.includes(member)) {
          refuseUnwilling(member, patch.members?.length === wanted.length ? `/members/${index}` : '/members');
        }
      }
      const { tokens, bridges } = parts.automatic(name);
      const automatic = [...tokens, ...bridges];
      const places = parts.placesOf(name);
      const welcomed = fresh.filter(parts.isAsked);
      const asked =
        patch.consent === 'given' ? [] : welcomed.filter(one => notes.get(one)?.consent !== 'given');
      const stillAsked = (before?.asked ?? []).filter(one => wanted.includes(one));
      return {
        members: wanted.filter(member => !places.includes(member)),
        open: patch.open ?? before?.open ?? false,
        automatic,
        removed: automatic.filter(member => !wanted.includes(member)),
        asked: [...stillAsked, ...asked],
        untold: welcomed.map(address => ({ address, key: parts.newKey() })),
      } satisfies WantedRoom;
    });
    await parts.welcome(name);
    return detailOf(name, room);
  }

  function refuseUnwilling(member: Address, pointer: string): void {
    const detail = blocks.has(member)
      ? 'is blocked'
      : notes.get(member)?.consent === 'refused'
        ? 'has refused to be in rooms; the owner can change its consent in /v1/peers'
        : undefined;
    if (detail !== undefined) {
      throw new GatewayError('request/conflict', `${member} ${detail}`, { errors: [{ pointer, detail }] });
    }
  }

  const guarded = (guard: Guard<RoomDetail> | undefined, name: string, before: RoomInForce | undefined) =>
    guard?.(before === undefined ? undefined : detailOf(name, before));

  return {
    list(client) {
      requireScope(client, 'messages:read');
      const all = [...new Set([hubRoom, sensorRoom, ...Object.keys(book.rooms)])].sort();
      const mine = holds(client, 'admin') ? all : parts.roomsOf(client);
      return all.filter(name => mine.includes(name)).map(name => viewOf(name, book.get(name)!));
    },
    get(client, name) {
      requireScope(client, 'messages:read');
      return detailOf(name, find(client, name));
    },
    async create(client, name, wanted) {
      requireScope(client, 'rooms:write');
      return await become(client, name, before => {
        if (before !== undefined || isKept(name)) {
          throw new GatewayError('request/conflict', `there is a room ${name}`, {
            errors: [{ pointer: '/name', detail: 'is taken' }],
          });
        }
        mayMake(client, name);
        return { ...wanted, members: withMaker(client, wanted.members ?? []) };
      });
    },
    async put(client, name, wanted, guard) {
      requireScope(client, 'rooms:write');
      let made = false;
      const room = await become(client, name, before => {
        made = before === undefined;
        guarded(guard, name, before);
        if (before === undefined) {
          mayMake(client, name);
        } else {
          mayReplace(client, name);
        }
        const members = wanted.members ?? [];
        return { open: false, ...wanted, members: made ? withMaker(client, members) : members };
      });
      return { room, made };
    },
    async change(client, name, patch, guard) {
      mayChange(client, name);
      return await become(client, name, before => {
        mayChange(client, name);
        guarded(guard, name, before);
        return patch;
      });
    },
    async remove(client, name, guard) {
      mayChange(client, name);
      await book.remove(name, before => {
        mayChange(client, name);
        guarded(guard, name, before);
        if (before.source === 'config') {
          requireScope(client, 'admin');
        }
      });
    },
    async reset(client, name) {
      requireScope(client, 'admin');
      await book.reset(name);
    },
    async addMember(client, name, address, consent) {
      mayChange(client, name);
      return await become(client, name, () => {
        mayChange(client, name);
        return {
          members: [...parts.membersOf(name), address],
          ...(consent === undefined ? {} : { consent }),
        };
      });
    },
    async removeMember(client, name, address) {
      mayChange(client, name);
      return await become(client, name, () => {
        mayChange(client, name);
        const members = parts.membersOf(name);
        if (!members.includes(address) || parts.placesOf(name).includes(address)) {
          throw new GatewayError('request/not-found', 'that is no member of the room');
        }
        return { members: members.filter(member => member !== address) };
      });
    },
  };

  /** What was said in a room that is gone is for admins: nobody else makes a room of its name, and so comes to read it. */
  function mayMake(client: Client, name: string): void {
    const said = () =>
      store.read.messages({ before: Number.MAX_SAFE_INTEGER, limit: 1, recipient: `room:${name}` }).rows;
    if (!holds(client, 'admin') && said().length > 0) {
      const detail =
        'was the name of another room, and what was said there is kept: an admin can make it anew';
      throw new GatewayError('request/conflict', `the name ${name} ${detail}`, {
        errors: [{ pointer: '/name', detail }],
      });
    }
  }

  /** A room that is there is another's business: whoever is not in it is told that the name is taken, and no more. */
  function mayReplace(client: Client, name: string): void {
    if (!holds(client, 'admin') && !parts.roomsOf(client).includes(name)) {
      throw new GatewayError('request/conflict', `the name ${name} is taken`);
    }
    mayChange(client, name);
  }
}

/** Who makes a room is in it; an admin sees all of them anyway. */
function withMaker(client: Client, members: readonly Address[]): readonly Address[] {
  return holds(client, 'admin') ? members : [...new Set([...members, `app:${client.name}`])];
}
