import type { BridgePort, Incoming } from '../../gateway/bridge.ts';
import type { Address, Attachment, MessageId } from '../../gateway/message.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { RoomRow } from './book.ts';
import { matrixLimits } from './config.ts';
import { ownKey, viaOf } from './content.ts';
import { remoteIdOf } from './deliver.ts';
import { type RoomEvent, record, text } from './events.ts';
import { path } from './homeserver.ts';
import type { Media } from './media.ts';
import { createMemberships, type MembershipsParts, speakerOf } from './memberships.ts';
import { portalAlias } from './mxid.ts';
import { type Reading, readMessageEvent } from './reading.ts';
import type { Statuses } from './statuses.ts';

export interface ReceiveParts extends MembershipsParts {
  readonly media: Media;
  readonly statuses: Statuses;
  /** A message that is known. */
  readonly messageOf: (message: MessageId) => { readonly from: Address } | undefined;
}

/** ms a message waits for the name of who says it. */
const profilePatience = 3000;
const commandsKey = 'commands';
const commandsKept = 100;

/**
 * Takes in one event of a room: a message goes to the switch and is kept when this resolves, an invitation is
 * answered, a command done. Errors that are `retryable` leave it for later; what can never be taken is said to its
 * sender. Doing it again does it once.
 */
export function createReceiver(parts: ReceiveParts) {
  const { ghosts, rooms, statuses, config, counters, log } = parts;
  const memberships = createMemberships(parts);
  /** Of events whose file did not come yet: the head of a room's line each. */
  const tries = new Map<string, number>();

  async function take(port: BridgePort, event: RoomEvent, signal: AbortSignal): Promise<void> {
    if (event.stateKey !== undefined) {
      await memberships.take(port, event, signal);
      return;
    }
    if (ghosts.isOurs(event.sender)) {
      return;
    }
    const row = memberships.roomOf(event.room);
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
      await command(port, row, event, reading.text);
      return;
    }
    if (row.kind === 'direct' && event.sender !== row.person) {
      await bystander(row, event);
      return;
    }
    await message(port, row, event, reading, signal);
  }

  /** Only who opened a direct chat, or was invited to it, wanted to be heard by its peer. */
  async function bystander(row: RoomRow, event: RoomEvent): Promise<void> {
    counters.add('matrix/event/bystander');
    const why = `only what ${row.person} says here reaches the mesh`;
    await statuses.refused(row, event, 'm.event_not_handled', why);
    const said = `In this chat ${why}. Open a chat of your own, or ask for a room in kos.yaml.`;
    await parts.notices.remind(row.id, speakerOf(row, rooms, config.serverName), 'bystander', event.id, said);
  }

  /** Once: a command that is read back after a restart is not done again. */
  async function command(port: BridgePort, row: RoomRow, event: RoomEvent, line: string): Promise<void> {
    const done = (parts.book.get(commandsKey) ?? '').split(' ');
    if (done.includes(event.id)) {
      return;
    }
    await parts.commands.run(port, row.id, event, line);
    parts.book.set(commandsKey, [...done, event.id].slice(-commandsKept).join(' '));
  }

  async function message(
    port: BridgePort,
    row: RoomRow,
    event: RoomEvent,
    reading: Reading,
    signal: AbortSignal,
  ): Promise<void> {
    const remoteId = remoteIdOf(event.room, event.id);
    if (port.resolve(remoteId) !== undefined) {
      // Read back, or pushed once more: nothing of it is fetched again.
      counters.add('matrix/event/known');
      return;
    }
    const speaker = speakerOf(row, rooms, config.serverName);
    const inReplyTo = await known(port, row, speaker, reading.inReplyTo, signal);
    const thread = await known(port, row, speaker, reading.thread, signal);
    if (inReplyTo === undefined && (reading.type === 'chat.reaction' || reading.type === 'chat.redaction')) {
      counters.add('matrix/event/unknown-target');
      return;
    }
    try {
      const { attachments, lost } = await files(port, row, speaker, event, reading, signal);
      const words = [reading.text, ...lost].filter(line => line !== '').join('\n');
      const from = `matrix:${event.sender}`;
      // A homeserver takes an edit of somebody else's event, too: those are their own words, and no edit.
      const isTheirs = inReplyTo !== undefined && parts.messageOf(inReplyTo)?.from === from;
      const lonelyEdit = reading.type === 'chat.edit' && !isTheirs;
      const via = viaOf(event);
      const incoming: Incoming = {
        remoteId,
        from,
        to: row.kind === 'direct' ? addressOfDirect(row) : `room:${row.peer}`,
        origin: originOf(row),
        type: lonelyEdit ? 'chat.message' : reading.type,
        text: lonelyEdit ? `✏️ ${words}` : words,
        attachments,
        ...(reading.data === undefined ? {} : { data: reading.data }),
        ...(inReplyTo === undefined ? {} : { inReplyTo }),
        ...(thread === undefined ? {} : { thread }),
        ...(event.at > 0 ? { sentAt: event.at } : {}),
        ...(via === undefined ? {} : { via }),
        assurance: 'hub',
      };
      await learnName(port, event.sender, speaker, signal);
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

  /** What people are called goes with what they say, from the first time. */
  async function learnName(
    port: BridgePort,
    user: string,
    speaker: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (memberships.isNamed(user)) {
      return;
    }
    try {
      const answer = await parts.homeserver().request(speaker, 'GET', path`/profile/${user}/displayname`, {
        signal,
        timeout: profilePatience,
        elsewhere: true,
      });
      memberships.named(port, user, text(answer.displayname));
    } catch (error) {
      if (signal.aborted || (isGatewayError(error) && error.detail.lost === true)) {
        throw error;
      }
      memberships.named(port, user, undefined);
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
    event: RoomEvent,
    { file }: Reading,
    signal: AbortSignal,
  ): Promise<{ attachments: readonly Attachment[]; lost: readonly string[] }> {
    if (file === undefined) {
      return { attachments: [], lost: [] };
    }
    try {
      const attachment = await parts.media.fetch(port, speaker, file, signal);
      tries.delete(event.id);
      return { attachments: [attachment], lost: [] };
    } catch (error) {
      if (!isGatewayError(error) || (error.retryable && !isGivenUp(event, error))) {
        throw error;
      }
      tries.delete(event.id);
      log.info({ code: error.code, room: row.id }, 'a file could not be taken');
      return { attachments: [], lost: [`(${file.name} could not be taken: ${error.message})`] };
    }
  }

  /** Whether enough was waited for a file that another server does not give: others wait behind its message. */
  function isGivenUp(event: RoomEvent, { detail }: GatewayError): boolean {
    if (detail.broken !== true && detail.status !== 502 && detail.status !== 504) {
      return false;
    }
    const tried = (tries.get(event.id) ?? 0) + 1;
    tries.set(event.id, tried);
    return tried >= matrixLimits.mediaTries;
  }

  async function encrypted(row: RoomRow, event: RoomEvent): Promise<void> {
    counters.add('matrix/event/encrypted');
    await statuses.refused(row, event, 'com.beeper.undecryptable_event', 'the room is encrypted');
    await memberships.noteEncryption(row, event.id);
  }

  return { take, roomOf: memberships.roomOf };
}
