import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { type Access, requireScope } from '../access.ts';
import { followEvents } from '../follow.ts';
import { keepAlive } from '../keep-alive.ts';
import { draftOfKlp } from '../klp.ts';
import { lastResort } from '../last-resort.ts';
import type { Rates } from '../rate.ts';
import type { Session, Sessions } from '../sessions.ts';
import {
  ackFrame,
  type ClientFrame,
  decodeFrame,
  errorFrame,
  eventBytes,
  type Form,
  idOf,
} from './frames.ts';
import { closeCodes, type WsLimits } from './limits.ts';
import { createOutlet, type Outlet } from './outlet.ts';
import { createSubscriptions, type Subscriptions } from './subscriptions.ts';

export interface SessionParts {
  readonly desk: Desk;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly rates: Rates;
  readonly limits: WsLimits;
  /** Numbers the turns of the event loop: one for all sockets. */
  readonly turns: () => number;
  /** Aborted when the gateway stops. */
  readonly closing: AbortSignal;
}

/** Who is at the other end, as far as the upgrade request told. */
export interface Caller {
  readonly remote: string;
  /** From the `Authorization` header or the control socket. */
  readonly client: Client | undefined;
  /** It said who it is, and is believed. */
  readonly onMember: () => void;
}

type FrameOf<Op extends ClientFrame['op']> = Extract<ClientFrame, { readonly op: Op }>;

/** What `hello` settled. */
interface Member {
  readonly client: Client;
  readonly session: Session;
  readonly form: Form;
  /**
   * How far the stream has come on this socket, at first where it begins: what is up to here was looked at under the
   * filters of its time, and nothing beyond it can have been seen.
   */
  reached: string;
}

/**
 * The life of one WebSocket. First `hello`; then sends, subscriptions and `seen` in any order. Events come from
 * the store, beginning at the cursor of `hello`, while there is a subscription: whatever is slow here is slow
 * for this socket alone.
 */
export function serveSocket(socket: WebSocket, wire: Duplex, caller: Caller, parts: SessionParts): void {
  const { desk, clock, log, counters, access, sessions, rates, limits, closing } = parts;
  const outlet = createOutlet(socket, { wire, clock, counters, limits, turns: parts.turns });
  const subscriptions = createSubscriptions(limits.subscriptions);
  let member: Member | undefined;
  let isStreaming = false;
  let inFlight = 0;
  let mistakes = 0;

  const hello = ({ token, after, form = 'json' }: FrameOf<'hello'>) => {
    if (member !== undefined) {
      throw new GatewayError('request/conflict', 'hello was said already');
    }
    const client =
      token === undefined ? caller.client : access.client(token, caller.remote, { door: 'websocket' });
    if (client === undefined) {
      throw new GatewayError(
        'request/unauthenticated',
        'hello needs a token where no Authorization header has one',
      );
    }
    requireScope(client, ['messages:read', 'messages:send']);
    const start = after || startOf(desk, client);
    if (after) {
      desk.events.read(client, after, 1);
    }
    const session = sessions.open(client);
    member = { client, session, form, reached: start };
    caller.onMember();
    const revoked = () => {
      const reason = session.signal.reason as Error;
      const mayReturn = isGatewayError(reason, 'bridge/unavailable');
      outlet.end(mayReturn ? closeCodes.restarting : closeCodes.unauthorized, reason.message);
    };
    session.signal.addEventListener('abort', revoked, { once: true });
    outlet.write({ op: 'hello', hub: desk.hub.id, cursor: start, client: `app:${client.name}` });
  };

  /** Both answer with how far the old filters count: the stream is in order, and so are its frames. */
  const subscribe = ({ id, filter = {} }: FrameOf<'subscribe'>, whose: Member) => {
    requireScope(whose.client, ['messages:read']);
    const isReplaced = subscriptions.put(id, filter);
    outlet.write({ op: 'subscribed', id, cursor: whose.reached, ...(isReplaced && { replaced: true }) });
    if (!isStreaming) {
      isStreaming = true;
      stream(parts, whose, subscriptions, outlet)
        .catch(error => {
          if (isGatewayError(error, 'request/cursor-expired')) {
            outlet.end(closeCodes.expired, error.message);
          } else if (!outlet.ended.aborted) {
            log.error({ code: codeOf(error), error }, 'a WebSocket stream broke');
            outlet.end(closeCodes.fault, 'the gateway failed here');
          }
        })
        .catch(lastResort('ws/internal', 'a stream', parts));
    }
  };

  const unsubscribe = ({ id }: FrameOf<'unsubscribe'>, { reached }: Member) => {
    subscriptions.remove(id);
    outlet.write({ op: 'unsubscribed', id, cursor: reached });
  };

  const post = async ({ id, message, envelope }: FrameOf<'send'>, { client, form }: Member) => {
    rates.charge(client, caller.remote, ['sends']);
    const { draft, asked } =
      message === undefined
        ? draftOfKlp(envelope, `app:${client.name}`, clock.now())
        : { draft: message, asked: undefined };
    const posted = await desk.messages.post(client, draft, id, asked);
    outlet.write(ackFrame(id, posted.message, posted.repeated, form));
  };

  /** Nothing more is read while too much waits for the disk. */
  const hold = async (writing: Promise<void>) => {
    inFlight += 1;
    if (inFlight >= limits.inFlight) {
      socket.pause();
    }
    try {
      await writing;
    } finally {
      inFlight -= 1;
      socket.resume();
    }
  };

  const see = async ({ cursor }: FrameOf<'seen'>, { client, reached }: Member) => {
    requireScope(client, ['messages:read']);
    if (isBeyond(desk, cursor, reached)) {
      throw wrongCursor('lies beyond what was pushed on this socket');
    }
    await desk.inbox.seen(client, cursor);
  };

  /** What waits for nothing is answered before the next frame is looked at. */
  const receive = (frame: ClientFrame): Promise<void> | undefined => {
    if (frame.op === 'hello') {
      hello(frame);
      return undefined;
    }
    if (member === undefined) {
      throw new GatewayError('request/unauthenticated', 'say hello first');
    }
    switch (frame.op) {
      case 'subscribe':
        subscribe(frame, member);
        return undefined;
      case 'unsubscribe':
        unsubscribe(frame, member);
        return undefined;
      case 'send':
        return hold(post(frame, member));
      case 'seen':
        return hold(see(frame, member));
    }
  };

  /** Tells the client what was wrong; a stranger is not listened to any longer. */
  const complain = (error: unknown, id: string | undefined) => {
    if (!isGatewayError(error)) {
      log.error({ error }, 'a bug in a WebSocket frame');
    }
    const frame = errorFrame(error, id);
    outlet.write(frame);
    mistakes += 1;
    if (member === undefined) {
      outlet.end(strangerCode(error), frame.problem.detail);
    } else if (mistakes > limits.mistakes) {
      outlet.end(closeCodes.policy, 'too many wrong frames');
    }
  };

  socket.on('message', (data: RawData, isBinary: boolean) => {
    if (outlet.ended.aborted) {
      return;
    }
    const text = isBinary ? '' : data.toString();
    Promise.try(() => {
      try {
        if (isBinary) {
          throw new GatewayError('request/unsupported', 'frames are text: one JSON object each');
        }
        return receive(decodeFrame(text))?.catch(error => complain(error, idOf(text)));
      } catch (error) {
        complain(error, idOf(text));
        return undefined;
      }
    }).catch(lastResort('ws/internal', 'a frame', parts));
  });

  const stop = () => outlet.end(closeCodes.restarting, 'the gateway is stopping');
  closing.addEventListener('abort', stop);
  const cancelHello = clock.after(limits.hello, () => {
    if (member === undefined) {
      outlet.end(closeCodes.unauthorized, 'no hello came');
    }
  });
  keepAlive(socket, clock, limits.ping);
  // A frame too large or not UTF-8: ws closes the socket with the code for it.
  socket.on('error', error => log.debug({ error: error.message }, 'a WebSocket failed'));
  socket.on('close', () => {
    closing.removeEventListener('abort', stop);
    cancelHello();
    member?.session[Symbol.dispose]();
  });
}

/** Carries events to the socket, each once, for as long as it lasts; stands still while nothing is subscribed. */
async function stream(
  parts: SessionParts,
  member: Member,
  subscriptions: Subscriptions,
  outlet: Outlet,
): Promise<void> {
  while (!outlet.ended.aborted) {
    const idle = await subscriptions.wanted(outlet.ended);
    const signal = AbortSignal.any([outlet.ended, idle]);
    for await (const { items, cursor, hide } of followEvents(parts, member.client, member.reached, signal)) {
      for (const event of items) {
        if (idle.aborted) {
          // Left for the next subscription.
          hide(event);
          continue;
        }
        member.reached = event.cursor;
        if (subscriptions.show(event)) {
          await outlet.push(eventBytes(event, member.form));
        } else {
          hide(event);
        }
      }
      if (!idle.aborted) {
        member.reached = cursor;
      }
    }
  }
}

/** How a socket is closed whose `hello` came to nothing: whoever is only too many or too early may come again with the same token. */
function strangerCode(error: unknown): number {
  if (isGatewayError(error, 'request/cursor-expired')) {
    return closeCodes.expired;
  }
  return isGatewayError(error) && error.retryable ? closeCodes.later : closeCodes.unauthorized;
}

function isBeyond(desk: Desk, cursor: string, reached: string): boolean {
  try {
    return desk.events.isAfter(cursor, reached);
  } catch (error) {
    throw isGatewayError(error, 'request/invalid') ? wrongCursor('not a cursor of events') : error;
  }
}

function wrongCursor(detail: string): GatewayError {
  return new GatewayError('request/invalid', `/cursor: ${detail}`, {
    errors: [{ pointer: '/cursor', detail }],
  });
}

/** Where a socket begins that names no cursor: at what its client has not acknowledged, else now. */
function startOf(desk: Desk, client: Client): string {
  const reads = client.scopes.includes('messages:read') || client.scopes.includes('admin');
  return reads ? desk.inbox.unseenSince(client) : desk.events.cursor;
}
