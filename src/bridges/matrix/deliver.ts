import type { BridgePort, Delivery, Progress } from '../../gateway/bridge.ts';
import { type Message, nameOf, schemeOf } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Book } from './book.ts';
import { matrixLimits } from './config.ts';
import { composePieces, type Piece, type Related } from './content.ts';
import type { Ghosts } from './ghosts.ts';
import { type Homeserver, path, saidBy, saidUnknown } from './homeserver.ts';
import type { Media } from './media.ts';
import { roomOfAlias, splitId, targetOf, transactionId } from './mxid.ts';
import type { Rooms } from './rooms.ts';

export interface DeliverParts {
  readonly homeserver: () => Homeserver;
  readonly ghosts: Ghosts;
  readonly rooms: Rooms;
  readonly media: Media;
  readonly book: Book;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly serverName: string;
  /** A message that is known. */
  readonly messageOf: (message: string) => Pick<Message, 'from' | 'author'> | undefined;
  /** Remote ids of what was said in this run, by message, newest last: the switch writes them a little later. */
  readonly said: Map<string, readonly string[]>;
  /** 32 hex. */
  readonly hubId: () => string;
}

/** The switch's id of an event: event ids are found again only together with their room. */
export function remoteIdOf(room: string, event: string): string {
  return `${room}/${event}`;
}

/** The event of a remote id, where it lies in this room. */
function eventIn(room: string, remoteId: string): string | undefined {
  return remoteId.startsWith(`${room}/`) ? remoteId.slice(room.length + 1) : undefined;
}

/** Repairs before an attempt counts as refused: a room entered, a user made again. */
const mostRepairs = 3;

/**
 * Says a message where its delivery goes, as the ghost of its sender. Each event goes under a transaction id made from
 * the delivery's, so that an attempt repeated after any crash is one event: the homeserver remembers the ids of a
 * device on disk, for a day. Throws `bridge/unavailable`, `bridge/rejected`.
 */
export async function deliverTo(
  parts: DeliverParts,
  port: BridgePort,
  delivery: Delivery,
  signal: AbortSignal,
): Promise<Progress> {
  for (let repairs = 0; ; repairs++) {
    signal.throwIfAborted();
    if (seenInPortal(parts, port, delivery)) {
      return { state: 'delivered' };
    }
    const { user, message } = await speakerOf(parts, port, delivery.message, signal);
    const room = await roomFor(parts, delivery, user, signal);
    const said = saidHere(port, message, room);
    if (said !== undefined) {
      return { state: 'delivered', remoteId: remoteIdOf(room, said) };
    }
    try {
      return await say(parts, port, { ...delivery, message }, { room, user, signal });
    } catch (error) {
      if (repairs >= mostRepairs || !(await repaired(parts, error, { room, user, signal }))) {
        throw final(error, delivery);
      }
    }
  }
}

/** The ghost of whoever sent it; where there are too many, the bot speaks, and names them before the text. */
async function speakerOf(
  { ghosts, rooms, counters }: DeliverParts,
  port: BridgePort,
  message: Message,
  signal: AbortSignal,
): Promise<{ readonly user: string; readonly message: Message }> {
  try {
    return { user: await ghosts.ensure(message.from, signal), message };
  } catch (error) {
    if (!isGatewayError(error, 'store/full')) {
      throw error;
    }
    counters.add('matrix/ghost/too-many');
    const name = port.nameOf(message.from);
    const author = { name: message.author === undefined ? name : `${message.author.name} (${name})` };
    return { user: rooms.bot, message: { ...message, author } };
  }
}

interface Place {
  readonly room: string;
  readonly user: string;
  readonly signal: AbortSignal;
}

async function roomFor(
  { rooms, serverName }: DeliverParts,
  delivery: Delivery,
  user: string,
  signal: AbortSignal,
): Promise<string> {
  const target = targetOf(delivery.to);
  switch (target?.kind) {
    case 'person':
      return await rooms.direct(user, target.user, signal);
    case 'room':
      return target.room;
    case 'alias': {
      const [local, server] = splitId(target.alias);
      const portal = server === serverName ? roomOfAlias(local) : undefined;
      const room =
        portal === undefined ? await rooms.resolve(target.alias, signal) : await rooms.portal(portal, signal);
      if (room !== undefined) {
        return room;
      }
      throw new GatewayError('bridge/unavailable', `there is no room ${target.alias} yet`, {
        retryable: true,
      });
    }
    case undefined:
      throw new GatewayError(
        'bridge/rejected',
        `${delivery.to.slice(0, 200)} is no Matrix user, room or alias`,
      );
  }
}

/** The event by which it was said in this very room, where it comes from Matrix and found its way back. */
function saidHere(port: BridgePort, message: Message, room: string): string | undefined {
  if (schemeOf(message.from) !== 'matrix') {
    return undefined;
  }
  return port
    .remoteIds(message.id, message.from)
    .map(id => eventIn(room, id))
    .find(event => event !== undefined);
}

/**
 * Whether a person is told once more what they see anyway: an answer in a room's portal to what they said in that
 * portal. The switch tells authors who are no members themselves, and does not know that they are in the portal.
 */
function seenInPortal(parts: DeliverParts, port: BridgePort, { to, message }: Delivery): boolean {
  if (targetOf(to)?.kind !== 'person' || schemeOf(message.to) !== 'room' || message.inReplyTo === undefined) {
    return false;
  }
  return port.remoteIds(message.inReplyTo, to).some(remoteId => {
    const row = parts.book.room(remoteId.slice(0, remoteId.indexOf('/')));
    return row?.kind === 'portal' && row.peer === nameOf(message.to);
  });
}

function relatedTo(parts: DeliverParts, port: BridgePort, message: Message, room: string): Related {
  const eventOf = (id: string | undefined) =>
    id === undefined
      ? undefined
      : [...port.remoteIds(id), ...(parts.said.get(id) ?? [])]
          .map(remoteId => eventIn(room, remoteId))
          .find(event => event !== undefined);
  const target = eventOf(message.inReplyTo);
  const thread = eventOf(message.thread);
  const author = message.author?.name;
  const before = message.inReplyTo === undefined ? undefined : parts.messageOf(message.inReplyTo);
  return {
    hub: parts.hubId(),
    ...(target === undefined ? {} : { target }),
    ...(thread === undefined ? {} : { thread }),
    ...(author === undefined ? {} : { author }),
    own: before !== undefined && before.from === message.from && before.author?.name === author,
  };
}

async function say(
  parts: DeliverParts,
  port: BridgePort,
  delivery: Delivery,
  place: Place,
): Promise<Progress> {
  const { message } = delivery;
  const { room } = place;
  const pieces = composePieces(message, relatedTo(parts, port, message, room));
  let first: string | undefined;
  for (const [index, piece] of pieces.entries()) {
    const event = await send(parts, port, delivery, place, piece, index);
    first ??= event;
    if (targetOf(delivery.to)?.kind === 'person' && event !== undefined) {
      parts.book.keepSent({ event, room, delivery: delivery.id });
    }
  }
  parts.counters.add('matrix/sent', pieces.length);
  if (first !== undefined) {
    keepSaid(parts.said, message.id, remoteIdOf(room, first));
  }
  return { state: 'delivered', ...(first === undefined ? {} : { remoteId: remoteIdOf(room, first) }) };
}

function keepSaid(said: DeliverParts['said'], message: string, remoteId: string): void {
  const before = said.get(message) ?? [];
  said.delete(message);
  said.set(message, [...before, remoteId]);
  if (said.size > matrixLimits.recentEvents) {
    said.delete(said.keys().next().value ?? '');
  }
}

async function send(
  parts: DeliverParts,
  port: BridgePort,
  delivery: Delivery,
  { room, user, signal }: Place,
  piece: Piece,
  index: number,
): Promise<string | undefined> {
  const { message } = delivery;
  const transaction = transactionId(delivery.id, room, user, index);
  const onWait = () => port.explain(delivery.id, 'the homeserver asks to slow down');
  const call = { signal, onWait };
  if (piece.kind === 'redact') {
    const answer = await parts
      .homeserver()
      .request(user, 'PUT', path`/rooms/${room}/redact/${piece.event}/${transaction}`, { ...call, body: {} });
    return String(answer.event_id);
  }
  const content =
    piece.kind === 'event'
      ? piece.content
      : { ...piece.content, url: await parts.media.upload(port, user, piece, call) };
  const type = piece.kind === 'event' ? piece.type : 'm.room.message';
  try {
    const answer = await parts
      .homeserver()
      .request(user, 'PUT', path`/rooms/${room}/send/${type}/${transaction}`, {
        ...call,
        body: content,
        query: { ts: Math.max(0, Math.min(message.sentAt, parts.clock.now())) },
      });
    return String(answer.event_id);
  } catch (error) {
    // The same reaction once more says nothing new.
    if (saidBy(error, 'M_DUPLICATE_ANNOTATION')) {
      return undefined;
    }
    throw error;
  }
}

/** Whether what kept a message out was mended: then it is tried again at once. */
async function repaired(
  parts: DeliverParts,
  error: unknown,
  { room, user, signal }: Place,
): Promise<boolean> {
  if (!isGatewayError(error, 'bridge/rejected')) {
    return false;
  }
  if (saidUnknown(error)) {
    // The homeserver was set up anew, and its users with it.
    parts.ghosts.forget(user);
    return true;
  }
  if (!saidBy(error, 'M_FORBIDDEN', 'M_NOT_FOUND')) {
    return false;
  }
  const row = parts.book.room(room);
  try {
    await parts.rooms.join(room, user, signal);
    return true;
  } catch (cause) {
    if (row !== undefined && row.kind !== 'bot' && saidBy(cause, 'M_NOT_FOUND', 'M_UNKNOWN')) {
      // The room is gone, with the homeserver's old data: it is made again.
      parts.book.forgetRoom(room);
      return true;
    }
    if (isGatewayError(cause, 'bridge/rejected')) {
      throw new GatewayError('bridge/rejected', `cannot enter the room: ${cause.message}`, { cause });
    }
    throw cause;
  }
}

/** An answer 500 that comes again and again is a refusal: it must not hold up what comes after. */
function final(error: unknown, { attempt }: Delivery): unknown {
  return isGatewayError(error, 'bridge/unavailable') &&
    error.detail.status === 500 &&
    attempt >= matrixLimits.serverErrors
    ? new GatewayError('bridge/rejected', `${error.message}, ${attempt} times`, { cause: error })
    : error;
}
