import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What an origin can be made to do instead of answering well. */
export type Fault =
  /** Takes the request and never answers. */
  | { readonly kind: 'hang' }
  /** Sends the headers and the first half of the body, and nothing more. */
  | { readonly kind: 'hang-body' }
  /** Whatever is asked: 200 and a log-in page, as a hotel's network does. */
  | { readonly kind: 'captive' }
  /** This status, with Retry-After in seconds where given. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: number }
  /** Does what is asked and then cuts the connection: what was committed is not told. */
  | { readonly kind: 'lose-response' };

/** A request as it came in. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface OriginRequest extends Seen {
  readonly query: URLSearchParams;
  /** The path's pieces, decoded. */
  readonly pieces: readonly string[];
}

export interface OriginAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string as it is, anything else as JSON. */
  readonly body?: unknown;
}

/** A cloud that can be broken: a real HTTP server on loopback. */
export interface Origin extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:<port>`; the same after `kill` and `revive`. */
  readonly url: string;
  /** Every request that came in, faults included, oldest first; cleared by the test. */
  readonly seen: Seen[];
  /** Breaks it from now on, or mends it; `times` counts requests after which it mends itself. */
  fault(fault: Fault | undefined, options?: { readonly times?: number; readonly only?: string }): void;
  /** Nobody listens any more, and every connection is cut. */
  kill(): Promise<void>;
  revive(): Promise<void>;
}

/** Most bytes of a request's body. */
const bodyLimit = 4 * 1024 * 1024;

/** Starts one; `answer` is what it does when nothing is broken. */
export async function startOrigin(answer: (request: OriginRequest) => OriginAnswer): Promise<Origin> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  let broken: { fault: Fault; left: number; only: string | undefined } | undefined;

  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    const request = await read(incoming);
    seen.push(request);
    const fault = take(request.method);
    if (fault === undefined) {
      send(response, answer(request), incoming.method === 'HEAD');
      return;
    }
    switch (fault.kind) {
      case 'hang':
        return;
      case 'hang-body':
        hangInBody(response, answer(request));
        return;
      case 'captive':
        send(
          response,
          {
            status: 200,
            headers: { 'content-type': 'text/html', 'cache-control': 'max-age=3600' },
            body: '<html><title>Hotel Wi-Fi</title><form>Room number</form></html>',
          },
          incoming.method === 'HEAD',
        );
        return;
      case 'status':
        send(
          response,
          {
            status: fault.status,
            ...(fault.retryAfter === undefined
              ? {}
              : { headers: { 'retry-after': String(fault.retryAfter) } }),
            body: { error: `broken on purpose: ${fault.status}` },
          },
          incoming.method === 'HEAD',
        );
        return;
      case 'lose-response':
        answer(request);
        incoming.socket.destroy();
        return;
    }
  };
  const take = (method: string): Fault | undefined => {
    if (broken === undefined || (broken.only !== undefined && broken.only !== method)) {
      return undefined;
    }
    const { fault } = broken;
    broken.left -= 1;
    if (broken.left <= 0) {
      broken = undefined;
    }
    return fault;
  };

  const server = createServer((incoming, response) => {
    respond(incoming, response).catch(() => incoming.socket.destroy());
  });
  server.on('connection', socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const kill = async () => {
    if (server.listening) {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) {
        socket.destroy();
      }
      await closed;
    }
  };
  const port = await listen(0);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    fault(fault, { times = Number.POSITIVE_INFINITY, only } = {}) {
      broken = fault === undefined ? undefined : { fault, left: times, only };
    },
    kill,
    async revive() {
      if (!server.listening) {
        await listen(port);
      }
    },
    [Symbol.asyncDispose]: kill,
  };
}

async function read(incoming: IncomingMessage): Promise<OriginRequest> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += chunk.length;
    if (length > bodyLimit) {
      throw new Error('body too large');
    }
    chunks.push(chunk);
  }
  const path = incoming.url ?? '/';
  const url = new URL(path, 'http://origin.invalid');
  return {
    method: incoming.method ?? 'GET',
    path,
    headers: incoming.headers,
    body: Buffer.concat(chunks).toString('utf8'),
    query: url.searchParams,
    pieces: url.pathname.split('/').slice(1).map(decodeURIComponent),
  };
}

function encode({ headers = {}, body }: OriginAnswer): { headers: Record<string, string>; bytes: Buffer } {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const bytes = Buffer.from(text);
  const typed = body !== undefined && typeof body !== 'string' && headers['content-type'] === undefined;
  return { headers: { ...(typed ? { 'content-type': 'application/json' } : {}), ...headers }, bytes };
}

function send(response: ServerResponse, answer: OriginAnswer, head: boolean): void {
  const { headers, bytes } = encode(answer);
  const bare = answer.status === 204 || answer.status === 304;
  response.writeHead(answer.status, {
    ...headers,
    ...(bare ? {} : { 'content-length': String(bytes.length) }),
  });
  response.end(bare || head ? undefined : bytes);
}

function hangInBody(response: ServerResponse, answer: OriginAnswer): void {
  const { headers, bytes } = encode(answer);
  response.writeHead(answer.status, { ...headers, 'content-length': String(bytes.length + 1) });
  response.write(bytes.subarray(0, Math.ceil(bytes.length / 2)));
}
