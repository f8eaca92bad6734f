import type { BridgePort } from '../../gateway/bridge.ts';
import type { Address } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book, RoomRow } from './book.ts';
import type { Commands } from './commands.ts';
import type { MatrixConfig } from './config.ts';
import { type RoomEvent, record, text } from './events.ts';
import type { Ghosts } from './ghosts.ts';
import { type Homeserver, path, saidBy } from './homeserver.ts';
import { matchesAny, splitId } from './mxid.ts';
import type { Notices } from './notices.ts';
import type { Rooms } from './rooms.ts';

export interface MembershipsParts {
  readonly homeserver: () => Homeserver;
  readonly ghosts: Ghosts;
  readonly rooms: Rooms;
  readonly notices: Notices;
  readonly commands: Commands;
  readonly book: Book;
  readonly config: MatrixConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** The configuration's room that has this Matrix room as a member. */
  readonly roomWith: (member: Address) => string | undefined;
  /** A room was entered on a person's invitation: what was said there meanwhile is read back. */
  readonly onEntered: (room: RoomRow) => void;
}

/** Rooms and people as the state events of the homeserver tell of them. */
export interface Memberships {
  /** What a room is to us; undefined where it is none of ours. */
  roomOf(room: string): RoomRow | undefined;
  /** Takes in a state event: an invitation is answered, a membership kept, a replaced room followed. */
  take(port: BridgePort, event: RoomEvent, signal: AbortSignal): Promise<void>;
  /** The room cannot be read: kept, and said there, but not all the time. */
  noteEncryption(row: RoomRow, key: string): Promise<void>;
  /** Whether the Directory was told in this run what a person is called. */
  isNamed(user: string): boolean;
  named(port: BridgePort, user: string, name: string | undefined): void;
}

const mostNamed = 4096;

/** In place of the person of a room that somebody made in Matrix and that is a member of a room here. */
export const memberMark = 'member';

/** Who of ours speaks and looks in a room. */
export function speakerOf(row: RoomRow, rooms: Rooms, serverName: string): string {
  return row.kind === 'direct' ? `@${row.peer}:${serverName}` : rooms.bot;
}

export function createMemberships(parts: MembershipsParts): Memberships {
  const { ghosts, rooms, book, notices, config, counters, log } = parts;
  const allowed = config.allow ?? [`@*:${config.serverName}`];
  /** People whose names the Directory has from this run. */
  const names = new Set<string>();

  /** What the room is to us: as kept, or as the configuration says. */
  function rowOf(room: string): RoomRow | undefined {
    const known = book.room(room);
    if (known !== undefined) {
      return known;
    }
    const name = parts.roomWith(`matrix:${room}`);
    if (name === undefined) {
      return undefined;
    }
    // Told apart from the room's own portal, which has nobody here.
    const row = newRow(room, 'portal', name, memberMark);
    book.keepRoom(row);
    return row;
  }

  function keepName(port: BridgePort, user: string, name: string | undefined): void {
    names.add(user);
    if (names.size > mostNamed) {
      names.delete(names.values().next().value ?? '');
    }
    const shown = name?.replace(/\p{Cc}/gu, '').trim();
    port.seen(`matrix:${user}`, { at: parts.clock.now(), name: shown || (splitId(user)[0] ?? user) });
  }

  async function encryptionNotice(row: RoomRow, key: string): Promise<void> {
    if (!row.encrypted) {
      book.keepRoom({ ...row, encrypted: true });
    }
    await notices.remind(
      row.id,
      speakerOf(row, rooms, config.serverName),
      'encrypted',
      key,
      '🔒 This room is encrypted, and the gateway cannot read it: nothing said here reaches the mesh. Use a room without encryption.',
    );
  }

  async function state(port: BridgePort, event: RoomEvent, signal: AbortSignal): Promise<void> {
    switch (event.type) {
      case 'm.room.member':
        await member(port, event, signal);
        break;
      case 'm.room.encryption': {
        const row = rowOf(event.room);
        if (row !== undefined && Object.keys(event.content).length > 0) {
          await encryptionNotice(row, event.id);
        }
        break;
      }
      case 'm.room.tombstone':
        await moved(event, signal);
        break;
      default:
        break;
    }
  }

  async function member(port: BridgePort, event: RoomEvent, signal: AbortSignal): Promise<void> {
    const user = event.stateKey ?? '';
    const membership = text(event.content.membership) ?? '';
    if (ghosts.isOurs(user)) {
      if (membership === 'invite' && !ghosts.isOurs(event.sender)) {
        await invited(event, user, signal);
      } else if (membership === 'leave' || membership === 'ban') {
        const row = book.room(event.room);
        if (row?.kind === 'direct' && `@${row.peer}:${config.serverName}` === user) {
          book.forgetRoom(row.id);
        }
      }
      return;
    }
    const row = book.room(event.room);
    if (row !== undefined && membership === 'join') {
      keepName(port, user, text(event.content.displayname));
    }
    if (row?.kind === 'direct' && row.person === user && /^(?:join|invite|leave|ban)$/.test(membership)) {
      book.keepRoom({ ...row, membership: membership === 'ban' ? 'leave' : membership });
    }
  }

  async function invited(event: RoomEvent, user: string, signal: AbortSignal): Promise<void> {
    const { room, sender } = event;
    const known = rowOf(room);
    if (user === rooms.bot) {
      if (known?.kind !== 'portal' && !matchesAny(sender, allowed)) {
        counters.add('matrix/invite/refused');
        await leave(room, user, 'this gateway is not open to you', signal);
        return;
      }
      if (!(await enter(room, user, signal))) {
        return;
      }
      if (known !== undefined) {
        parts.onEntered(known);
      } else {
        book.keepRoom(newRow(room, 'bot', '', sender));
        await notices.say(room, user, `hello ${event.id}`, parts.commands.greeting(room));
      }
      return;
    }
    const address = ghosts.addressOf(user);
    const [peer] = splitId(user);
    // An invitation that was answered already is read back now and then.
    const isIn = known?.kind === 'portal' || (known?.kind === 'direct' && known.peer === peer);
    if (address === undefined || isIn) {
      return;
    }
    if (!matchesAny(sender, allowed)) {
      counters.add('matrix/invite/refused');
      if (splitId(sender)[1] !== config.serverName && book.ghost(peer) === undefined) {
        // Nobody from elsewhere makes users here by asking: there is room for so many only.
        return;
      }
      await ghosts.ensure(address, signal);
      await leave(room, user, 'this gateway is not open to you', signal);
      return;
    }
    await ghosts.ensure(address, signal);
    if (!(await enter(room, user, signal))) {
      return;
    }
    if (known !== undefined) {
      await notices.say(
        room,
        user,
        `second ${event.id}`,
        'One mesh peer for each direct chat: for several, ask for a room in kos.yaml.',
      );
      await leave(room, user, 'another mesh peer is here already', signal);
      return;
    }
    counters.add('matrix/invite/taken');
    const row = newRow(room, 'direct', peer, sender);
    book.keepRoom(row);
    parts.onEntered(row);
  }

  /** Whether the room was entered; an invitation that was taken back is none. */
  async function enter(room: string, user: string, signal: AbortSignal): Promise<boolean> {
    try {
      await parts
        .homeserver()
        .request(user, 'POST', path`/join/${room}`, { signal, body: {}, elsewhere: true });
      return true;
    } catch (error) {
      if (!isGatewayError(error, 'bridge/rejected')) {
        throw error;
      }
      log.info({ code: error.code, room }, `an invitation could not be taken: ${error.message}`);
      return false;
    }
  }

  async function leave(room: string, user: string, reason: string, signal: AbortSignal): Promise<void> {
    try {
      await parts
        .homeserver()
        .request(user, 'POST', path`/rooms/${room}/leave`, { signal, body: { reason }, elsewhere: true });
    } catch (error) {
      log.debug({ code: codeOf(error), room }, 'a room could not be left');
    }
  }

  /**
   * The room was replaced by another one: what we do here we do there. Only where that room says so itself, and is
   * none that we know: whoever may close a room must not make another one, with the people in it, into theirs.
   */
  async function moved(event: RoomEvent, signal: AbortSignal): Promise<void> {
    const row = book.room(event.room);
    const next = text(event.content.replacement_room);
    if (row === undefined || next === undefined || !/^![!-~]{1,254}$/.test(next)) {
      return;
    }
    if (rowOf(next) !== undefined) {
      log.warn({ room: row.id }, 'a room was replaced by one that is bridged already: nothing is changed');
      return;
    }
    const speaker = speakerOf(row, rooms, config.serverName);
    try {
      const [, server] = splitId(event.sender);
      await parts.homeserver().request(speaker, 'POST', path`/join/${next}`, {
        signal,
        body: {},
        query: { server_name: server, via: server },
        elsewhere: true,
      });
      const made = await parts
        .homeserver()
        .request(speaker, 'GET', path`/rooms/${next}/state/m.room.create/`, { signal });
      if (text(record(made.predecessor).room_id) !== row.id) {
        log.warn({ room: row.id }, 'a room was replaced by one that does not say so: nothing is changed');
        await leave(next, speaker, 'this room is no successor', signal);
        return;
      }
      book.moveRoom(row.id, next);
    } catch (error) {
      if (!saidBy(error, 'M_FORBIDDEN', 'M_NOT_FOUND')) {
        throw error;
      }
      log.warn({ room: row.id }, 'a room was replaced by one that may not be entered: invite the bot there');
    }
  }

  return {
    roomOf: rowOf,
    take: state,
    noteEncryption: encryptionNotice,
    isNamed: user => names.has(user),
    named: keepName,
  };
}

function newRow(id: string, kind: RoomRow['kind'], peer: string, person: string): RoomRow {
  return { id, kind, peer, person, membership: 'join', encrypted: false, token: '' };
}
