import type { LookupAddress } from 'node:dns';
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { explain } from '../../gateway/replicas/origin-failure.ts';
import type { WebhookFailure } from '../../gateway/webhooks.ts';
import type { Clock } from '../../lib/clock.ts';
import { retryAfterOf } from '../../lib/retry-after.ts';
import type { WebhookLimits } from './config.ts';
import { type Guard, hostOf } from './guard.ts';

/** What came of one request. */
export interface Reply {
  /** Taken (`sent`: for later), worth another attempt, or never to be asked again. */
  readonly state: 'delivered' | 'sent' | 'queued' | 'gone';
  readonly status?: number;
  readonly code?: WebhookFailure;
  readonly reason?: string;
  /** ms that the endpoint wants to be left alone for. */
  readonly retryAfter?: number;
  /** ms */
  readonly duration: number;
}

/** Sends requests to endpoints. One object for all of them, so that connections are kept and counted in one place. */
export interface Poster extends Disposable {
  /**
   * Never follows a redirect and reads no body. Rejects with the signal's reason and with nothing else. Connects to what was
   * `found` before, or looks the name up.
   */
  post(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal?: AbortSignal,
    found?: readonly LookupAddress[],
  ): Promise<Reply>;
  /** What a URL's name leads to, for a `post` soon after; or the reply that such a post would end with. */
  find(url: URL): Promise<{ readonly addresses: readonly LookupAddress[] } | { readonly reply: Reply }>;
}

export interface PosterParts {
  readonly clock: Clock;
  readonly guard: Guard;
  readonly limits: WebhookLimits;
  /** Authorities, in PEM, instead of the system's. */
  readonly ca?: readonly string[];
}

/** ms that a connection is kept for the next request, and that the rest of an answer may take. */
const keptFor = 30_000;
const drainTime = 2000;

export function createPoster({ clock, guard, limits, ca }: PosterParts): Poster {
  const options = { keepAlive: true, maxFreeSockets: 1, timeout: keptFor, scheduling: 'lifo' as const };
  const plain = new HttpAgent(options);
  const secure = new HttpsAgent({ ...options, ...(ca !== undefined && { ca: [...ca] }) });

  async function post(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal?: AbortSignal,
    found?: readonly LookupAddress[],
  ): Promise<Reply> {
    signal?.throwIfAborted();
    const began = clock.monotonic();
    const first = await exchange(url, headers, body, signal, found);
    // A kept connection that the other side closed just now says nothing of the endpoint.
    const last = first.stale ? await exchange(url, headers, body, signal, found) : first;
    const { stale: _, ...reply } = last;
    return { ...reply, duration: Math.round(clock.monotonic() - began) };
  }

  type Result = Omit<Reply, 'duration'> & { readonly stale?: boolean };

  function exchange(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal | undefined,
    found: readonly LookupAddress[] | undefined,
  ): Promise<Result> {
    const isSecure = url.protocol === 'https:';
    const host = hostOf(url);
    const refused = isIP(host) === 0 ? undefined : guard.refusal(host, isSecure);
    if (refused !== undefined) {
      return Promise.resolve({ state: 'queued', code: 'blocked', reason: refused });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    let connected = false;
    let over = false;
    const sent: ClientRequest = (isSecure ? requestHttps : requestHttp)(
      {
        method: 'POST',
        protocol: url.protocol,
        hostname: host,
        ...(url.port !== '' && { port: url.port }),
        path: `${url.pathname}${url.search}`,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'content-length': String(body.length),
          'accept-encoding': 'identity',
        },
        agent: isSecure ? secure : plain,
        maxHeaderSize: limits.headBytes,
        lookup: guard.lookup(isSecure, found) as never,
        ...(isSecure && isIP(host) === 0 && { servername: host }),
      },
      response => {
        drain(response);
        // Answered before it was read: a rest that nobody takes would keep the connection for ever.
        response.on('close', () => sent.writableFinished || sent.destroy());
        end(verdict(response));
      },
    );
    const end = (result: Result | undefined) => {
      if (over) {
        return;
      }
      over = true;
      cancel();
      signal?.removeEventListener('abort', abort);
      if (result === undefined) {
        reject(signal?.reason);
      } else {
        resolve(result);
      }
    };
    const fail = (code: WebhookFailure, reason: string) => {
      end({ state: 'queued', code, reason, stale: sent.reusedSocket && code === 'reset' });
      sent.destroy();
    };
    const abort = () => {
      end(undefined);
      sent.destroy();
    };
    const cancel = clock.after(limits.timeout, () =>
      fail(
        connected ? 'timeout' : 'connect',
        `no ${connected ? 'answer' : 'connection'} within ${limits.timeout / 1000} s`,
      ),
    );
    signal?.addEventListener('abort', abort, { once: true });
    sent.on('socket', socket => {
      const ready = () => {
        connected = true;
        const wrong =
          socket.remoteAddress === undefined ? undefined : guard.refusal(socket.remoteAddress, isSecure);
        if (wrong !== undefined) {
          fail('blocked', wrong);
        }
      };
      if (sent.reusedSocket) {
        ready();
      } else {
        socket.once('connect', ready);
      }
    });
    sent.on('upgrade', (_response, socket) => {
      socket.destroy();
      fail('malformed', 'it switched to another protocol unasked');
    });
    sent.on('error', error => {
      const [cause, words] = explain(error, connected);
      fail(cause as WebhookFailure, words);
    });
    sent.end(body);
    return promise;
  }

  function verdict(response: IncomingMessage): Result {
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) {
      return { state: status === 202 ? 'sent' : 'delivered', status };
    }
    if (status === 410) {
      return { state: 'gone', status, code: 'gone', reason: 'it answered 410: it wants no more' };
    }
    if (status >= 300 && status < 400) {
      const reason = `it answered ${status}: redirects are not followed, change the URL`;
      return { state: 'queued', status, code: 'redirect', reason };
    }
    const asked =
      status === 429 || status === 503
        ? retryAfterOf(response.headers['retry-after'], clock.now())
        : undefined;
    return {
      state: 'queued',
      status,
      code: 'status',
      reason: `it answered ${status}`,
      ...(asked !== undefined && { retryAfter: Math.min(asked, limits.longestRetryAfter) }),
    };
  }

  /** What comes behind the head is thrown away, so that the connection can be used again; too much of it ends the connection. */
  function drain(response: IncomingMessage): void {
    let bytes = 0;
    const cancel = clock.after(drainTime, () => response.destroy());
    response.on('error', () => undefined);
    response.on('close', cancel);
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limits.drainBytes) {
        response.destroy();
      }
    });
  }

  return {
    post,
    async find(url) {
      const began = clock.monotonic();
      const found = await guard.find(url);
      if (!('error' in found)) {
        return found;
      }
      const [code, reason] = explain(found.error, false);
      const duration = Math.round(clock.monotonic() - began);
      return { reply: { state: 'queued', code: code as WebhookFailure, reason, duration } };
    },
    [Symbol.dispose]() {
      plain.destroy();
      secure.destroy();
    },
  };
}
