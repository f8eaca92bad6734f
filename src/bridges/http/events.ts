import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { cursorShape } from '../../gateway/cursor.ts';
import type { Desk, GatewayEvent } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { type EventBatch, followEvents } from '../follow.ts';
import { eventJson, invalid } from '../schema.ts';
import type { Sessions } from '../sessions.ts';
import { pour } from './pour.ts';
import { cursorOrNone, type Route, route } from './route.ts';

const shape = cursorShape('event', 'unread');

/** ms between comments on a silent stream, so that proxies and the client know it lives. */
const heartbeat = 15_000;

/** ms a client waits before it connects again. */
const retry = 3_000;

export interface EventParts {
  readonly desk: Desk;
  readonly sessions: Sessions;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each stream that is ended because its client takes nothing. */
  readonly onSlow?: (() => void) | undefined;
}

/** Everything that happens, as Server-Sent Events. Source: WHATWG HTML §9.2. */
export function eventRoutes(parts: EventParts): Route[] {
  const { desk, sessions } = parts;
  return [
    route({
      method: 'GET',
      path: '/v1/events',
      summary: 'Every event the client may see, as it happens (Server-Sent Events)',
      tag: 'messages',
      audience: ['messages:read'],
      query: z.strictObject({
        after: cursorOrNone('begin after this event; default now', 'event', 'unread'),
      }),
      headers: { 'Last-Event-ID': 'as browsers send it after a break; goes before after' },
      live: true,
      responses: {
        200: {
          description: 'a stream that does not end; the data of each event is an Event',
          mediaType: 'text/event-stream',
        },
      },
      handle({ client, query, header, signal }) {
        const session = sessions.open(client);
        try {
          const last = header('last-event-id');
          if (last && !shape.test(last)) {
            throw invalid([{ pointer: '/header/last-event-id', detail: 'not a cursor of this list' }]);
          }
          const start = last || query.after || desk.events.cursor;
          // A cursor that is not good must be a problem, not a stream that breaks.
          desk.events.read(client, start, 1);
          return {
            status: 200,
            async take(response: ServerResponse) {
              using _open = session;
              const ends = AbortSignal.any([signal, session.signal]);
              await stream(parts, response, followEvents(parts, client, start, ends), start, ends);
            },
          };
        } catch (error) {
          session[Symbol.dispose]();
          throw error;
        }
      },
    }),
  ];
}

type Batch = Pick<EventBatch, 'items' | 'cursor'>;

async function stream(
  { clock, onSlow }: EventParts,
  response: ServerResponse,
  batches: AsyncIterable<Batch>,
  start: string,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no',
    connection: 'close',
  });
  let cursor = start;
  // An id without data is remembered by the client and shown to nobody: it can resume before its first event.
  response.write(`retry: ${retry}\nid: ${cursor}\n\n`);
  const beat = () => {
    response.write(`: \nid: ${cursor}\n\n`);
    cancel = clock.after(heartbeat, beat);
  };
  let cancel = clock.after(heartbeat, beat);
  try {
    // A comment may come between two pieces: its place is behind what was written.
    const piecesOf = function* (batch: Batch) {
      for (const event of batch.items) {
        cursor = event.cursor;
        yield frame(event);
      }
      cursor = batch.cursor;
    };
    await pour(response, batches, piecesOf, { clock, signal, ...(onSlow && { onSlow }) });
  } finally {
    cancel();
  }
}

const framed = new WeakMap<GatewayEvent, Buffer>();

/** An event as it goes over the wire: made once for all who get it, and in memory once, however many leave it unread. */
function frame(event: GatewayEvent): Buffer {
  return framed.getOrInsertComputed(event, () =>
    Buffer.from(`event: ${event.kind}\nid: ${event.cursor}\ndata: ${JSON.stringify(eventJson(event))}\n\n`),
  );
}
