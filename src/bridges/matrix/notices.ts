import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { matrixLimits } from './config.ts';
import { type Homeserver, path } from './homeserver.ts';
import { transactionId } from './mxid.ts';

export interface NoticesParts {
  readonly homeserver: () => Homeserver;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** What the bridge itself says in rooms. It is best effort: a notice that fails is logged, and nothing waits for it. */
export interface Notices {
  /** Says a line as one of our users. The same key says it once, whatever happens in between. */
  say(room: string, user: string, key: string, text: string, answers?: string): Promise<void>;
  /** As `say`, but not more often than once an hour for a room and kind. */
  remind(room: string, user: string, kind: string, key: string, text: string): Promise<void>;
  /** Marks everything up to an event as read. While one mark is on its way, only the newest of those that follow goes. */
  read(room: string, user: string, event: string): Promise<void>;
  /** An event of any other type. */
  event(room: string, user: string, key: string, type: string, content: object): Promise<void>;
}

const mostReminders = 4096;

export function createNotices(parts: NoticesParts): Notices {
  const { clock, log, counters } = parts;
  const reminded = new Map<string, number>();
  /** The newest event to be marked, for each room and user with a mark on its way. */
  const marks = new Map<string, string>();

  async function attempt(what: string, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      counters.add('matrix/notice/failed');
      log.debug({ code: codeOf(error), error }, `${what} could not be sent`);
    }
  }

  const send = (room: string, user: string, key: string, type: string, body: object) =>
    attempt(type, () =>
      parts
        .homeserver()
        .request(user, 'PUT', path`/rooms/${room}/send/${type}/${transactionId('notice', room, user, key)}`, {
          body,
        }),
    );

  const say: Notices['say'] = (room, user, key, text, answers) => {
    counters.add('matrix/notice');
    return send(room, user, key, 'm.room.message', {
      msgtype: 'm.notice',
      body: text.toWellFormed(),
      'm.mentions': {},
      ...(answers === undefined ? {} : { 'm.relates_to': { 'm.in_reply_to': { event_id: answers } } }),
    });
  };

  return {
    say,
    async remind(room, user, kind, key, text) {
      const of = `${kind} ${room}`;
      const now = clock.monotonic();
      if (now - (reminded.get(of) ?? Number.NEGATIVE_INFINITY) < matrixLimits.noticeEvery) {
        return;
      }
      reminded.set(of, now);
      if (reminded.size > mostReminders) {
        reminded.delete(reminded.keys().next().value ?? '');
      }
      await say(room, user, key, text);
    },
    async read(room, user, event) {
      const key = `${room} ${user}`;
      const isUnderWay = marks.has(key);
      marks.set(key, event);
      if (isUnderWay) {
        return;
      }
      for (let next: string | undefined = event; next !== undefined; ) {
        const marked: string = next;
        await attempt('a read receipt', () =>
          parts
            .homeserver()
            .request(user, 'POST', path`/rooms/${room}/receipt/m.read/${marked}`, { body: {} }),
        );
        const newest = marks.get(key);
        next = newest === marked ? undefined : newest;
      }
      marks.delete(key);
    },
    event: send,
  };
}
