import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Door } from '../../gateway/audit-entry.ts';
import { type CursorKind, cursorShape } from '../../gateway/cursor.ts';
import type { Client, Desk, Scope } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { type Access, requireScope } from '../access.ts';
import { type Listener, listenerLimits } from '../listener.ts';
import { negotiate } from '../negotiate.ts';
import { fieldsOf, type RateKind, type Rates } from '../rate.ts';
import { invalid, mistakesOf } from '../schema.ts';
import { actionOf, doneEntry, refusedEntry } from './audited.ts';
import { jsonBytes, publicJsonBytes, readJson } from './body.ts';
import { callerOf, callerStill } from './caller.ts';
import type { Logins } from './logins.ts';
import { jsonType, notAcceptable, offeredBy } from './offer.ts';
import { createOutgoing } from './outgoing.ts';
import { send } from './sending.ts';

/** Who may call: anybody, or a client with one of these scopes. */
export type Audience = 'public' | readonly [Scope, ...Scope[]];

/** One operation of the API. The table of these is the server, its validation and its OpenAPI document. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS';
  /** As in OpenAPI: `/v1/messages/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly audience: Audience;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  /** Its handler reads the query by itself. */
  readonly anyQuery?: boolean;
  /** Request headers that mean something, for the document, in words or as a schema; read with `call.header`. */
  readonly headers?: Readonly<Record<string, string | z.ZodType>>;
  /** Those of them that must be there. */
  readonly needed?: readonly string[];
  /** A schema for JSON; `raw` leaves the body a stream, which may be empty. */
  readonly body?: z.ZodType | 'raw';
  /** What the document shows of the body, where somebody else than `body` checks it more closely. */
  readonly bodyShown?: z.ZodType;
  /** The forms of a raw body that must be there, for the document. */
  readonly bodyTypes?: Readonly<Record<string, z.ZodType>>;
  /** Nothing at all is as good as an empty object. */
  readonly optionalBody?: boolean;
  readonly responses: Readonly<Record<number, ResponseSpec>>;
  /** ms, where the default handler timeout is too short. */
  readonly timeout?: number;
  /** Answers change by being read, or do not end: no ETag, and a HEAD reads nothing. */
  readonly live?: boolean;
  /** A file of the page and nothing for programs: it is not in the document. */
  readonly undocumented?: boolean;
  /**
   * Its name in the audit log, such as `tokens.create`; `false` for none. Without it what is not a GET and needs `admin`,
   * `rooms:write` or `mesh:read` is there under the id of its operation.
   */
  readonly audit?: string | false;
  handle(call: Call<never, never, never>): Promise<Answer> | Answer;
}

export interface ResponseSpec {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Where it is not `application/json`. */
  readonly mediaType?: string;
  /** Other forms, by their media types. */
  readonly also?: Readonly<Record<string, z.ZodType | null>>;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What can be done with what is answered: operations by their ids, with runtime expressions for their parameters.
   * Source: OpenAPI 3.1, Link Object.
   */
  readonly links?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** A checked request. */
export interface Call<P, Q, B> {
  /** The caller; on a public route nobody. */
  readonly client: Client;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly request: FastifyRequest;
  /** That of the operation's media types which its client likes best; empty where there is nothing to choose. */
  readonly mediaType: string;
  /** Aborted when the client has gone or the listener closes. */
  readonly signal: AbortSignal;
  header(name: string): string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  /** When the thing was changed, ms epoch, where that is known exactly: every change of what is shown moves it. */
  readonly changed?: number | undefined;
  /** Text with a content type of its own among `headers`, or bytes as they come. */
  readonly body?: string | Uint8Array | Readable;
  /** A problem whose status its code does not tell (416). */
  readonly error?: GatewayError;
  /**
   * For the audit log, where the path and the caller do not say it: who did it, how they came, and to what. Names only. `false`
   * where nothing was done.
   */
  readonly audit?: { readonly actor?: string; readonly door?: Door; readonly target?: string } | false;
  /** Takes the response over: for streams that do not end. Rejections end the socket. */
  readonly take?: (response: ServerResponse) => Promise<void>;
}

type Shape<S> = S extends z.ZodType ? z.output<S> : undefined;

type Spec<P, Q, B> = Omit<Route, 'params' | 'query' | 'body' | 'handle'> & {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  handle(call: Call<Shape<P>, Shape<Q>, Shape<B>>): Promise<Answer> | Answer;
};

/** Writes one line of the table so that `handle` gets the types of its schemas. */
export function route<
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  B extends z.ZodType | 'raw' | undefined = undefined,
>(spec: Spec<P, Q, B>): Route {
  return spec as unknown as Route;
}

/** A whole number in a query: text there, a number for the handler and in the document. */
export function integerParam(least: number, most: number, about: string) {
  return z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${least} to ${most}`)
    .transform(Number)
    .pipe(z.int().min(least, `at least ${least}`).max(most, `at most ${most}`))
    .meta({ type: 'integer', minimum: least, maximum: most, pattern: undefined, description: about })
    .exactOptional();
}

/** A cursor of these lists; opaque to clients. The pattern tells what cannot be one of this list. */
export function cursorOf(about: string, ...kinds: readonly CursorKind[]) {
  return z
    .string()
    .regex(cursorShape(...kinds), 'not a cursor of this list')
    .exactOptional()
    .describe(about);
}

/** The same where an empty one means none. */
export function cursorOrNone(about: string, ...kinds: readonly CursorKind[]) {
  const shape = new RegExp(cursorShape(...kinds).source.replace(/^\^(.*)\$$/, '^(?:$1)?$'));
  return z.string().regex(shape, 'not a cursor of this list').exactOptional().describe(about);
}

const nothing = z.strictObject({});
const unlooked = { value: undefined, errors: [] };

export interface RouteParts {
  readonly listener: Listener;
  readonly access: Access;
  readonly logins: Logins;
  readonly clock: Clock;
  readonly log: Log;
  readonly desk: Pick<Desk, 'audit' | 'clients'>;
  readonly rates: Rates;
}

/** Registers the table. */
export function addRoutes(parts: RouteParts, routes: readonly Route[]): void {
  const {
    listener,
    clock,
    log,
    rates,
    desk: { audit },
  } = parts;
  const outgoing = createOutgoing();
  void listener.app.register((app, _options, done) => {
    // Bodies are read by `readJson`, after the caller is known and with every mistake at once.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null));
    for (const one of routes) {
      const action = actionOf(one);
      const kinds = rateKinds(one);
      const offered = offeredBy(one);
      app.route({
        method: one.method === 'GET' ? ['GET', 'HEAD'] : one.method,
        url: one.path.replaceAll(/\{(\w+)\}/g, ':$1'),
        config: { timesItself: true, unlisted: isAlias(one, routes) },
        handler: async (request, reply) => {
          await (one.method === 'GET' ? outgoing.turn(request.raw, reply.raw) : undefined);
          const caller = callerOf(one.audience, request, parts);
          // Strangers have one account together: what is small, such as whether the hub lives, is told them whatever is in it.
          const isStranger = one.audience === 'public';
          if (one.method === 'GET' && !isStranger) {
            outgoing.check(caller.client.id);
          }
          const { login } = caller;
          const ends = () => {
            if (login !== undefined && !reply.raw.closed) {
              reply.raw.once('close', login.hold());
            }
            const others = [listener.closing, ...(login === undefined ? [] : [login.ended])];
            return endOf(reply, one.live === true ? request.raw.socket : undefined, others);
          };
          const timer = clock.after(one.timeout ?? listenerLimits.handlerTimeout, () => tooLate(reply));
          let answer: Answer;
          try {
            if (one.audience !== 'public') {
              if (caller.door !== 'control') {
                charge(rates, caller.client, kinds, request, reply);
              }
              requireScope(caller.client, one.audience);
            }
            const mediaType = offered === undefined ? '' : negotiate(request.headers.accept, offered);
            if (offered !== undefined && mediaType === undefined) {
              answer = notAcceptable(offered);
            } else {
              const call = await checked(one, request, mediaType ?? '', ends, () =>
                callerStill(one.audience, caller, parts.desk),
              );
              if (request.method === 'HEAD' && one.live === true) {
                return reply.header('content-type', mediaType || jsonType).send();
              }
              answer = await one.handle(call as Call<never, never, never>);
              if (action !== undefined && answer.audit !== false) {
                await audit.record(doneEntry(action, caller, request, call, answer));
              }
            }
          } catch (error) {
            const entry =
              action !== undefined &&
              one.audience !== 'public' &&
              refusedEntry(action, caller, request, request.params, error);
            if (entry) {
              audit.refused(entry);
            }
            if (reply.sent) {
              return reply;
            }
            throw error;
          } finally {
            timer();
          }
          if (reply.sent) {
            return reply;
          }
          if (answer.take === undefined) {
            send(one, answer, request, reply, {
              now: clock.now(),
              hold: bytes => {
                if (one.method === 'GET' && isStranger) {
                  checkLate(() => outgoing.check(caller.client.id, bytes), answer, reply);
                }
                outgoing.hold(caller.client.id, reply.raw, bytes);
              },
            });
            return reply;
          }
          reply.hijack();
          await answer.take(reply.raw).catch(error => {
            log.warn({ path: one.path, code: codeOf(error), error }, 'a stream broke');
            reply.raw.destroy();
          });
          return reply;
        },
      });
    }
    done();
  });
}

/** Another way to the documented operations of its path, for clients that cannot send their methods: no method of the path. */
function isAlias(one: Route, routes: readonly Route[]): boolean {
  const isShown = ({ undocumented }: Route) => undocumented !== true;
  return !isShown(one) && routes.some(other => other.path === one.path && isShown(other));
}

/** What a call of it counts as: one that puts a message or a blob there is a send as well. */
function rateKinds({ method, audience }: Route): readonly RateKind[] {
  const isSend = method === 'POST' && audience !== 'public' && audience.includes('messages:send');
  return isSend && audience.length === 1 ? ['requests', 'sends'] : ['requests'];
}

/** Says what the client has left, also where it has nothing left. */
function charge(
  rates: Rates,
  client: Client,
  kinds: readonly RateKind[],
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  try {
    reply.headers(rates.charge(client, request.ip, kinds));
  } catch (error) {
    reply.headers(fieldsOf(error));
    throw error;
  }
}

/** What was said of an answer that is not given after all does not go with the error. */
function checkLate(
  check: () => void,
  { headers: { vary: _, ...headers } = {} }: Answer,
  reply: FastifyReply,
): void {
  try {
    check();
  } catch (error) {
    for (const name of ['etag', 'last-modified', ...Object.keys(headers)]) {
      reply.removeHeader(name);
    }
    throw error;
  }
}

/** The handler has taken too long: whoever waits is told so. */
function tooLate(reply: FastifyReply): void {
  if (!reply.sent) {
    reply.send(tooSlow());
  }
}

/** What whoever waits too long for a handler is told. */
export function tooSlow(): GatewayError {
  return new GatewayError('bridge/unavailable', 'this took too long', { retryable: true });
}

/** Made once: an error with its stack for each request costs more than most answers. */
const hasEnded = new DOMException('the response is over', 'AbortError');

/**
 * Aborted when the response is over, whether it was sent or its reader has gone (also after `hijack`), or by the others. Of
 * what may wait for long, `socket` is given: whoever closes its side of that has gone, or gets what there is by then.
 */
function endOf(reply: FastifyReply, socket: Socket | undefined, others: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  const end = () => {
    socket?.off('end', end);
    controller.abort(hasEnded);
  };
  if (reply.raw.closed || socket?.readableEnded === true) {
    end();
  } else {
    reply.raw.once('close', end);
    socket?.once('end', end);
  }
  return AbortSignal.any([controller.signal, ...others]);
}

async function checked(
  one: Route,
  request: FastifyRequest,
  mediaType: string,
  ends: () => AbortSignal,
  clientNow: () => Client,
): Promise<Call<unknown, unknown, unknown>> {
  const params = one.params === undefined ? unlooked : mistakesOf(one.params, request.params, '/path');
  const query =
    one.anyQuery === true || (one.query === undefined && !request.url.includes('?'))
      ? unlooked
      : mistakesOf(one.query ?? nothing, request.query, '/query');
  const limit = one.audience === 'public' ? publicJsonBytes : jsonBytes;
  const body =
    one.body === undefined || one.body === 'raw'
      ? unlooked
      : mistakesOf(
          one.body,
          one.optionalBody && hasNoBody(request) ? {} : await readJson(request.raw, limit),
        );
  const client = clientNow();
  const errors = [...params.errors, ...query.errors, ...body.errors];
  if (errors.length > 0) {
    throw invalid(errors);
  }
  const { value } = body;
  return new CheckedCall(
    { client, params: params.value, query: query.value, body: value, request, mediaType },
    ends,
  );
}

/** A class for its getter: one in a literal would keep what it sees, a request with all its parts, until the next full collection. */
class CheckedCall implements Call<unknown, unknown, unknown> {
  readonly client: Client;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly request: FastifyRequest;
  readonly mediaType: string;
  readonly #ends: () => AbortSignal;
  #signal: AbortSignal | undefined;

  constructor(parts: Omit<Call<unknown, unknown, unknown>, 'signal' | 'header'>, ends: () => AbortSignal) {
    this.client = parts.client;
    this.params = parts.params;
    this.query = parts.query;
    this.body = parts.body;
    this.request = parts.request;
    this.mediaType = parts.mediaType;
    this.#ends = ends;
  }

  /** Few ask for it, and it costs as much as the rest. */
  get signal(): AbortSignal {
    this.#signal ??= this.#ends();
    return this.#signal;
  }

  readonly header = (name: string): string | undefined => {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
}

function hasNoBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
}
