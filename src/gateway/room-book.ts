import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { createTurns } from '../lib/turns.ts';
import { type Address, nameOf, schemeOf } from './message.ts';
import { isKept } from './own-rooms.ts';
import type { Residents } from './residents.ts';
import {
  carriedOver,
  changeTo,
  inForce,
  type RoomChange,
  type RoomInForce,
  type RoomSetting,
  type WantedRoom,
  withTold,
} from './room-overlay.ts';
import type { RoomBrief } from './society-contract.ts';
import type { EventDraft } from './store/event-table.ts';
import type { Store } from './store/store.ts';

export type ConfiguredRooms = Readonly<Record<string, RoomSetting>>;

/** The rooms in force: those of the configuration, and what was changed of them while the hub ran. */
export interface RoomBook {
  /** By name; the hub's own rooms are among them where members were given to them or taken from them. */
  readonly rooms: Readonly<Record<string, RoomInForce>>;
  get(name: string): RoomInForce | undefined;
  /** Members that were added while the hub ran. */
  addedTo(name: string): readonly Address[];
  /**
   * Makes a room, or makes it another one. Durable when it resolves, and in force from then on. Throws what `change` throws,
   * `request/invalid`, `store/full`, `store/unavailable`.
   */
  put(name: string, change: (before: RoomInForce | undefined) => WantedRoom): Promise<RoomInForce>;
  /** Newcomers have been told, by these keys. Nobody waits for it to be written: telling them again changes nothing. */
  told(name: string, keys: readonly string[]): Promise<void>;
  /** Takes it away, unless `guard` throws; `request/not-found`, `request/conflict` for the hub's own. */
  remove(name: string, guard?: (before: RoomInForce) => void): Promise<void>;
  /** Forgets what was changed: it is as the configuration says, or gone. */
  reset(name: string): Promise<void>;
  /** The configuration is another one. */
  adopt(configured: ConfiguredRooms): Promise<void>;
}

export interface RoomBookParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly residents: Pick<Residents, 'draft' | 'opened' | 'of'>;
  readonly configured: ConfiguredRooms;
  /** Rooms there may be. */
  readonly limit: number;
  readonly membersLimit: number;
  /** Apps that are told of a change of a room, as it is before or after it. */
  readonly audience: (name: string, room: RoomInForce) => readonly Address[];
  /** It is in force; what was in it before, if it was there. */
  readonly onChange: (name: string, before: RoomInForce | undefined, after: RoomInForce | undefined) => void;
}

const roomName = /^[a-z0-9][a-z0-9-]{0,31}$/;

export function createRoomBook(parts: RoomBookParts): RoomBook {
  const { store, clock, residents } = parts;
  let { configured } = parts;
  const changes = new Map<string, RoomChange>();
  let rooms: Record<string, RoomInForce> = {};
  /** One change at a time: each begins from what the one before has left on disk. */
  const inTurn = createTurns();
  for (const { name, change } of store.read.roomChanges()) {
    changes.set(name, change);
  }
  const forgottenAtStart = prune();
  lay();

  /** Drops what the configuration of now makes meaningless; gives the rows to write. */
  function prune(): { readonly name: string; readonly change: RoomChange | null }[] {
    return [...changes].flatMap(([name, change]) => {
      const left = carriedOver(name, configuredAs(name), change);
      if (isDeepStrictEqual(left, change)) {
        return [];
      }
      if (left === undefined) {
        changes.delete(name);
      } else {
        changes.set(name, left);
      }
      return [{ name, change: left ?? null }];
    });
  }

  function configuredAs(name: string): RoomSetting | undefined {
    return Object.hasOwn(configured, name) ? configured[name] : undefined;
  }

  function lay(): void {
    const names = new Set([...Object.keys(configured), ...changes.keys()]);
    rooms = Object.fromEntries(
      [...names].flatMap(name => {
        const room = inForce(name, configuredAs(name), changes.get(name));
        return room === undefined ? [] : [[name, room]];
      }),
    );
  }

  function put(name: string, change: RoomChange | undefined): void {
    if (change === undefined) {
      changes.delete(name);
    } else {
      changes.set(name, change);
    }
    lay();
  }

  const get = (name: string) =>
    Object.hasOwn(rooms, name) ? rooms[name] : isKept(name) ? inForce(name, undefined, undefined) : undefined;

  /** What is told of a change of a room to whoever was in it or is. */
  function eventOf(
    name: string,
    before: RoomInForce | undefined,
    after: RoomInForce | undefined,
  ): EventDraft {
    const told = [before, after].flatMap(room => (room === undefined ? [] : parts.audience(name, room)));
    const room: RoomBrief =
      after === undefined
        ? { name, gone: true }
        : { name, members: after.members, open: after.open, source: after.source };
    return {
      at: clock.now(),
      kind: 'room.changed',
      body: JSON.stringify({ room }),
      audience: [...new Set(told)],
    };
  }

  /** Writes a change and lets it be in force. */
  async function write(name: string, change: RoomChange | undefined): Promise<void> {
    const before = get(name);
    const after = inForce(name, configuredAs(name), change);
    const isNew = before === undefined && after !== undefined && residents.of(`room:${name}`) === undefined;
    const drafted = isNew ? residents.draft(`room:${name}`, name) : [];
    await store.committer.commit('rooms.put', {
      rooms: [{ name, change: change ?? null }],
      events: [eventOf(name, before, after)],
      residents: drafted,
    });
    put(name, change);
    residents.opened(drafted);
    parts.onChange(name, before, after);
  }

  function check(name: string, wanted: RoomSetting): void {
    if (!roomName.test(name)) {
      throw invalid('/name', 'lower-case letters, digits and hyphens, at most 32');
    }
    if (wanted.members.length > parts.membersLimit) {
      throw invalid('/members', `${parts.membersLimit} members at most`);
    }
    const wrong = wanted.members.findIndex(member => schemeOf(member) === 'room' || nameOf(member) === '');
    if (wrong >= 0) {
      throw invalid(`/members/${wrong}`, 'a room is no member of a room');
    }
    const count = Object.keys(rooms).filter(one => !isKept(one)).length;
    if (get(name) === undefined && count >= parts.limit) {
      throw new GatewayError(
        'store/full',
        `${parts.limit} rooms at most: bridges.lxmf.residents allows more`,
      );
    }
  }

  return {
    get rooms() {
      return rooms;
    },
    get,
    addedTo: name => changes.get(name)?.added ?? [],
    put: (name, change) =>
      inTurn(async () => {
        const before = get(name);
        const wanted = change(before);
        check(name, wanted);
        // A room that was taken away is made anew: nothing of the change that took it away is left.
        const kept = changes.get(name)?.gone === true ? undefined : changes.get(name);
        const next = changeTo(name, configuredAs(name), kept, wanted);
        if (before === undefined || !isDeepStrictEqual(next, kept)) {
          await write(name, next);
        }
        return get(name)!;
      }),
    told: (name, keys) =>
      inTurn(async () => {
        const change = changes.get(name);
        if (change === undefined) {
          return;
        }
        const next = withTold(change, keys);
        await store.committer.commit(
          'rooms.put',
          { rooms: [{ name, change: next ?? null }], events: [] },
          { lazy: true },
        );
        put(name, next);
      }),
    remove: (name, guard) =>
      inTurn(async () => {
        const before = get(name);
        if (before === undefined) {
          throw new GatewayError('request/not-found', `there is no room ${name}`);
        }
        if (isKept(name)) {
          throw new GatewayError('request/conflict', 'the hub keeps this room itself');
        }
        guard?.(before);
        await write(
          name,
          configuredAs(name) === undefined ? undefined : { gone: true, added: [], removed: [] },
        );
      }),
    reset: name =>
      inTurn(async () => {
        if (!changes.has(name)) {
          if (get(name) === undefined) {
            throw new GatewayError('request/not-found', `there is no room ${name}`);
          }
          return;
        }
        await write(name, undefined);
      }),
    adopt: wanted =>
      inTurn(async () => {
        const before = rooms;
        configured = wanted;
        const rows = [...forgottenAtStart.splice(0), ...prune()];
        lay();
        const after = rooms;
        const differing = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
          name => !isDeepStrictEqual(before[name], after[name]),
        );
        try {
          if (rows.length > 0 || differing.length > 0) {
            await store.committer.commit('rooms.put', {
              rooms: rows,
              events: differing.map(name => eventOf(name, before[name], after[name])),
            });
          }
        } finally {
          // The configuration is in force, whether or not the disk takes what is forgotten for it now.
          for (const name of differing) {
            parts.onChange(name, before[name], after[name]);
          }
        }
      }),
  };
}

function invalid(pointer: string, detail: string): GatewayError {
  return new GatewayError('request/invalid', `${pointer.slice(1)}: ${detail}`, {
    errors: [{ pointer, detail }],
  });
}
