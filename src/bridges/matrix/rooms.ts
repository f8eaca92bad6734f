import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book, RoomRow } from './book.ts';
import type { MatrixConfig } from './config.ts';
import { type Homeserver, path, saidBy } from './homeserver.ts';
import { botLocalpart, directAlias, portalAlias, splitId } from './mxid.ts';

export interface RoomsParts {
  readonly homeserver: () => Homeserver;
  readonly book: Book;
  readonly config: MatrixConfig;
  readonly log: Log;
}

/** Rooms of the homeserver that the bridge made or was invited into. */
export interface Rooms {
  readonly bot: string;
  /** The portal of a room of the configuration: found by its alias, or made and its person invited. */
  portal(room: string, signal?: AbortSignal): Promise<string>;
  /** Whether a room of the configuration has its portal, made now unless it is being made already. */
  hasPortal(room: string): Promise<boolean>;
  /** The direct chat of a ghost with a person: known, found again, or made; who has left it is invited again. */
  direct(ghost: string, person: string, signal?: AbortSignal): Promise<string>;
  /** The bot's own room, in which nobody else is. */
  control(signal?: AbortSignal): Promise<string>;
  /** What is known of the bot's own rooms may be wrong: they are found by their aliases again, or made. */
  doubt(): void;
  /** The room of any alias; undefined where there is none. */
  resolve(alias: string, signal?: AbortSignal): Promise<string | undefined>;
  /** The bot goes out of a room; where it cannot, it stays and is deaf there. */
  leave(room: string, reason: string, signal?: AbortSignal): Promise<void>;
  /** Lets a user of ours in, by the bot's invitation where one is needed. */
  join(room: string, user: string, signal?: AbortSignal): Promise<void>;
}

export function createRooms(parts: RoomsParts): Rooms {
  const { book, config, log } = parts;
  const bot = `@${botLocalpart}:${config.serverName}`;
  const making = new Map<string, Promise<string>>();
  const aliasOf = (localpart: string) => `#${localpart}:${config.serverName}`;
  const withSignal = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal });

  /** Two deliveries that want the same room make one. */
  function once(key: string, make: () => Promise<string>): Promise<string> {
    const under = making.get(key);
    if (under !== undefined) {
      return under;
    }
    const made = make().finally(() => making.delete(key));
    making.set(key, made);
    return made;
  }

  async function resolve(alias: string, signal?: AbortSignal): Promise<string | undefined> {
    try {
      const answer = await parts
        .homeserver()
        .request(bot, 'GET', path`/directory/room/${alias}`, { ...withSignal(signal), elsewhere: true });
      return typeof answer.room_id === 'string' ? answer.room_id : undefined;
    } catch (error) {
      if (saidBy(error, 'M_NOT_FOUND')) {
        return undefined;
      }
      throw error;
    }
  }

  /** Tells clients what a room is bridged to, under the name in use and the one in the making. */
  function bridgeInfo(channel: string, displayname: string): readonly object[] {
    return ['m.bridge', 'uk.half-shot.bridge'].map(type => ({
      type,
      state_key: `org.kos.mesh://${encodeURIComponent(channel)}`,
      content: {
        bridgebot: bot,
        protocol: { id: 'org.kos.mesh', displayname: 'kOS mesh' },
        channel: { id: channel, displayname },
      },
    }));
  }

  /** Made under its alias, which is taken when the same was made before: making it twice gives one room. */
  async function make(
    user: string,
    localpart: string,
    body: object,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly room: string; readonly fresh: boolean }> {
    const found = await resolve(aliasOf(localpart), signal);
    if (found !== undefined) {
      return { room: found, fresh: false };
    }
    try {
      const answer = await parts.homeserver().request(user, 'POST', '/createRoom', {
        ...withSignal(signal),
        body: { ...body, room_alias_name: localpart },
        elsewhere: true,
      });
      return { room: String(answer.room_id), fresh: true };
    } catch (error) {
      const other = saidBy(error, 'M_ROOM_IN_USE') ? await resolve(aliasOf(localpart), signal) : undefined;
      if (other === undefined) {
        throw error;
      }
      return { room: other, fresh: false };
    }
  }

  async function makePortal(name: string, signal: AbortSignal | undefined): Promise<string> {
    const open = config.portals === 'server';
    const { room, fresh } = await make(
      bot,
      portalAlias(name),
      {
        name,
        topic: `The room ${name} of the mesh`,
        preset: open ? 'public_chat' : 'private_chat',
        visibility: 'private',
        ...(open ? { creation_content: { 'm.federate': false } } : {}),
        initial_state: bridgeInfo(`room:${name}`, name),
        invite: config.invite === undefined ? [] : [config.invite],
      },
      signal,
    );
    if (fresh) {
      await promote(room, config.invite, signal);
    } else {
      await join(room, bot, signal);
      await invite(room, bot, config.invite, signal);
    }
    return room;
  }

  /** The person the portals are for may rule them beside the bot. */
  async function promote(
    room: string,
    person: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (person === undefined) {
      return;
    }
    const state = path`/rooms/${room}/state/m.room.power_levels/`;
    try {
      const levels = await parts.homeserver().request(bot, 'GET', state, withSignal(signal));
      await parts.homeserver().request(bot, 'PUT', state, {
        ...withSignal(signal),
        body: { ...levels, users: { ...levels.users, [person]: 100 } },
      });
    } catch (error) {
      log.warn({ code: codeOf(error), error }, 'the person of the portals could not be given their rights');
    }
  }

  /** Invites who is not there; who is there already, or was turned away, is left alone. */
  async function invite(
    room: string,
    by: string,
    person: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (person === undefined) {
      return;
    }
    try {
      await parts.homeserver().request(by, 'POST', path`/rooms/${room}/invite`, {
        ...withSignal(signal),
        body: { user_id: person },
        elsewhere: true,
      });
    } catch (error) {
      if (!saidBy(error, 'M_FORBIDDEN', 'M_BAD_STATE')) {
        throw error;
      }
    }
  }

  async function join(room: string, user: string, signal?: AbortSignal): Promise<void> {
    const enter = () =>
      parts
        .homeserver()
        .request(user, 'POST', path`/join/${room}`, { ...withSignal(signal), body: {}, elsewhere: true });
    try {
      await enter();
    } catch (error) {
      if (user === bot || !saidBy(error, 'M_FORBIDDEN')) {
        throw error;
      }
      await invite(room, bot, user, signal);
      await enter();
    }
  }

  async function makeDirect(
    ghost: string,
    alias: string,
    person: string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const address = book.ghost(splitId(ghost)[0])?.address ?? ghost;
    const body = {
      preset: 'trusted_private_chat',
      visibility: 'private',
      is_direct: true,
      invite: [person],
      initial_state: bridgeInfo(address, address),
    };
    const { room, fresh } = await make(ghost, alias, body, signal);
    if (fresh) {
      return room;
    }
    try {
      await join(room, ghost, signal);
      await invite(room, ghost, person, signal);
      return room;
    } catch (error) {
      if (!saidBy(error, 'M_FORBIDDEN', 'M_NOT_FOUND', 'M_UNKNOWN')) {
        throw error;
      }
      // The ghost was thrown out of the room that has the alias: another room takes its place.
      await parts
        .homeserver()
        .request(bot, 'DELETE', path`/directory/room/${aliasOf(alias)}`, withSignal(signal));
      return (await make(ghost, alias, body, signal)).room;
    }
  }

  const row = (id: string, kind: RoomRow['kind'], peer: string, person = '', membership = ''): RoomRow => ({
    encrypted: false,
    token: '',
    ...book.room(id),
    id,
    kind,
    peer,
    person,
    membership,
  });

  const portal = (name: string, signal?: AbortSignal) =>
    once(`portal ${name}`, async () => {
      const known = book.roomOf('portal', name);
      if (known !== undefined) {
        return known.id;
      }
      const room = await makePortal(name, signal);
      book.keepRoom(row(room, 'portal', name));
      return room;
    });

  return {
    bot,
    resolve,
    join,
    async leave(room, reason, signal) {
      try {
        await parts.homeserver().request(bot, 'POST', path`/rooms/${room}/leave`, {
          ...withSignal(signal),
          body: { reason },
          elsewhere: true,
        });
      } catch (error) {
        log.debug({ code: codeOf(error), room }, 'a room could not be left');
      }
    },
    portal,
    async hasPortal(name) {
      // Whoever makes a portal looks for its alias first, and that makes the homeserver ask here: it must not wait.
      if (book.roomOf('portal', name) === undefined && making.has(`portal ${name}`)) {
        return false;
      }
      await portal(name);
      return true;
    },
    direct: (ghost, person, signal) =>
      once(`direct ${ghost} ${person}`, async () => {
        const [localpart] = splitId(ghost);
        const known = book.roomOf('direct', localpart, person);
        if (known !== undefined) {
          if (known.membership === 'leave') {
            await invite(known.id, ghost, person, signal);
            book.keepRoom({ ...known, membership: 'invite' });
          }
          return known.id;
        }
        const room = await makeDirect(ghost, directAlias(localpart, person), person, signal);
        book.keepRoom(row(room, 'direct', localpart, person, 'invite'));
        return room;
      }),
    doubt() {
      book.set('control', '');
      for (const { id, kind } of book.rooms()) {
        if (kind === 'portal') {
          book.forgetRoom(id);
        }
      }
    },
    control: signal =>
      once('control', async () => {
        const known = book.get('control');
        if (known) {
          return known;
        }
        const { room } = await make(
          bot,
          '_kos_dm_control',
          { name: 'kOS gateway', preset: 'private_chat', visibility: 'private' },
          signal,
        );
        book.set('control', room);
        return room;
      }),
  };
}
