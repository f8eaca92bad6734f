import type { BridgePort } from '../../gateway/bridge.ts';
import type { Client, DeliveryView, Desk, GatewayEvent, MessageView } from '../../gateway/desk.ts';
import { type MessageId, schemeOf } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Book, RoomRow } from './book.ts';
import { matrixLimits } from './config.ts';
import type { RoomEvent } from './events.ts';
import type { Ghosts } from './ghosts.ts';
import type { Notices } from './notices.ts';
import type { Rooms } from './rooms.ts';

/** The bridge's own eye on the desk: no token ever has this name. */
export const bridgeClient: Client = {
  id: '0'.repeat(32),
  name: 'Matrix bridge',
  scopes: ['admin'],
  rooms: [],
};

const statusType = 'com.beeper.message_send_status';

export interface StatusesParts {
  readonly desk: () => Pick<Desk, 'events' | 'messages'>;
  readonly ghosts: Ghosts;
  readonly rooms: Rooms;
  readonly notices: Notices;
  readonly book: Book;
  readonly serverName: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What the sender in Matrix sees of what became of a message. */
export interface Statuses {
  /** It is on disk here: the bot of a portal has read it. */
  accepted(id: MessageId, row: RoomRow, event: RoomEvent): void;
  /** It can never be carried; in words, too, where `visible`. */
  refused(row: RoomRow, event: RoomEvent, reason: string, message: string, visible?: boolean): Promise<void>;
  /** Follows the deliveries of messages from Matrix until the signal, going on where an earlier run stopped. */
  follow(port: BridgePort, signal: AbortSignal): Promise<void>;
}

const cursorKey = 'events';
/** A delivery that is over is told almost at once: its siblings of the same commit come along. */
const promptDelay = 30;
const mostDue = 10_000;

export function createStatuses(parts: StatusesParts): Statuses {
  const { ghosts, rooms, notices, book, clock, log } = parts;
  const speaker = (row: RoomRow) => (row.kind === 'direct' ? `@${row.peer}:${parts.serverName}` : rooms.bot);

  const tell = (row: RoomRow, event: string, key: string, content: Readonly<Record<string, unknown>>) =>
    notices.event(row.id, speaker(row), `status ${event} ${key}`, statusType, {
      network: 'org.kos.mesh',
      'm.relates_to': { rel_type: 'm.reference', event_id: event },
      ...content,
    });

  async function show(port: BridgePort, id: MessageId): Promise<void> {
    let view: MessageView;
    try {
      view = parts.desk().messages.get(bridgeClient, id);
    } catch (error) {
      if (isGatewayError(error, 'request/not-found')) {
        return;
      }
      throw error;
    }
    if (schemeOf(view.from) !== 'matrix' || view.deliveries.length === 0) {
      return;
    }
    for (const remoteId of port.remoteIds(id, view.from)) {
      const slash = remoteId.indexOf('/');
      const row = book.room(remoteId.slice(0, slash));
      if (slash > 0 && row !== undefined) {
        await showIn(row, remoteId.slice(slash + 1), view.deliveries);
      }
    }
  }

  async function showIn(row: RoomRow, event: string, deliveries: readonly DeliveryView[]): Promise<void> {
    const done = deliveries.filter(({ state }) => state === 'delivered' || state === 'read');
    const lost = deliveries.filter(({ state }) => /^(?:failed|expired|cancelled|ambiguous)$/.test(state));
    const open = deliveries.filter(({ state }) => /^(?:queued|sending|sent)$/.test(state));
    const users = done.map(({ to }) => to);
    if (open.length > 0) {
      const reason = open.find(one => one.reason !== undefined)?.reason ?? stateWords[open[0]?.state ?? ''];
      await tell(row, event, `pending ${reason} ${done.length}`, {
        status: 'PENDING',
        message: reason,
        delivered_to_users: users,
      });
      return;
    }
    if (lost.length === 0) {
      if (row.kind === 'direct') {
        await notices.read(row.id, speaker(row), event);
      }
      await tell(row, event, 'success', { status: 'SUCCESS', delivered_to_users: users });
      return;
    }
    const why = lost.map(one => `${one.to}: ${one.reason ?? stateWords[one.state] ?? one.state}`);
    await tell(row, event, 'failure', {
      status: 'FAIL_PERMANENT',
      reason: 'm.foreign_network_error',
      message: why.join('; ').slice(0, 1000),
      delivered_to_users: users,
    });
    await notices.say(
      row.id,
      speaker(row),
      `failure ${event}`,
      `⚠️ Not delivered to ${why.slice(0, 5).join('; ')}${why.length > 5 ? `; and ${why.length - 5} more` : ''}`,
      event,
    );
  }

  return {
    accepted(_id, row, event) {
      if (row.kind === 'portal') {
        void notices.read(row.id, rooms.bot, event.id);
      }
    },
    async refused(row, event, reason, message, visible = false) {
      await tell(row, event.id, 'refused', { status: 'FAIL_PERMANENT', reason, message });
      if (visible) {
        await notices.say(row.id, speaker(row), `refused ${event.id}`, `⚠️ Not sent: ${message}`, event.id);
      }
    },
    async follow(port, signal) {
      const due = new Map<MessageId, number>();
      let cursor = book.get(cursorKey) ?? parts.desk().events.cursor;
      let wake = () => {};
      const stir = () => wake();
      const stop = parts.desk().events.onCommit(stir);
      signal.addEventListener('abort', stir);
      const note = (event: GatewayEvent) => {
        if (event.kind === 'peer.seen' && event.peer?.name !== undefined) {
          ghosts.renamed(event.peer.address, signal).catch(error => {
            log.debug({ code: codeOf(error) }, 'a ghost could not be renamed');
          });
        }
        const { delivery } = event;
        if (delivery === undefined || due.size >= mostDue) {
          return;
        }
        const over = /^(?:delivered|read|failed|expired|cancelled|ambiguous)$/.test(delivery.state);
        const at = clock.monotonic() + (over ? promptDelay : matrixLimits.statusDelay);
        due.set(delivery.message, Math.min(due.get(delivery.message) ?? at, at));
      };
      try {
        while (!signal.aborted) {
          const woken = new Promise<void>(resolve => {
            wake = resolve;
          });
          const batch = readOn(cursor);
          for (const event of batch.items) {
            note(event);
          }
          if (batch.cursor !== cursor) {
            cursor = batch.cursor;
            if (batch.items.length > 0) {
              continue;
            }
          }
          const now = clock.monotonic();
          const ripe = [...due].filter(([, at]) => at <= now).map(([id]) => id);
          for (const id of ripe) {
            if (signal.aborted) {
              break;
            }
            due.delete(id);
            await show(port, id);
          }
          if (ripe.length > 0) {
            continue;
          }
          if (due.size === 0 && book.get(cursorKey) !== cursor) {
            book.set(cursorKey, cursor);
          }
          const next = Math.min(...due.values());
          const timer = new AbortController();
          await Promise.race([
            woken,
            ...(Number.isFinite(next)
              ? [clock.sleep(Math.max(next - now, 1), timer.signal).catch(() => undefined)]
              : []),
          ]);
          timer.abort();
        }
      } finally {
        stop();
        signal.removeEventListener('abort', stir);
      }
    },
  };

  function readOn(cursor: string): { readonly items: readonly GatewayEvent[]; readonly cursor: string } {
    try {
      return parts.desk().events.read(bridgeClient, cursor, 100);
    } catch (error) {
      if (isGatewayError(error, 'request/cursor-expired', 'request/invalid')) {
        log.warn({ code: error.code }, 'states of older messages are not shown in Matrix any more');
        return { items: [], cursor: parts.desk().events.cursor };
      }
      throw error;
    }
  }
}

const stateWords: Readonly<Record<string, string>> = {
  queued: 'waiting',
  sending: 'on its way',
  sent: 'on its way',
  failed: 'failed',
  expired: 'its time was over before it could be delivered',
  cancelled: 'was called back at the gateway',
  ambiguous: 'may or may not have arrived',
};
