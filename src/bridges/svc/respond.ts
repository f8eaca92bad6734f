import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reply } from '../../gateway/replicas/exchange.ts';
import { type Fields, field, rawOf, withField, without } from '../../gateway/replicas/fields.ts';
import { GatewayError } from '../../lib/errors.ts';
import { problemHeaders, problemOf } from '../problems.ts';

/** Sends a reply; resolves when the client has it or has gone. What breaks off in the middle breaks off for the client too. */
export async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  headers: Fields,
): Promise<void> {
  const { body } = reply;
  if (response.destroyed || response.headersSent) {
    if (body !== undefined && !(body instanceof Uint8Array)) {
      body.destroy();
    }
    return;
  }
  const closing = request.complete ? headers : withField(headers, 'Connection', 'close');
  response.writeHead(reply.status, reply.statusMessage || undefined, rawOf(closing));
  if (body === undefined || request.method === 'HEAD' || reply.status === 304 || reply.status === 204) {
    if (body !== undefined && !(body instanceof Uint8Array)) {
      body.resume();
    }
    response.end();
  } else if (body instanceof Uint8Array) {
    response.end(body);
  } else {
    if (reply.endless === true || isEventStream(headers)) {
      // An event may be long in coming.
      request.socket.setTimeout(0);
      response.flushHeaders();
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    body.on('error', () => response.destroy());
    body.on('close', () => {
      if (!response.writableEnded) {
        response.destroy();
      }
    });
    body.on('end', () => {
      const trailers = reply.trailers?.() ?? [];
      if (trailers.length > 0 && field(headers, 'content-length') === undefined) {
        response.addTrailers(trailers.map(([name, value]) => [name, value]) as [string, string][]);
      }
      response.end();
    });
    response.on('close', () => {
      body.destroy();
      resolve();
    });
    body.pipe(response, { end: false });
    await promise;
    return;
  }
  if (!response.closed) {
    await new Promise<void>(resolve => response.once('close', resolve));
  }
}

/** Sends an error of ours as a problem, with what a replica's client wants to know. */
export function respondProblem(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const detail = error instanceof GatewayError ? error.detail : {};
  const status = typeof detail.status === 'number' ? detail.status : undefined;
  const { retryAfter, service, since, cause, sent, queueId } = detail;
  const problem = {
    ...problemOf(error, status),
    ...(typeof service === 'string' && { service }),
    ...(typeof since === 'number' && { since: new Date(since).toISOString() }),
    ...(typeof retryAfter === 'number' && { retryAfter: Math.ceil(retryAfter) }),
    ...(typeof cause === 'string' && { cause }),
    ...(typeof sent === 'boolean' && { sent }),
    ...(typeof queueId === 'string' && { queueId }),
  };
  const body = JSON.stringify(problem);
  const headers: [string, string][] = [
    ...Object.entries(problemHeaders(error)),
    ['Content-Type', 'application/problem+json'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Cache-Control', 'no-store'],
    ['X-Content-Type-Options', 'nosniff'],
    ...(typeof cause === 'string' ? ([['Proxy-Status', `kos; error=${proxyError(cause)}`]] as const) : []),
    ...(request.complete ? [] : ([['Connection', 'close']] as const)),
  ].map(([name, value]) => [name as string, value as string]);
  response.writeHead(problem.status, rawOf(without(headers, 'www-authenticate')));
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Source: RFC 9209 §2.3. */
function proxyError(cause: string): string {
  const names: Readonly<Record<string, string>> = {
    refused: 'connection_refused',
    dns: 'dns_error',
    blocked: 'destination_ip_prohibited',
    connect: 'connection_timeout',
    tls: 'tls_certificate_error',
    headers: 'http_response_timeout',
    idle: 'connection_read_timeout',
    reset: 'connection_terminated',
    malformed: 'http_protocol_error',
    captive: 'destination_unavailable',
    busy: 'connection_limit_reached',
  };
  return names[cause] ?? 'proxy_internal_error';
}

/** Whether an answer is an endless one by its media type. */
function isEventStream(headers: Fields): boolean {
  return /^\s*text\/event-stream\b/i.test(field(headers, 'content-type') ?? '');
}
