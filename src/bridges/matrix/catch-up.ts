import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book, RoomRow } from './book.ts';
import { matrixLimits } from './config.ts';
import { type RoomEvent, readEvent, record, text } from './events.ts';
import { type Homeserver, path } from './homeserver.ts';
import type { Inbox } from './inbox.ts';
import { digest } from './mxid.ts';

export interface CatchUpParts {
  readonly homeserver: () => Homeserver;
  readonly book: Book;
  readonly inbox: Inbox;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly serverName: string;
  readonly bot: string;
  readonly speakerOf: (row: RoomRow) => string;
}

/** Of a whole sync only the invitations. */
const filter = JSON.stringify({
  presence: { types: [] },
  account_data: { types: [] },
  room: {
    timeline: { limit: 0, types: [] },
    state: { types: [] },
    ephemeral: { types: [] },
    account_data: { types: [] },
  },
});

/** Rooms looked into at the same time. */
const atOnce = 4;

/**
 * Reads the rooms themselves for what was never pushed: a homeserver that is killed forgets what lay in its memory,
 * and what was on its way stays in its database without being sent again. What is found goes before what waits.
 */
export interface CatchUp {
  /** Every room, from where it was read to last time. Throws what `Homeserver` throws when it is gone. */
  all(signal: AbortSignal): Promise<void>;
  /** Invitations of ghosts that were never pushed: a room that nobody of ours is in cannot be read. */
  invitations(signal: AbortSignal): Promise<void>;
  /** One room. For a direct chat that was never read: what was said there since its ghost was invited, or made it. */
  room(id: string, signal: AbortSignal): Promise<void>;
}

export function createCatchUp(parts: CatchUpParts): CatchUp {
  const { book, inbox, clock, log, counters } = parts;

  async function look(row: RoomRow, signal: AbortSignal): Promise<void> {
    if (row.token === '') {
      await firstLook(row, signal);
      return;
    }
    let from = row.token;
    const pass = Symbol(row.id);
    for (let pages = 0; pages < matrixLimits.pagesOfARoom; pages++) {
      const { events, end } = await page(row, 'f', from, signal);
      if (events.length > 0) {
        counters.add('matrix/read-back', events.length);
        await inbox.insert(row.id, events, pass);
      }
      if (end === undefined || end === from) {
        return;
      }
      from = end;
      keepToken(row.id, from);
      if (events.length === 0) {
        return;
      }
    }
    log.warn({ room: row.id }, 'a room holds more than is read back at once; the rest follows');
  }

  /** A portal begins now; a direct chat with what its person has said since they asked for it, or were asked. */
  async function firstLook(row: RoomRow, signal: AbortSignal): Promise<void> {
    const { events, start } = await page(row, 'b', undefined, signal);
    if (row.kind !== 'portal') {
      const speaker = parts.speakerOf(row);
      const ours = events.findIndex(
        event =>
          (event.type === 'm.room.create' && event.sender === speaker) ||
          (event.type === 'm.room.member' &&
            event.stateKey === speaker &&
            event.content.membership === 'invite'),
      );
      const since = events.slice(0, ours < 0 ? 0 : ours).reverse();
      const said = since.filter(event => event.stateKey === undefined);
      if (said.length > 0) {
        await inbox.insert(row.id, said, Symbol(row.id));
      }
    }
    if (start !== undefined) {
      keepToken(row.id, start);
    }
  }

  function keepToken(id: string, token: string): void {
    const now = book.room(id);
    if (now !== undefined && now.token !== token) {
      book.keepRoom({ ...now, token });
    }
  }

  async function page(
    row: RoomRow,
    direction: 'b' | 'f',
    from: string | undefined,
    signal: AbortSignal,
  ): Promise<{ events: readonly RoomEvent[]; start: string | undefined; end: string | undefined }> {
    const limit = direction === 'b' ? matrixLimits.firstLook : matrixLimits.page;
    const answer = await parts
      .homeserver()
      .request(parts.speakerOf(row), 'GET', path`/rooms/${row.id}/messages`, {
        signal,
        query: { dir: direction, limit, ...(from === undefined ? {} : { from }) },
      });
    const chunk: readonly unknown[] = Array.isArray(answer.chunk) ? answer.chunk : [];
    return {
      events: chunk.flatMap(event => readEvent(event, row.id) ?? []),
      start: text(answer.start),
      end: text(answer.end),
    };
  }

  async function invitationsOf(user: string, signal: AbortSignal): Promise<readonly RoomEvent[]> {
    if (user === parts.bot) {
      // Synapse lets the sender of an appservice not sync at all.
      return [];
    }
    try {
      const answer = await parts
        .homeserver()
        .request(user, 'GET', '/sync', { signal, query: { timeout: 0, set_presence: 'offline', filter } });
      return Object.entries(record(record(answer.rooms).invite)).flatMap(([room, invited]) => {
        const state = record(record(invited).invite_state).events;
        const events: readonly unknown[] = Array.isArray(state) ? state : [];
        const own = events.map(record).find(one => one.type === 'm.room.member' && one.state_key === user);
        // What is shown to the invited has no id of its own.
        const id = `$invitation-${digest(`${room} ${user} ${clock.now()}`)}`;
        return own === undefined ? [] : (readEvent({ ...own, event_id: id }, room) ?? []);
      });
    } catch (error) {
      if (isGatewayError(error, 'bridge/rejected')) {
        return [];
      }
      throw error;
    }
  }

  async function lookAt(row: RoomRow, signal: AbortSignal): Promise<void> {
    try {
      await look(row, signal);
    } catch (error) {
      signal.throwIfAborted();
      // One room that the homeserver cannot give now must not keep the others from being read.
      const isAway = isGatewayError(error, 'bridge/unavailable') && error.detail.lost !== true;
      if (!isAway && !isGatewayError(error, 'bridge/rejected')) {
        throw error;
      }
      log.info({ code: codeOf(error), room: row.id }, `a room cannot be read back: ${error.message}`);
      counters.add('matrix/read-back-refused');
      if (row.token !== '' && error.detail.status === 400) {
        await withoutPlace(row, signal);
      }
    }
  }

  /** The place to go on from belongs to another database: the newest page has what is missing, and what is known is known. */
  async function withoutPlace(row: RoomRow, signal: AbortSignal): Promise<void> {
    const { events, start } = await page(row, 'b', undefined, signal);
    const oldest = clock.now() - matrixLimits.lostPlaceAge;
    await inbox.insert(row.id, events.filter(event => event.at >= oldest).reverse(), Symbol(row.id));
    if (start !== undefined) {
      keepToken(row.id, start);
    }
  }

  return {
    async all(signal) {
      const rooms = [...book.rooms()];
      const work = async () => {
        for (let row = rooms.shift(); row !== undefined; row = rooms.shift()) {
          await lookAt(row, signal);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, work));
    },
    async invitations(signal) {
      const names = [...book.ghostNames(matrixLimits.askedGhosts)];
      const work = async () => {
        for (let name = names.shift(); name !== undefined; name = names.shift()) {
          const events = await invitationsOf(`@${name}:${parts.serverName}`, signal);
          if (events.length > 0) {
            counters.add('matrix/invite/found', events.length);
            await inbox.offer(events);
          }
        }
      };
      await Promise.all(Array.from({ length: atOnce }, work));
    },
    async room(id, signal) {
      const row = book.room(id);
      if (row !== undefined) {
        await lookAt(row, signal);
      }
    },
  };
}
