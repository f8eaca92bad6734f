import type { BridgePort, Incoming } from '../../gateway/bridge.ts';
import type { Address, Attachment, MessageId } from '../../gateway/message.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book, RoomRow } from './book.ts';
import type { Commands } from './commands.ts';
import type { MatrixConfig } from './config.ts';
import { ownKey } from './content.ts';
import { remoteIdOf } from './deliver.ts';
import { type RoomEvent, record, text } from './events.ts';
import type { Ghosts } from './ghosts.ts';
import { type Homeserver, path, saidBy } from './homeserver.ts';
import type { Media } from './media.ts';
import { matchesAny, portalAlias, splitId } from './mxid.ts';
import type { Notices } from './notices.ts';
import { type Reading, readMessageEvent } from './reading.ts';
import type { Rooms } from './rooms.ts';
import type { Statuses } from './statuses.ts';

export interface ReceiveParts {
  readonly homeserver: () => Homeserver;
  readonly ghosts: Ghosts;
  readonly rooms: Rooms;
  readonly media: Media;
  readonly notices: Notices;
  readonly statuses: Statuses;
  readonly commands: Commands;
  readonly book: Book;
  readonly config: MatrixConfig;
  readonly log: Log;
  readonly counters: Counters;
  /** The configuration's room that has this Matrix room as a member. */
  readonly roomWith: (member: Address) => string | undefined;
  /** A room was entered on a person's invitation: what was said there meanwhile is read back. */
  readonly onEntered: (room: RoomRow) => void;
}

/** Who of ours speaks and looks in a room. */
export function speakerOf(row: RoomRow, rooms: Rooms, serverName: string): string {
  return row.kind === 'direct' ? `@${row.peer}:${serverName}` : rooms.bot;
}

/**
 * Takes in one event of a room: a message goes to the switch and is kept when this resolves, an invitation is
 * answered, a command done. Errors that are `retryable` leave it for later; what can never be taken is said to its
 * sender. Doing it again does it once.
 */
export function createReceiver(parts: ReceiveParts) {
  const { ghosts, rooms, book, notices, statuses, config, counters, log } = parts;
  const allowed = config.allow ?? [`@*:${config.serverName}`];

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
    const row = newRow(room, 'portal', name, '');
    book.keepRoom(row);
    return row;
  }

  async function take(port: BridgePort, event: RoomEvent, signal: AbortSignal): Promise<void> {
    if (event.stateKey !== undefined) {
      await state(event, signal);
      return;
    }
    if (ghosts.isOurs(event.sender)) {
      return;
    }
    const row = rowOf(event.room);
    if (row === undefined) {
      counters.add('matrix/event/unknown-room');
      return;
    }
    const reading = readMessageEvent(event);
    if (reading === 'nothing') {
      return;
    }
    if (reading === 'encrypted') {
      await encrypted(row, event);
      return;
    }
    if (reading === 'unsupported') {
      counters.add('matrix/event/unsupported');
      await statuses.refused(row, event, 'com.beeper.unsupported_event', 'the mesh has nothing like this');
      return;
    }
    if (row.kind === 'bot') {
      await parts.commands.run(port, row.id, event, reading.text);
      return;
    }
    await message(port, row, event, reading, signal);
  }

  async function message(
    port: BridgePort,
    row: RoomRow,
    event: RoomEvent,
    reading: Reading,
    signal: AbortSignal,
  ): Promise<void> {
    const remoteId = remoteIdOf(event.room, event.id);
    const speaker = speakerOf(row, rooms, config.serverName);
    const inReplyTo = await known(port, row, speaker, reading.inReplyTo, signal);
    const thread = await known(port, row, speaker, reading.thread, signal);
    if (inReplyTo === undefined && (reading.type === 'chat.reaction' || reading.type === 'chat.redaction')) {
      counters.add('matrix/event/unknown-target');
      return;
    }
    try {
      const { attachments, lost } = await files(port, row, speaker, reading, signal);
      const words = [reading.text, ...lost].filter(line => line !== '').join('\n');
      const lonelyEdit = reading.type === 'chat.edit' && inReplyTo === undefined;
      const incoming: Incoming = {
        remoteId,
        from: `matrix:${event.sender}`,
        to: row.kind === 'direct' ? addressOfDirect(row) : `room:${row.peer}`,
        origin: originOf(row),
        type: lonelyEdit ? 'chat.message' : reading.type,
        text: lonelyEdit ? `✏️ ${words}` : words,
        attachments,
        ...(reading.data === undefined ? {} : { data: reading.data }),
        ...(inReplyTo === undefined ? {} : { inReplyTo }),
        ...(thread === undefined ? {} : { thread }),
        ...(event.at > 0 ? { sentAt: event.at } : {}),
        assurance: 'hub',
      };
      const { id, repeated } = await port.accept(incoming);
      if (!repeated) {
        counters.add('matrix/accepted');
        statuses.accepted(id, row, event);
      }
    } catch (error) {
      if (!isGatewayError(error) || error.retryable || signal.aborted) {
        throw error;
      }
      counters.add(`matrix/refused/${error.code}`);
      await statuses.refused(row, event, 'm.event_not_handled', error.message, true);
    }
  }

  function addressOfDirect(row: RoomRow): Address {
    const address = ghosts.addressOf(`@${row.peer}:${config.serverName}`);
    if (address === undefined) {
      throw new GatewayError('bridge/rejected', 'nobody on the mesh has this address');
    }
    return address;
  }

  /** The address by which the room gets what is said to it: it must not get this back. */
  function originOf(row: RoomRow): Address {
    const alias = `matrix:#${portalAlias(row.peer)}:${config.serverName}`;
    const byAlias = row.kind === 'portal' && parts.roomWith(`matrix:${row.id}`) === undefined;
    return byAlias ? alias : `matrix:${row.id}`;
  }

  /** Our message behind an event of the same room: the switch's word, or the mark that our own events carry. */
  async function known(
    port: BridgePort,
    row: RoomRow,
    speaker: string,
    event: string | undefined,
    signal: AbortSignal,
  ): Promise<MessageId | undefined> {
    if (event === undefined) {
      return undefined;
    }
    const found = port.resolve(remoteIdOf(row.id, event));
    if (found !== undefined) {
      return found;
    }
    try {
      const answer = await parts
        .homeserver()
        .request(speaker, 'GET', path`/rooms/${row.id}/event/${event}`, { signal });
      const id = text(record(record(answer.content)[ownKey]).id);
      return ghosts.isOurs(String(answer.sender)) && id !== undefined && /^[0-9a-f]{32}$/.test(id)
        ? id
        : undefined;
    } catch (error) {
      if (isGatewayError(error, 'bridge/rejected')) {
        return undefined;
      }
      throw error;
    }
  }

  /** What came with the message; in place of what could not be had, a line that says so. */
  async function files(
    port: BridgePort,
    row: RoomRow,
    speaker: string,
    { file }: Reading,
    signal: AbortSignal,
  ): Promise<{ attachments: readonly Attachment[]; lost: readonly string[] }> {
    if (file === undefined) {
      return { attachments: [], lost: [] };
    }
    try {
      return { attachments: [await parts.media.fetch(port, speaker, file, signal)], lost: [] };
    } catch (error) {
      if (!isGatewayError(error) || error.retryable) {
        throw error;
      }
      log.info({ code: error.code, room: row.id }, 'a file could not be taken');
      return { attachments: [], lost: [`(${file.name} could not be taken: ${error.message})`] };
    }
  }

  async function encrypted(row: RoomRow, event: RoomEvent): Promise<void> {
    counters.add('matrix/event/encrypted');
    await statuses.refused(row, event, 'com.beeper.undecryptable_event', 'the room is encrypted');
    await encryptionNotice(row, event.id);
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

  async function state(event: RoomEvent, signal: AbortSignal): Promise<void> {
    switch (event.type) {
      case 'm.room.member':
        await member(event, signal);
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

  async function member(event: RoomEvent, signal: AbortSignal): Promise<void> {
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
      if (known === undefined) {
        book.keepRoom(newRow(room, 'bot', '', sender));
        await notices.say(room, user, `hello ${event.id}`, parts.commands.greeting(room));
      }
      return;
    }
    const address = ghosts.addressOf(user);
    if (address === undefined || known?.kind === 'portal') {
      return;
    }
    if (!matchesAny(sender, allowed)) {
      counters.add('matrix/invite/refused');
      await ghosts.ensure(address, signal);
      await leave(room, user, 'this gateway is not open to you', signal);
      return;
    }
    await ghosts.ensure(address, signal);
    if (!(await enter(room, user, signal))) {
      return;
    }
    const [peer] = splitId(user);
    if (known !== undefined && known.peer !== peer) {
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
      await parts.homeserver().request(user, 'POST', path`/join/${room}`, { signal, body: {} });
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
        .request(user, 'POST', path`/rooms/${room}/leave`, { signal, body: { reason } });
    } catch (error) {
      log.debug({ code: codeOf(error), room }, 'a room could not be left');
    }
  }

  /** The room was replaced by another one: what we do here we do there. */
  async function moved(event: RoomEvent, signal: AbortSignal): Promise<void> {
    const row = book.room(event.room);
    const next = text(event.content.replacement_room);
    if (row === undefined || next === undefined || !/^![!-~]{1,254}$/.test(next)) {
      return;
    }
    try {
      const [, server] = splitId(event.sender);
      await parts
        .homeserver()
        .request(speakerOf(row, rooms, config.serverName), 'POST', path`/join/${next}`, {
          signal,
          body: {},
          query: { server_name: server, via: server },
        });
      book.moveRoom(row.id, next);
    } catch (error) {
      if (!saidBy(error, 'M_FORBIDDEN', 'M_NOT_FOUND')) {
        throw error;
      }
      log.warn({ room: row.id }, 'a room was replaced by one that may not be entered: invite the bot there');
    }
  }

  return { take };
}

function newRow(id: string, kind: RoomRow['kind'], peer: string, person: string): RoomRow {
  return { id, kind, peer, person, membership: 'join', encrypted: false, token: '' };
}
