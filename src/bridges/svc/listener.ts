import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, resolve } from 'node:path';
import { fieldsOf, without } from '../../gateway/replicas/fields.ts';
import { forwardable } from '../../gateway/replicas/hop.ts';
import type { Replicas } from '../../gateway/replicas/replicas.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { watchConnections } from '../connection-room.ts';
import { afterAnswers } from '../due-answers.ts';
import { refuse } from '../listener.ts';
import { checkHost, checkOneHost, checkPage } from '../origin.ts';
import { svcLimits } from './limits.ts';
import { isOwnPath, ownReply } from './own-paths.ts';
import { respond, respondProblem } from './respond.ts';
import { rewritten } from './rewrite.ts';
import { sameToken, targetOf } from './target.ts';

export interface SvcParts {
  readonly replicas: Replicas;
  readonly host: string;
  readonly port: number;
  /** Names besides `localhost` by which browsers may call a loopback listener. */
  readonly hosts?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** The replicas' own listener: what a cloud serves must never run beside the owner's session. */
export interface SvcListener extends AsyncDisposable {
  /** `bridge/unavailable` with `detail.errno` if the port cannot be opened; may be tried again with another. */
  listen(port?: number): Promise<void>;
  address(): { readonly host: string; readonly port: number; readonly url: string };
  /** Stops accepting, lets what runs end for at most 3 s, closes. */
  close(): Promise<void>;
}

/** Builds the server in front of the replicas; opens nothing. Throws `config/invalid` where a token file cannot be read. */
export function createSvcListener(parts: SvcParts): SvcListener {
  const { replicas, clock, log, counters } = parts;
  const tokens = new Map<string, string>();
  const guarded = new Map<string, boolean>();
  for (const { id, guard, file, upstream } of replicas.definitions) {
    if (guard !== undefined) {
      tokens.set(id, readToken(resolve(dirname(file), guard.tokenFile), file));
    }
    guarded.set(id, upstream.inject.length > 0 && guard === undefined);
  }
  let closing = false;

  const server: Server = createServer({
    maxHeaderSize: svcLimits.headerBytes,
    headersTimeout: svcLimits.headersTimeout,
    requestTimeout: svcLimits.requestTimeout,
    keepAliveTimeout: svcLimits.keepAlive,
    shouldUpgradeCallback: () => false,
  });
  const room = watchConnections(server, svcLimits, parts, 'replica/http');
  const { lines } = room;
  server.maxHeadersCount = svcLimits.headers;
  server.setTimeout(svcLimits.idleTimeout);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    counters.add(error.code === 'ECONNRESET' ? 'replica/http/reset' : 'replica/http/malformed');
    const ours =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? new GatewayError('request/too-large', `headers of more than ${svcLimits.headerBytes} bytes`)
        : new GatewayError('request/invalid', 'not HTTP/1.1');
    afterAnswers(lines, socket, () => refuse(socket, ours));
  });
  server.on('request', (request, response) => void take(request, response, false));
  server.on('checkContinue', (request, response) => {
    lines.ask(request, response);
    void take(request, response, true);
  });
  server.on('checkExpectation', (request, response) => {
    lines.ask(request, response);
    respondProblem(
      request,
      response,
      new GatewayError('request/unsupported', 'an expectation nobody knows', { detail: { status: 417 } }),
    );
  });

  async function take(request: IncomingMessage, response: ServerResponse, waits: boolean): Promise<void> {
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    try {
      await answer(request, response, waits);
    } catch (error) {
      if (response.destroyed) {
        counters.add('replica/client-gone');
        return;
      }
      if (!isGatewayError(error) || error.code === 'internal') {
        log.error({ error }, 'a bug in a request to a replica');
      }
      counters.add(`replica/refused/${codeOf(error)}`);
      respondProblem(request, response, error);
    }
  }

  async function answer(request: IncomingMessage, response: ServerResponse, waits: boolean): Promise<void> {
    checkOneHost(request);
    checkHost(request, parts);
    const target = targetOf(request.url ?? '/');
    const definition = replicas.host.definition(target.service);
    const wanted = tokens.get(target.service);
    if (definition === undefined || (wanted !== undefined && !sameToken(target.token, wanted))) {
      throw new GatewayError('request/not-found', 'there is no such replica');
    }
    if (wanted !== undefined) {
      room.prove(request.socket);
    }
    if (guarded.get(target.service) === true) {
      // What the gateway adds its own credentials to is for programs and its own pages, not for any page of the web.
      // A stranger's name can be re-bound to whatever address this is: what is opened to the network, or by a container.
      checkPage(request, { ...parts, host: 'localhost' });
    }
    const forwarded = forwardable(fieldsOf(request.rawHeaders));
    // The place of a page here has the token in it, which is none of the service's business.
    const headers = wanted === undefined ? forwarded : without(forwarded, 'referer');
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) {
        gone.abort(new GatewayError('bridge/unavailable', 'the client went away', { retryable: true }));
      }
    });
    // A token that is not wanted is part of the path.
    const { prefix, path } =
      wanted === undefined && target.token !== undefined
        ? { prefix: `/svc/${target.service}`, path: `/~${target.token}${target.path}` }
        : target;
    if (isOwnPath(path)) {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        // Where a cookie tells people apart, any page of the web could decide for them.
        checkPage(request, parts);
      }
      const reply = await ownReply(replicas, target.service, request.method ?? 'GET', path, headers);
      return respond(request, response, reply, reply.headers);
    }
    const length = request.headers['content-length'];
    const hasBody =
      request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
    const continued = () => {
      if (waits && !response.headersSent && !response.destroyed) {
        waits = false;
        response.writeContinue();
      }
    };
    const cancel = waits ? clock.after(svcLimits.continueAfter, continued) : undefined;
    try {
      const reply = await replicas.answer(target.service, {
        method: request.method ?? 'GET',
        path,
        headers,
        ...(hasBody && { body: request, trailers: () => forwardable(fieldsOf(request.rawTrailers)) }),
        client: {
          address: request.socket.remoteAddress ?? '',
          host: request.headers.host ?? '',
          proto: 'http',
        },
        signal: gone.signal,
        inform(status, fields) {
          if (status === 100) {
            continued();
          } else if (request.httpVersion !== '1.0' && !response.headersSent && !response.destroyed) {
            response.writeInformation(status, fields.flat());
          }
        },
      });
      const base = new URL(definition.upstream.url);
      await respond(request, response, reply, rewritten(reply.headers, { base, prefix, secure: false }));
    } finally {
      cancel?.();
    }
  }

  const close = async () => {
    if (closing) {
      return;
    }
    closing = true;
    if (!server.listening) {
      return;
    }
    let open = true;
    const ended = new Promise<void>(resolve => server.close(() => resolve())).then(() => {
      open = false;
    });
    for (const until = clock.monotonic() + svcLimits.drain; open && clock.monotonic() < until; ) {
      server.closeIdleConnections();
      await Promise.race([ended, clock.sleep(svcLimits.idleCheck)]);
    }
    server.closeAllConnections();
    await ended;
  };

  return {
    async listen(port = parts.port) {
      const { promise, resolve: opened, reject } = Promise.withResolvers<void>();
      server.once('error', reject);
      server.listen({ host: parts.host, port }, () => opened());
      try {
        await promise;
      } catch (cause) {
        const errno = (cause as NodeJS.ErrnoException).code ?? 'unknown';
        throw new GatewayError('bridge/unavailable', `cannot listen on ${parts.host}:${port}: ${errno}`, {
          cause,
          detail: { errno },
        });
      } finally {
        server.off('error', reject);
      }
      server.on('error', error => log.error({ error }, "the replicas' listener failed"));
    },
    address() {
      const { address, port } = server.address() as AddressInfo;
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

function readToken(file: string, definition: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    const detail = `cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? cause}`;
    throw new GatewayError('config/invalid', `${definition}: ${detail}`, {
      cause,
      errors: [{ pointer: `${definition}: guard.tokenFile`, detail }],
    });
  }
  if (!/^[A-Za-z0-9._~-]{16,256}$/.test(token)) {
    const detail = 'a token of 16 to 256 letters, digits and . _ ~ -, because it stands in paths';
    throw new GatewayError('config/invalid', `${definition}: ${detail}`, {
      errors: [{ pointer: `${definition}: guard.tokenFile`, detail }],
    });
  }
  return token;
}
