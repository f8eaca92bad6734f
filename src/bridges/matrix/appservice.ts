import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Listener } from '../listener.ts';
import { matrixLimits } from './config.ts';

/** What the homeserver asks and tells; the bridge behind the routes. */
export interface Appservice {
  readonly hsToken: string;
  /** Resolves when everything in it is taken in or on disk; whatever it throws makes the homeserver send it again. */
  transaction(id: string, body: Readonly<Record<string, unknown>>): Promise<void>;
  /** Whether there is such a user, who is made by then. */
  user(userId: string): Promise<boolean>;
  room(alias: string): Promise<boolean>;
  pinged(transaction: string | undefined): void;
}

export interface AppserviceParts {
  readonly log: Log;
  readonly counters: Counters;
}

const legacyPrefixes = ['/_matrix/app/v1', ''] as const;

/**
 * The routes under which a homeserver reaches an appservice, and their older forms. Every answer has the error codes of
 * Matrix and not those of the rest of the gateway. A transaction is never refused for what is in it: the homeserver
 * would send nothing else until it is taken.
 * Source: Matrix specification v1.19, “Application Service API”.
 */
export function addAppservice(listener: Listener, appservice: Appservice, parts: AppserviceParts): void {
  const { log, counters } = parts;
  const answered = new Set<string>();
  listener.app.register((scope, _options, done) => {
    const { hsToken } = appservice;
    scope.removeAllContentTypeParsers();
    // Parsed below: the framework's own parser refuses keys that a message may have.
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body));
    scope.setErrorHandler((error: { statusCode?: number }, request, reply) => {
      // The listener says so itself, before the body is read, and in words of its own.
      if (isGatewayError(error, 'request/not-found', 'request/method-not-allowed')) {
        return nothingThere(request, reply);
      }
      const status = error.statusCode;
      if (status === 413) {
        return refuse(reply, 413, 'M_TOO_LARGE', `a body may have ${matrixLimits.transactionBytes} bytes`);
      }
      if (status !== undefined && status >= 400 && status < 500) {
        return refuse(reply, status, 'M_UNKNOWN', 'the request is not well formed');
      }
      log.warn({ code: codeOf(error), error }, 'a request of the homeserver failed');
      return refuse(reply, 503, 'M_UNKNOWN', 'the gateway cannot take this now');
    });
    scope.addHook('onRequest', async (request, reply) => {
      const given = tokenOf(request);
      if (given === undefined) {
        counters.add('matrix/appservice/no-token');
        return refuse(reply, 401, 'M_MISSING_TOKEN', 'no hs_token');
      }
      if (!same(given, hsToken)) {
        counters.add('matrix/appservice/wrong-token');
        return refuse(reply, 403, 'M_FORBIDDEN', 'the hs_token is not the one of the registration');
      }
    });

    const transaction = async (request: FastifyRequest, reply: FastifyReply) => {
      const { txnId } = request.params as { txnId: string };
      const raw = (request.body ?? Buffer.alloc(0)) as Buffer;
      // The homeserver counts anew after a restart: the same number may be another transaction.
      const key = `${txnId} ${createHash('sha256').update(raw).digest('base64')}`;
      if (answered.has(key)) {
        counters.add('matrix/transaction/repeated');
        return await reply.send({});
      }
      const body = parseObject(raw);
      if (body === undefined) {
        return refuse(reply, 400, 'M_NOT_JSON', 'the body is no JSON object');
      }
      await appservice.transaction(txnId, body);
      counters.add('matrix/transaction/taken');
      answered.add(key);
      if (answered.size > matrixLimits.recentTransactions) {
        answered.delete(answered.values().next().value ?? '');
      }
      return await reply.send({});
    };
    const exists =
      (ask: (name: string) => Promise<boolean>) => async (request: FastifyRequest, reply: FastifyReply) => {
        const { name } = request.params as { name: string };
        return (await ask(name))
          ? await reply.send({})
          : refuse(reply, 404, 'M_NOT_FOUND', 'the gateway knows nobody and nothing of that name');
      };

    for (const base of legacyPrefixes) {
      scope.put(`${base}/transactions/:txnId`, { bodyLimit: matrixLimits.transactionBytes }, transaction);
      scope.get(
        `${base}/users/:name`,
        exists(name => appservice.user(name)),
      );
      scope.get(
        `${base}/rooms/:name`,
        exists(name => appservice.room(name)),
      );
    }
    scope.post('/_matrix/app/v1/ping', async (request, reply) => {
      const body = parseObject((request.body ?? Buffer.alloc(0)) as Buffer);
      const id = body?.transaction_id;
      appservice.pinged(typeof id === 'string' ? id : undefined);
      return await reply.send({});
    });
    scope.register(
      (under, _under, ready) => {
        under.setNotFoundHandler(nothingThere);
        ready();
      },
      { prefix: '/_matrix/app' },
    );
    done();
  });
}

const routes: readonly (readonly [path: string, methods: string])[] = [
  ['/v1/transactions/', 'PUT'],
  ['/v1/users/', 'GET'],
  ['/v1/rooms/', 'GET'],
  ['/v1/ping', 'POST'],
];

function nothingThere(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const asked = request.url.replace('/_matrix/app', '');
  const known = routes.find(([start]) => asked.startsWith(start));
  return known === undefined
    ? refuse(reply, 404, 'M_UNRECOGNIZED', 'there is nothing at this path')
    : refuse(reply.header('allow', known[1]), 405, 'M_UNRECOGNIZED', `only ${known[1]} here`);
}

function refuse(reply: FastifyReply, status: number, errcode: string, error: string): FastifyReply {
  return reply.code(status).send({ errcode, error });
}

/** From the header, or, of older homeservers, from the query; never logged. */
function tokenOf(request: FastifyRequest): string | undefined {
  const header = request.headers.authorization;
  const bearer = header === undefined ? undefined : /^Bearer (.+)$/i.exec(header)?.[1];
  const query = (request.query as Readonly<Record<string, unknown>> | undefined)?.access_token;
  return bearer ?? (typeof query === 'string' ? query : undefined);
}

/** In the same time however much of it is right. */
function same(given: string, expected: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(expected));
}

function parseObject(raw: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(raw.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
