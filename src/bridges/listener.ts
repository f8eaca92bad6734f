import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerOptions } from 'node:http';
import { type AddressInfo, connect, type ListenOptions } from 'node:net';
import type { Duplex } from 'node:stream';
import { type FastifyError, type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, type ErrorCode, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { type ConnectionRoom, watchConnections } from './connection-room.ts';
import { afterAnswers } from './due-answers.ts';
import { knownPaths } from './known-paths.ts';
import { checkHost, checkOneHost, checkOrigin } from './origin.ts';
import { problemAnswer, problemHeaders, problemOf } from './problems.ts';
import { createShortWays, guardHeaders, listed, type ShortWays } from './short-way.ts';

/** Limits of the one HTTP server; docs/limits.md says why. All ms but the sizes. */
export const listenerLimits = {
  /** A request line and its headers, bytes and count. */
  headerBytes: 16 * 1024,
  headers: 64,
  headersTimeout: 15_000,
  /** A whole request: 32 MiB of blob at 1 Mbit/s. */
  requestTimeout: 300_000,
  /** A socket on which nothing moves: longer than a long poll. */
  idleTimeout: 90_000,
  keepAlive: 20_000,
  handlerTimeout: 30_000,
  /** Open at once; of those on which no request is answered now the oldest give way to new ones. */
  connections: 4096,
  idleConnections: 512,
  idleBurst: 2048,
  idleGrace: 2000,
  pathParameter: 600,
  bodyBytes: 2 * 1024 * 1024,
  drain: 3_000,
  /** Between two looks for connections that have become idle while closing. */
  idleCheck: 20,
} as const;

/** What a client may call its request by, to find it in the log: short, and no token. */
const requestIdShape = /^(?!kos_)[\w.:-]{1,64}$/;

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface ListenerParts {
  /** Address to listen on; loopback unless told otherwise. */
  readonly host: string;
  readonly port: number;
  /** Names besides `localhost` by which browsers may call a loopback listener. */
  readonly hosts?: readonly string[];
  /** Origins of other sites whose pages may open a WebSocket, as they may call by CORS: with a token of their own. */
  readonly origins?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** The one HTTP server that http, ws and mqtt over WebSocket share, on TCP and on the control socket. */
export interface Listener extends AsyncDisposable {
  /** Routes are added here before `listen`. */
  readonly app: FastifyInstance;
  /** Aborted when the listener begins to close: long polls and streams end. */
  readonly closing: AbortSignal;
  /** Ways around the router. */
  readonly shortWays: ShortWays;
  /** Takes over WebSocket upgrades of one path, or of those that match. The handler owns the socket. */
  onUpgrade(path: string | RegExp, handler: UpgradeHandler): void;
  /** An upgraded connection whose owner the hub knows by now: it does not give way to others any more. */
  keep(request: IncomingMessage): void;
  /** Whoever asks has proven who they are: their connection gives way after those of strangers. */
  prove(request: IncomingMessage): void;
  /** Whether a request came over the control socket, whose file mode is its authentication. */
  isControl(request: IncomingMessage): boolean;
  /** Opens the TCP port. `bridge/unavailable` with `detail.errno` (`EADDRINUSE`) if that fails; may be tried again with another. */
  listen(port?: number): Promise<void>;
  /** Serves on a unix socket as well, 0600; a file that a dead process left is replaced. `bridge/unavailable` if a living one holds it. */
  control(path: string): Promise<void>;
  /** Where it listens, with the real port. */
  address(): { readonly host: string; readonly port: number; readonly url: string };
  /** Stops accepting, lets what runs end for at most 3 s, closes. Calling it twice does nothing. */
  close(): Promise<void>;
}

/** No route has a schema of the framework's kind. */
function noCompiler(): never {
  throw new GatewayError('internal', 'a route with a schema that nothing compiles');
}

/** Builds the server; it opens nothing before `listen` or `control`. */
export async function createListener(parts: ListenerParts): Promise<Listener> {
  const { host, clock, log, counters } = parts;
  const closing = new AbortController();
  const upgrades = new Map<string, UpgradeHandler>();
  const upgradePatterns: (readonly [RegExp, UpgradeHandler])[] = [];
  const upgraded = new Set<Duplex>();
  const servers: Server[] = [];
  const rooms: ConnectionRoom[] = [];
  const controls = new WeakSet<object>();
  let controlPath: string | undefined;

  // Unlike those of any start before it, without dice.
  const boot = clock.now().toString(36);
  let requests = 0;
  const idOf = ({ headers }: { readonly headers: IncomingMessage['headers'] }) => {
    requests += 1;
    const given = headers['x-request-id'];
    return typeof given === 'string' && requestIdShape.test(given)
      ? given
      : `${boot}-${requests.toString(36)}`;
  };
  const noteRefusal = (error: unknown, request: string) => {
    noteFault(log, error, request);
    counters.add(`http/refused/${codeOf(error)}`);
  };
  const shortWays = createShortWays({ counters, closing: closing.signal, idOf, noteRefusal });

  const open = (handler: (request: IncomingMessage, response: never) => void): Server => {
    const server = createServer(serverOptions, (request, response) => {
      if (!shortWays.take(request, response)) {
        handler(request, response as never);
      }
    });
    const room = watchConnections(server, { ...listenerLimits, wantsWhole: true }, parts, 'http');
    rooms.push(room);
    allowHalfOpen(server);
    server.maxHeadersCount = listenerLimits.headers;
    server.setTimeout(listenerLimits.idleTimeout);
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      counters.add(error.code === 'ECONNRESET' ? 'http/reset' : 'http/malformed');
      afterAnswers(room.lines, socket, () => refuse(socket, clientError(error)));
    });
    // By itself Node answers with the number alone, and tells nobody that it owes an answer.
    server.on('checkExpectation', (request, response) => {
      room.lines.ask(request, response);
      const error = new GatewayError('request/unsupported', 'an expectation nobody knows');
      counters.add(`http/refused/${error.code}`);
      const { status, headers, body } = problemAnswer(request.headers.accept, error, 417);
      shortWays.answer(request, response, status, listed(headers), body);
    });
    server.on('upgrade', (request, socket, head) => {
      upgraded.add(socket);
      socket.on('close', () => upgraded.delete(socket));
      socket.on('error', () => socket.destroy());
      try {
        checkOneHost(request);
        checkOrigin(request, parts);
        const path = URL.parse(request.url ?? '/', 'http://hub')?.pathname ?? '';
        const handler = upgrades.get(path) ?? upgradePatterns.find(([pattern]) => pattern.test(path))?.[1];
        if (handler === undefined) {
          throw new GatewayError('request/not-found', 'no WebSocket here');
        }
        if (closing.signal.aborted) {
          throw new GatewayError('bridge/unavailable', 'the gateway is stopping', { retryable: true });
        }
        handler(request, socket, head);
      } catch (error) {
        noteFault(log, error);
        refuse(socket, error);
      }
    });
    servers.push(server);
    return server;
  };

  const app = fastify({
    serverFactory: open,
    genReqId: idOf,
    logger: false,
    trustProxy: false,
    bodyLimit: listenerLimits.bodyBytes,
    routerOptions: { maxParamLength: listenerLimits.pathParameter },
    exposeHeadRoutes: false,
    // Its own would cut off what is answered in `open`.
    clientErrorHandler: () => {},
    // The route table checks with zod; the framework's own compilers would only cost memory.
    schemaController: {
      compilersFactory: { buildValidator: () => noCompiler, buildSerializer: () => noCompiler },
    },
    frameworkErrors: (error, _request, reply) => sendProblem(reply, ofFramework(error)),
  });
  const main = app.server;
  const known = knownPaths(app);
  const nothingAt = (url: string) => {
    const allow = known(url.split('?', 1)[0] ?? '/');
    return allow.length === 0
      ? new GatewayError('request/not-found', 'there is nothing at this path')
      : new GatewayError('request/method-not-allowed', `allowed here: ${allow.join(', ')}`, {
          detail: { allow },
        });
  };

  // The framework's own costs two errors with their stacks and a signal for every request.
  app.addHook('onRoute', route => {
    if ((route.config as { timesItself?: boolean } | undefined)?.timesItself !== true) {
      route.handlerTimeout ??= listenerLimits.handlerTimeout;
    }
  });
  app.addHook('onRequest', (request, reply, done) => {
    // A unix socket has no address, nor has one whose other end is gone; everybody else is told that it is empty.
    if ((request.ip as string | undefined) === undefined) {
      Object.defineProperty(request, 'ip', { value: '' });
    }
    reply.raw.setHeader('x-request-id', request.id);
    for (const [name, value] of Object.entries(guardHeaders)) {
      reply.raw.setHeader(name, value);
    }
    try {
      checkOneHost(request.raw);
      checkHost(request.raw, parts);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });
  // Behind what answers preflights, and before anything looks at the body or at what a method asks of it.
  app.addHook('preParsing', (request, _reply, payload, done) => {
    if (request.is404 && request.method !== 'OPTIONS') {
      done(nothingAt(request.url));
      return;
    }
    done(null, payload);
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing.signal.aborted) {
      reply.header('connection', 'close');
    }
    done(null, payload);
  });
  app.setErrorHandler((error, request, reply) => {
    const ours = ofFramework(error);
    noteRefusal(ours, request.id);
    sendProblem(reply, ours);
  });
  app.setNotFoundHandler((request, reply) => {
    const allow = known(request.url.split('?', 1)[0] ?? '/');
    if (request.method === 'OPTIONS' && allow.length > 0) {
      reply
        .code(204)
        .header('allow', [...allow, 'OPTIONS'].sort().join(', '))
        .send();
      return;
    }
    sendProblem(reply, nothingAt(request.url));
  });

  const start = async (server: Server, options: ListenOptions) => {
    await app.ready();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject);
    server.listen(options, () => resolve());
    try {
      await promise;
    } catch (cause) {
      const errno = (cause as NodeJS.ErrnoException).code ?? 'unknown';
      const where = options.path ?? `${options.host}:${options.port}`;
      throw new GatewayError('bridge/unavailable', `cannot listen on ${where}: ${errno}`, {
        cause,
        detail: { errno },
      });
    } finally {
      server.off('error', reject);
    }
    server.on('error', error => log.error({ error }, 'the HTTP listener failed'));
  };

  const close = async () => {
    if (closing.signal.aborted) {
      return;
    }
    closing.abort(new GatewayError('bridge/unavailable', 'the gateway is stopping', { retryable: true }));
    let open = true;
    const ends = Promise.all(servers.filter(server => server.listening).map(closeServer));
    const ended = ends.then(() => {
      open = false;
    });
    // A connection whose last answer went out before the closing began becomes idle only now and then.
    for (const until = clock.monotonic() + listenerLimits.drain; open && clock.monotonic() < until; ) {
      for (const server of servers) {
        server.closeIdleConnections();
      }
      await Promise.race([ended, clock.sleep(listenerLimits.idleCheck)]);
    }
    for (const server of servers) {
      server.closeAllConnections();
    }
    for (const socket of upgraded) {
      socket.destroy();
    }
    await ends;
    await app.close();
    if (controlPath !== undefined) {
      rmSync(controlPath, { force: true });
    }
  };

  return {
    app,
    closing: closing.signal,
    shortWays,
    onUpgrade(path, handler) {
      if (typeof path === 'string') {
        upgrades.set(path, handler);
      } else {
        upgradePatterns.push([path, handler]);
      }
    },
    keep(request) {
      for (const room of rooms) {
        room.keep(request.socket);
      }
    },
    prove(request) {
      for (const room of rooms) {
        room.prove(request.socket);
      }
    },
    isControl: request => controls.has(request.socket),
    listen: (port = parts.port) => start(main, { host, port }),
    async control(path) {
      await removeStale(path);
      const server = open((request, response) => app.routing(request, response));
      server.on('connection', socket => controls.add(socket));
      const mask = process.umask(0o177);
      try {
        await start(server, { path });
      } finally {
        process.umask(mask);
      }
      chmodSync(path, 0o600);
      controlPath = path;
    },
    address() {
      const { address, port } = main.address() as AddressInfo;
      return {
        host: address,
        port,
        url: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
      };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const serverOptions: ServerOptions = {
  maxHeaderSize: listenerLimits.headerBytes,
  headersTimeout: listenerLimits.headersTimeout,
  requestTimeout: listenerLimits.requestTimeout,
  keepAliveTimeout: listenerLimits.keepAlive,
  shouldUpgradeCallback: request => request.headers.upgrade?.toLowerCase() === 'websocket',
};

/**
 * Whoever has said all and closes its own direction still gets its answer, and then the connection ends. What is open and
 * owes nothing, or has half a request, ends at once as ever. Source: Node's `lib/_http_server.js`, `socketOnEnd`: documented nowhere.
 */
export function allowHalfOpen(server: Server): void {
  Object.assign(server, { httpAllowHalfOpen: true });
}

/** Sends an error as `application/problem+json`; every error of every route leaves here. */
export function sendProblem(reply: FastifyReply, error: unknown, status?: number): FastifyReply {
  const answer = problemAnswer(reply.request.headers.accept, error, status);
  return reply.code(answer.status).headers(answer.headers).send(answer.body);
}

/** Answers a socket that has no response object (a refused upgrade, a malformed request) and closes it. */
export function refuse(socket: Duplex, error: unknown): void {
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  const problem = problemOf(error);
  const body = JSON.stringify(problem);
  const headers = {
    ...problemHeaders(error),
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines.join('')}\r\n${body}`, () =>
    socket.destroy(),
  );
}

/** What fastify and Node throw by themselves, in our codes. */
function ofFramework(error: unknown): unknown {
  const { statusCode, code } = error as Partial<FastifyError>;
  if (error instanceof GatewayError || statusCode === undefined || statusCode >= 600) {
    return error;
  }
  if (code === 'FST_ERR_HANDLER_TIMEOUT') {
    return new GatewayError('bridge/unavailable', 'this took too long', { cause: error, retryable: true });
  }
  const codes: Readonly<Record<number, ErrorCode>> = {
    400: 'request/invalid',
    413: 'request/too-large',
    414: 'request/too-large',
    415: 'request/unsupported',
    503: 'bridge/unavailable',
  };
  const ours = codes[statusCode];
  return ours === undefined
    ? error
    : new GatewayError(
        ours,
        code === 'FST_ERR_BAD_URL' ? 'the path is not well-formed' : (error as Error).message,
        {
          cause: error,
        },
      );
}

function clientError(error: NodeJS.ErrnoException): GatewayError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError(
        'request/too-large',
        `headers of more than ${listenerLimits.headerBytes} bytes`,
      );
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('request/invalid', 'the request took too long to arrive');
    default:
      return new GatewayError('request/invalid', 'not HTTP/1.1');
  }
}

function noteFault(log: Log, error: unknown, request?: string): void {
  if (!(error instanceof GatewayError) || error.code === 'internal') {
    log.error({ error, ...(request !== undefined && { request }) }, 'a bug in a request');
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
  });
}

/** Removes the socket file of a process that is gone. */
async function removeStale(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path, () => resolve(true)).on('error', () => resolve(false));
  const alive = await promise;
  probe.destroy();
  if (alive) {
    throw new GatewayError('bridge/unavailable', `another process serves ${path}`, {
      detail: { errno: 'EADDRINUSE' },
    });
  }
  rmSync(path, { force: true });
}
