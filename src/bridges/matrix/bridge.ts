import type { Bridge, BridgePort, Delivery } from '../../gateway/bridge.ts';
import type { Desk, MessageView } from '../../gateway/desk.ts';
import { type Address, nameOf } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { ServiceHealth } from '../../lib/service.ts';
import type { Appservice } from './appservice.ts';
import { openBook, type RoomRow } from './book.ts';
import { type CatchUp, createCatchUp } from './catch-up.ts';
import { createCommands } from './commands.ts';
import { type MatrixConfig, matrixLimits } from './config.ts';
import { deliverTo } from './deliver.ts';
import { type Content, type RoomEvent, readEvent, record, text } from './events.ts';
import { createGhosts } from './ghosts.ts';
import { connectHomeserver, type Homeserver, saidUnknown } from './homeserver.ts';
import { createInbox } from './inbox.ts';
import { createLink, type Link } from './link.ts';
import { createMedia } from './media.ts';
import { memberMark, speakerOf } from './memberships.ts';
import { botLocalpart, portalAlias, roomOfAlias, splitId, targetOf, watchLocalpart } from './mxid.ts';
import { createNotices } from './notices.ts';
import { createReceiver } from './receive.ts';
import type { Registration } from './registration.ts';
import { createRooms } from './rooms.ts';
import { bridgeClient, createStatuses } from './statuses.ts';

export interface MatrixParts {
  /** First asked when the bridge runs: the switch that has the desk is made with its bridges. */
  readonly desk: () => Pick<Desk, 'hub' | 'health' | 'directory' | 'events' | 'messages'>;
  readonly config: MatrixConfig;
  readonly registration: Registration;
  /** The book's file, or `:memory:`. */
  readonly file: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** The health of the way from the homeserver to here. */
  readonly report?: (health: ServiceHealth) => void;
}

type HubRooms = Parameters<NonNullable<Bridge['onRooms']>>[0];

/** Matrix as a Bridge, and the appservice behind the routes of the listener. */
export interface MatrixBridge extends Bridge, Disposable {
  readonly appservice: Appservice;
}

/**
 * Makes the bridge. It takes what the homeserver pushes from now on, running or not: what the switch does not take at once
 * is on disk before it is answered.
 */
export function createMatrixBridge(parts: MatrixParts): MatrixBridge {
  const { config, registration, clock, random, log, counters } = parts;
  const { serverName } = config;
  const book = openBook(parts.file, { clock, log });
  const inbox = createInbox({ clock, log, counters, book });
  /** Rooms of the hub; each has a portal. */
  let hubRooms: HubRooms = {};
  let connected: Homeserver | undefined;
  let running:
    | { readonly port: BridgePort; readonly catchUp: CatchUp; readonly signal: AbortSignal }
    | undefined;

  const homeserver = () => {
    if (connected === undefined) {
      throw new GatewayError('bridge/unavailable', 'the homeserver is not reachable', { retryable: true });
    }
    return connected;
  };
  const shared = { desk: parts.desk, config, clock, random, log, counters, homeserver, book, serverName };
  const ghosts = createGhosts({
    ...shared,
    nameOf: address => running?.port.nameOf(address) ?? nameOf(address),
  });
  const rooms = createRooms(shared);
  const media = createMedia(shared);
  const notices = createNotices(shared);
  const statuses = createStatuses({ ...shared, ghosts, rooms, notices });
  const commands = createCommands({
    ...shared,
    ghosts,
    rooms,
    notices,
    allowed: config.allow ?? [`@*:${serverName}`],
  });
  const said = new Map<string, readonly string[]>();
  const hubId = () => parts.desk().hub.id;
  const speaker = (row: RoomRow) => speakerOf(row, rooms, serverName);
  const catchUp = createCatchUp({ ...shared, inbox, bot: rooms.bot, speakerOf: speaker });
  const receiver = createReceiver({
    ...shared,
    ghosts,
    rooms,
    media,
    notices,
    statuses,
    commands,
    messageOf,
    roomWith: member => roomWith(member),
    onEntered(row) {
      const signal = running?.signal;
      if (signal !== undefined) {
        catchUp.room(row.id, signal).catch(error => {
          log.debug({ code: codeOf(error) }, 'a new chat could not be read back yet');
        });
      }
    },
  });

  /** The bot's user with its device, and that the homeserver knows it; made again where the homeserver was. */
  async function introduce(link: Link, signal: AbortSignal): Promise<void> {
    for (let again = false; ; again = true) {
      await ghosts.ensureOwn(botLocalpart, parts.desk().hub.name, signal);
      try {
        await link.check(signal);
        break;
      } catch (error) {
        if (again || !saidUnknown(error)) {
          throw error;
        }
        // The homeserver may have been set up anew: what is made at a start is looked for again, the rest when it is needed.
        ghosts.forget(rooms.bot);
        ghosts.forget(`@${watchLocalpart}:${serverName}`);
        rooms.doubt();
      }
    }
    await ghosts.ensureOwn(watchLocalpart, `${parts.desk().hub.name} (watch)`, signal);
  }

  const roomWith = (member: Address) =>
    Object.entries(hubRooms).find(([, { members }]) => members.includes(member))?.[0];

  /** Matrix rooms that are members no more, and that the bot has not left yet. */
  const leaving = new Set<string>();

  /**
   * The rooms are other ones, or may have become so while nobody ran: new ones are entered, and what is no member any more is
   * forgotten now and left once the homeserver is there.
   */
  function roomsChanged(next: HubRooms): void {
    hubRooms = next;
    for (const row of book.rooms()) {
      const room = roomWith(`matrix:${row.id}`);
      if (room !== undefined) {
        leaving.delete(row.id);
      }
      if (row.kind !== 'portal' || row.person !== memberMark || room === row.peer) {
        continue;
      }
      if (room === undefined) {
        log.warn(
          { room: row.id },
          `this Matrix room is no member of the room ${row.peer} any more: it is left`,
        );
        book.forgetRoom(row.id);
        leaving.add(row.id);
      } else {
        log.info(
          { room: row.id },
          `this Matrix room is a member of the room ${room} now, and not of ${row.peer}`,
        );
        book.keepRoom({ ...row, peer: room });
      }
    }
    const signal = running?.signal;
    if (signal !== undefined) {
      leaveRooms(signal);
      openRooms(signal).catch(error => {
        log.debug({ code: codeOf(error) }, 'the rooms could not be entered yet');
      });
    }
  }

  function leaveRooms(signal: AbortSignal): void {
    for (const room of leaving) {
      leaving.delete(room);
      void rooms.leave(room, 'this room is no member of a room of the gateway any more', signal);
    }
  }

  /** A portal for every room, and the bot in every Matrix room that is a member of one. */
  async function openRooms(signal: AbortSignal): Promise<void> {
    for (const [name, { members }] of Object.entries(hubRooms)) {
      await refusalsAside(`the portal of the room ${name}`, () => rooms.portal(name, signal));
      for (const member of members) {
        const target = targetOf(member);
        if (target?.kind === 'room' && book.room(target.room) === undefined) {
          await refusalsAside(`${member}, invite ${rooms.bot} there`, async () => {
            await rooms.join(target.room, rooms.bot, signal);
            // It is read from here on, whatever is pushed of it.
            receiver.roomOf(target.room);
          });
        }
      }
    }
  }

  async function refusalsAside(what: string, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      // A room on a server that is away keeps nobody from the others; it is tried again now and then.
      const isAway = isGatewayError(error, 'bridge/unavailable') && error.detail.lost !== true;
      if (!isAway && !isGatewayError(error, 'bridge/rejected')) {
        throw error;
      }
      counters.add('matrix/room/refused');
      log.warn({ code: error.code }, `cannot enter ${what}: ${error.message}`);
    }
  }

  async function run(port: BridgePort, stopping: AbortSignal): Promise<void> {
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => undefined);
    let isUp = false;
    const ending = new AbortController();
    const end = () => ending.abort(stopping.reason);
    stopping.addEventListener('abort', end, { once: true });
    const { signal } = ending;
    const opened = await connectHomeserver({
      url: config.homeserver,
      token: registration.as_token,
      bot: rooms.bot,
      clock,
      counters,
      onLost: error => isUp && lost.reject(error),
    });
    const tasks: Promise<unknown>[] = [];
    const link = createLink({
      homeserver: opened,
      bot: rooms.bot,
      id: registration.id,
      url: registration.url,
      clock,
      log,
      report: health => parts.report?.(health),
    });
    try {
      stopping.throwIfAborted();
      connected = opened;
      running = { port, catchUp, signal };
      await introduce(link, signal);
      leaveRooms(signal);
      await openRooms(signal);
      const control = await rooms.control(signal);
      // Before anything that comes now: what was lost goes first.
      await catchUp.all(signal);
      tasks.push(inbox.run((event, until) => receiver.take(port, event, until), signal));
      isUp = true;
      port.ready();
      catchUp.invitations(signal).catch(error => {
        log.debug({ code: codeOf(error) }, 'ghosts could not be asked for invitations');
      });
      await link.stir(control, String(clock.now()), signal);
      tasks.push(
        link.watch(`@${watchLocalpart}:${serverName}`, signal),
        every(matrixLimits.pingEvery, () => link.ping(signal)),
        every(matrixLimits.catchUpEvery, async () => {
          await openRooms(signal);
          await catchUp.all(signal);
        }),
        statuses.follow(port, signal),
      );
      await Promise.race([lost.promise, ...tasks]);
    } catch (error) {
      if (!stopping.aborted) {
        link.down(isGatewayError(error) ? error.message : 'a mistake in this program, see the log');
        throw error;
      }
    } finally {
      stopping.removeEventListener('abort', end);
      ending.abort(new GatewayError('bridge/unavailable', 'the Matrix bridge is stopping'));
      running = undefined;
      // First: what a task waits for may be a homeserver that takes its time.
      opened.close();
      await Promise.allSettled(tasks);
      connected = undefined;
    }

    async function every(ms: number, work: () => Promise<void>): Promise<void> {
      while (!signal.aborted) {
        await clock.sleep(ms, signal);
        await work();
      }
    }
  }

  let lastTransaction = 0;

  /** A homeserver that counts from the beginning again was restarted, and may have forgotten what it had to send. */
  function watchCount(id: string): void {
    const number = Number(id);
    if (!Number.isSafeInteger(number)) {
      return;
    }
    if (number < lastTransaction && running !== undefined) {
      counters.add('matrix/homeserver-restarted');
      const { signal } = running;
      catchUp.all(signal).catch(error => {
        log.debug({ code: codeOf(error) }, 'the rooms could not be read back yet');
      });
    }
    lastTransaction = number;
  }

  /** Whoever has read an event has read everything of ours before it. */
  async function receipts(edu: Content): Promise<void> {
    const room = text(edu.room_id);
    const port = running?.port;
    if (edu.type !== 'm.receipt' || room === undefined || port === undefined) {
      return;
    }
    for (const [event, kinds] of Object.entries(record(edu.content))) {
      const readers = Object.keys(record(record(kinds)['m.read']));
      if (readers.some(user => !ghosts.isOurs(user))) {
        for (const { delivery } of book.takeSentUpTo(room, event)) {
          await port.report(delivery, { state: 'read' });
        }
      }
    }
  }

  const appservice: Appservice = {
    hsToken: registration.hs_token,
    async transaction(id, body) {
      watchCount(id);
      const given: readonly unknown[] = Array.isArray(body.events) ? body.events : [];
      const events: RoomEvent[] = [];
      for (const value of given) {
        const event = readEvent(value);
        if (event === undefined) {
          counters.add('matrix/event/malformed');
        } else {
          events.push(event);
        }
      }
      await inbox.offer(events);
      const edus: readonly unknown[] = Array.isArray(body.ephemeral) ? body.ephemeral : [];
      for (const edu of edus) {
        await receipts(record(edu)).catch(error => {
          log.debug({ code: codeOf(error) }, 'a read receipt could not be noted');
        });
      }
    },
    async user(userId) {
      const address = ghosts.addressOf(userId);
      const isNew = book.ghost(splitId(userId)[0]) === undefined;
      if (address === undefined || (isNew && book.ghosts() >= matrixLimits.ghostsAskedFor)) {
        return false;
      }
      await ghosts.ensure(address);
      return true;
    },
    async room(alias) {
      const [local, server] = splitId(alias);
      const name = server === serverName ? roomOfAlias(local) : undefined;
      if (name === undefined || !Object.hasOwn(hubRooms, name)) {
        return false;
      }
      return await rooms.hasPortal(name);
    },
    pinged: () => counters.add('matrix/pinged'),
  };

  return {
    name: 'matrix',
    isRemote: true,
    carries: {
      textBytes: 256 * 1024,
      attachmentBytes: matrixLimits.mediaBytes,
      replies: true,
      // Delivered means that the homeserver has it on disk; a person's receipt makes it read.
      receipts: false,
      deduplicates: true,
      concurrency: 16,
    },
    reaches: address => targetOf(address) !== undefined,
    placeOf: room => `matrix:#${portalAlias(room)}:${serverName}`,
    onRooms: roomsChanged,
    hubMembers: config.invite === undefined ? [] : [`matrix:${config.invite}`],
    appservice,
    run,
    async deliver(delivery: Delivery, signal) {
      signal.throwIfAborted();
      const port = running?.port;
      if (port === undefined) {
        throw new GatewayError('bridge/unavailable', 'the Matrix bridge is starting', { retryable: true });
      }
      return await deliverTo(
        { ...shared, ghosts, rooms, media, messageOf, hubId, said },
        port,
        delivery,
        signal,
      );
    },
    [Symbol.dispose]: () => book[Symbol.dispose](),
  };

  function messageOf(message: string): MessageView | undefined {
    try {
      return parts.desk().messages.get(bridgeClient, message);
    } catch (error) {
      if (isGatewayError(error, 'request/not-found')) {
        return undefined;
      }
      throw error;
    }
  }
}
