import type { LookupAddress } from 'node:dns';
import { readFileSync } from 'node:fs';
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { Cancel, Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { createNames, type Lookup } from '../../lib/names.ts';
import { isPublicAddress } from '../../lib/public-address.ts';
import type { ReplicaDefinition } from './definition.ts';
import { type Fields, field, fieldsOf, rawOf, withField, without } from './fields.ts';
import { forwardable } from './hop.ts';
import { explain, failed, type OriginFailure } from './origin-failure.ts';
import { createPlaces } from './places.ts';
import { isSafe } from './rfc9111/invalidation.ts';

/** One request to the service of a definition. Hop-by-hop fields are gone already. */
export interface OriginRequest {
  readonly method: string;
  /** Path and query below the upstream URL, byte for byte. */
  readonly path: string;
  readonly headers: Fields;
  readonly body?: Uint8Array | Readable;
  /** Read when the body has ended. */
  readonly trailers?: () => Fields;
  /** Of the client, for `forwarded`. */
  readonly client?: { readonly address: string; readonly host: string; readonly proto: string };
}

export interface SendOptions {
  readonly signal?: AbortSignal;
  /** An endless answer: no idle time, and no place of the ordinary connections. */
  readonly stream?: boolean;
  /** 100 and the others on the way to the answer. */
  readonly onInformation?: (status: number, headers: Fields) => void;
  /** ms instead of the definition's. */
  readonly headersTimeout?: number;
}

/** The head of an answer, and its body to be read. */
export interface OriginAnswer {
  readonly status: number;
  readonly statusMessage: string;
  readonly headers: Fields;
  readonly body: IncomingMessage;
  readonly trailers: () => Fields;
  /** ms epoch. */
  readonly requestTime: number;
  readonly responseTime: number;
}

/** Where a service is, and the connections to it. */
export interface Origin extends Disposable {
  readonly base: URL;
  /** The URL a path of a client means. */
  urlOf(path: string): URL;
  /**
   * Resolves with the head of the answer. Rejects `bridge/unavailable` with `detail.cause` (OriginFailure) and
   * `detail.sent`: whether the origin can have seen any of it. The body may fail in the same way.
   */
  send(request: OriginRequest, options?: SendOptions): Promise<OriginAnswer>;
}

/** Endless answers at once to one service; requests waiting for a connection. */
const mostStreams = 64;
const mostWaiting = 256;
const idleConnections = 4;
/** Bytes of the head of an answer. */
const headBytes = 64 * 1024;

export interface OriginParts {
  readonly definition: ReplicaDefinition;
  readonly clock: Clock;
  /** How names are looked up, where that is shared with others. */
  readonly lookup?: Lookup;
}

/** Prepares the connections; opens none. Throws `config/invalid` where a file with a secret or a certificate cannot be read. */
export function createOrigin({ definition, clock, lookup = createNames({ clock }) }: OriginParts): Origin {
  const { upstream } = definition;
  const base = new URL(upstream.url);
  const folder = dirname(definition.file);
  const secure = base.protocol === 'https:';
  const ca =
    upstream.caFile === undefined ? undefined : readText(resolve(folder, upstream.caFile), definition);
  const injected: Fields = upstream.inject.map(({ name, file }) => [
    name,
    readText(resolve(folder, file), definition).trim(),
  ]);
  const mostSockets = upstream.concurrency + mostStreams;
  const agentOptions = {
    maxSockets: mostSockets,
    maxFreeSockets: idleConnections,
    scheduling: 'lifo' as const,
    ...(ca !== undefined && { ca }),
  };
  const Agent = secure ? HttpsAgent : HttpAgent;
  const kept = new Agent({ ...agentOptions, keepAlive: true });
  // A connection that was idle may be closed just now by the other side: what must not be sent twice takes a new one.
  const fresh = new Agent({ ...agentOptions, keepAlive: false });
  const places = createPlaces(upstream.concurrency, mostWaiting);
  const streams = createPlaces(mostStreams, 0);
  const prefix = base.pathname.replace(/\/+$/, '');

  async function send(request: OriginRequest, options: SendOptions = {}): Promise<OriginAnswer> {
    const free = await (options.stream === true ? streams : places).take(options.signal);
    try {
      return await exchange(request, options, free);
    } catch (error) {
      // A kept connection that died before it gave a byte says nothing of the service.
      const again = isSafe(request.method) && request.body === undefined && (error as Failed).stale === true;
      if (!again) {
        free();
        throw error;
      }
    }
    try {
      return await exchange(request, options, free);
    } catch (error) {
      free();
      throw error;
    }
  }

  function exchange(request: OriginRequest, options: SendOptions, free: Cancel): Promise<OriginAnswer> {
    const { signal } = options;
    const { promise, resolve: answered, reject } = Promise.withResolvers<OriginAnswer>();
    const requestTime = clock.now();
    let connected = false;
    let over = false;
    let timer: Cancel | undefined;

    const sent = (secure ? requestHttps : requestHttp)({
      method: request.method,
      protocol: base.protocol,
      hostname: base.hostname.replace(/^\[|\]$/g, ''),
      ...(base.port !== '' && { port: base.port }),
      path: prefix + request.path,
      headers: outbound(request),
      agent: isSafe(request.method) && request.body === undefined ? kept : fresh,
      maxHeaderSize: headBytes,
      lookup: guardedLookup as never,
      ...(secure && isIP(base.hostname) === 0 && { servername: base.hostname }),
    });
    const fail = (cause: OriginFailure, message: string, error?: unknown) => {
      if (over) {
        return;
      }
      over = true;
      timer?.();
      signal?.removeEventListener('abort', abort);
      const failure = failed(cause, message, connected, error);
      if (sent.reusedSocket && cause === 'reset') {
        (failure as Failed).stale = true;
      }
      sent.destroy(failure);
      reject(cause === 'aborted' && signal?.aborted ? signal.reason : failure);
    };
    const abort = () => fail('aborted', 'given up');
    const wait = (delay: number, cause: OriginFailure, message: string) => {
      timer?.();
      timer = clock.after(delay, () => fail(cause, message));
    };
    const { connect, headers, idle } = upstream.timeouts;

    sent.on('socket', socket => {
      const ready = () => {
        connected = true;
        wait(
          options.headersTimeout ?? headers,
          'headers',
          `no answer within ${(options.headersTimeout ?? headers) / 1000} s`,
        );
      };
      if (
        sent.reusedSocket ||
        !(socket.connecting || (secure && !('authorized' in socket && socket.authorized)))
      ) {
        ready();
        return;
      }
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        if (!upstream.allowPrivate && !isPublicAddress(socket.remoteAddress ?? '::')) {
          fail('blocked', 'its address is private');
        } else {
          ready();
        }
      });
    });
    wait(connect, 'connect', `no connection within ${connect / 1000} s`);
    sent.on('information', info => {
      options.onInformation?.(info.statusCode, forwardable(fieldsOf(info.rawHeaders)));
    });
    sent.on('continue', () => options.onInformation?.(100, []));
    sent.on('error', error => {
      const [cause, message] = explain(error as NodeJS.ErrnoException, connected);
      fail(cause, message, error);
    });
    sent.on('upgrade', (_response, socket) => {
      socket.destroy();
      fail('malformed', 'switched to another protocol unasked');
    });
    sent.on('response', body => {
      if (over) {
        return;
      }
      over = true;
      timer?.();
      signal?.removeEventListener('abort', abort);
      let forward: Fields;
      try {
        forward = forwardable(fieldsOf(body.rawHeaders));
      } catch (error) {
        free();
        const failure = failed(
          'malformed',
          'an answer with a Connection field that hides others',
          true,
          error,
        );
        sent.destroy();
        body.on('error', () => undefined);
        reject(failure);
        return;
      }
      const stopBody = () => body.destroy(failed('aborted', 'given up', true));
      signal?.addEventListener('abort', stopBody, { once: true });
      const guard = options.stream === true ? undefined : watchIdle(body, idle, clock);
      // Without a listener of its own an error of a body that nobody reads would end the process.
      body.on('error', () => undefined);
      body.once('close', () => {
        free();
        guard?.();
        signal?.removeEventListener('abort', stopBody);
      });
      answered({
        status: body.statusCode ?? 502,
        statusMessage: body.statusMessage ?? '',
        headers: forward,
        body,
        trailers: () => forwardable(fieldsOf(body.rawTrailers)),
        requestTime,
        responseTime: clock.now(),
      });
    });
    if (signal?.aborted) {
      fail('aborted', 'given up');
    } else {
      signal?.addEventListener('abort', abort, { once: true });
      sendBody(sent, request, fail);
    }
    return promise;
  }

  function sendBody(
    sent: ClientRequest,
    request: OriginRequest,
    fail: (cause: OriginFailure, message: string, error?: unknown) => void,
  ): void {
    const { body } = request;
    if (body === undefined) {
      sent.end();
    } else if (body instanceof Uint8Array) {
      sent.end(body);
    } else {
      body.on('error', error => fail('aborted', 'the client went away', error));
      body.on('end', () => {
        const trailers = request.trailers?.() ?? [];
        if (trailers.length > 0) {
          sent.addTrailers(trailers.map(([name, value]) => [name, value]) as [string, string][]);
        }
        sent.end();
      });
      // A client that waits for 100 sends nothing before the origin has seen the head.
      sent.flushHeaders();
      body.pipe(sent, { end: false });
      sent.on('close', () => body.unpipe(sent));
    }
  }

  /** What is sent, from what the client sent. */
  function outbound(request: OriginRequest): string[] {
    const { body, client } = request;
    let fields = without(request.headers, 'host', ...injected.map(([name]) => name.toLowerCase()));
    if (upstream.forwarded === 'x-forwarded' && client !== undefined) {
      const before = field(fields, 'x-forwarded-for');
      fields = withField(
        fields,
        'X-Forwarded-For',
        before === undefined ? client.address : `${before}, ${client.address}`,
      );
      fields = withField(fields, 'X-Forwarded-Host', client.host);
      fields = withField(fields, 'X-Forwarded-Proto', client.proto);
    }
    if (body instanceof Uint8Array) {
      fields = withField(fields, 'Content-Length', String(body.length));
    } else if (body !== undefined && field(fields, 'content-length') === undefined) {
      fields = [...fields, ['Transfer-Encoding', 'chunked']];
    } else if (
      body === undefined &&
      !isSafe(request.method) &&
      field(fields, 'content-length') === undefined
    ) {
      fields = [...fields, ['Content-Length', '0']];
    }
    return rawOf([
      ['Host', upstream.host ?? base.host],
      ...fields,
      ...injected,
      ...(upstream.via ? ([['Via', '1.1 kos']] as const) : []),
    ]);
  }

  /** Addresses of a public service are public, whatever the DNS says. */
  function guardedLookup(
    hostname: string,
    options: { readonly all?: boolean; readonly family?: number | string },
    callback: (error: Error | null, addresses?: unknown, family?: number) => void,
  ): void {
    const found = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => {
      if (error !== null) {
        callback(error);
        return;
      }
      const allowed = addresses.filter(({ address }) => upstream.allowPrivate || isPublicAddress(address));
      const [first] = allowed;
      if (first === undefined) {
        callback(Object.assign(failed('blocked', 'its name leads to a private address', false)));
      } else if (options.all === true) {
        callback(null, allowed);
      } else {
        callback(null, first.address, first.family);
      }
    };
    lookup(hostname, found);
  }

  return {
    base,
    urlOf: path => new URL(prefix + path, base),
    send,
    [Symbol.dispose]() {
      kept.destroy();
      fresh.destroy();
    },
  };
}

type Failed = GatewayError & { stale?: boolean };

/** Ends a body on which nothing moves for so long, unless it is we who do not read on. */
function watchIdle(body: IncomingMessage, idle: number, clock: Clock): Cancel {
  let seen = body.socket.bytesRead;
  let stop = clock.after(idle, look);
  function look(): void {
    const now = body.socket.bytesRead;
    if (now === seen && body.readableLength === 0 && !body.readableEnded) {
      body.destroy(failed('idle', `stopped in the middle of its answer for ${idle / 1000} s`, true));
      return;
    }
    seen = now;
    stop = clock.after(idle, look);
  }
  return () => stop();
}

function readText(file: string, definition: ReplicaDefinition): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const detail = `cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? cause}`;
    throw new GatewayError('config/invalid', `${definition.file}: ${detail}`, {
      cause,
      errors: [{ pointer: definition.file, detail }],
    });
  }
}
