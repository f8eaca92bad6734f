import type { MatrixHttpApi } from 'matrix-js-sdk/lib/http-api/index.js';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { matrixLimits } from './config.ts';

/** The one device of each of our users: with a device the homeserver remembers transaction ids on disk, for 24 h. */
export const deviceId = 'KOSGW';

/** JSON of an answer, not checked yet. */
// biome-ignore lint/suspicious/noExplicitAny: every reader checks what it takes.
export type Answer = Readonly<Record<string, any>>;

export interface Call {
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** A JSON object, or bytes. */
  readonly body?: object;
  readonly signal?: AbortSignal;
  /** ms; `matrixLimits.requestTimeout` without. */
  readonly timeout?: number;
  /** `/_matrix/client/v3` without. */
  readonly prefix?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Without a device, before there is one. */
  readonly bare?: boolean;
  /** The homeserver may have to ask another one for it: that no answer comes says nothing of itself. */
  readonly elsewhere?: boolean;
  /** Told when a rate limit makes it wait. */
  readonly onWait?: (ms: number) => void;
}

/**
 * The client side of the homeserver, as any of our users. Errors are `bridge/unavailable` (nobody there, overloaded, broken:
 * `detail.lost` where the connection itself failed) or `bridge/rejected`, both with `detail.errcode` and `detail.status`
 * where the homeserver said so.
 */
export interface Homeserver {
  request(
    user: string,
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    call?: Call,
  ): Promise<Answer>;
  /** The body of an answer as it comes; its reader checks the length. The caller reads or cancels it. */
  download(user: string, path: string, call?: Call): Promise<Response>;
  /** Ends everything under way. */
  close(): void;
}

export interface HomeserverParts {
  readonly url: string;
  /** Shown in the `Authorization` header and nowhere else. */
  readonly token: string;
  /** The user without whom nothing works: where it is not known any more, everything has to begin anew. */
  readonly bot: string;
  readonly clock: Clock;
  readonly counters: Counters;
  /** The connection failed: whatever the homeserver had in memory may be gone. */
  readonly onLost: (error: GatewayError) => void;
}

type Sdk = typeof import('matrix-js-sdk/lib/http-api/index.js');

/** The SDK's HTTP layer alone: the whole SDK takes thirty megabytes more. */
async function loadSdk(): Promise<Sdk> {
  return await import('matrix-js-sdk/lib/http-api/index.js');
}

/** Users whose client object is kept. */
const mostClients = 2000;

export async function connectHomeserver(parts: HomeserverParts): Promise<Homeserver> {
  const { clock, counters } = parts;
  const sdk = await loadSdk();
  const { TypedEventEmitter } = await import('matrix-js-sdk/lib/models/typed-event-emitter.js');
  const clients = new Map<string, MatrixHttpApi<{ baseUrl: string; prefix: string; onlyData: true }>>();
  const closing = new AbortController();

  /** One for each user, because the user and the device go with every request. */
  function clientOf(user: string, bare: boolean) {
    const key = `${bare}${user}`;
    const known = clients.get(key);
    if (known !== undefined) {
      return known;
    }
    const client = new sdk.MatrixHttpApi(new TypedEventEmitter(), {
      baseUrl: parts.url,
      prefix: sdk.ClientPrefix.V3,
      accessToken: parts.token,
      onlyData: true,
      extraParams: { user_id: user, ...(bare ? {} : { device_id: deviceId }) },
    });
    clients.set(key, client);
    if (clients.size > mostClients) {
      clients.delete(clients.keys().next().value ?? '');
    }
    return client;
  }

  /** Runs with a signal that ends with the caller's, with the time given, and with this homeserver. */
  async function limited<T>(call: Call, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const signals = [closing.signal, ...(call.signal === undefined ? [] : [call.signal])];
    for (const signal of signals) {
      signal.throwIfAborted();
    }
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined);
    const cancel = clock.after(call.timeout ?? matrixLimits.requestTimeout, () => {
      reject(unavailable('the homeserver does not answer', call.elsewhere === true ? {} : { lost: true }));
      stop.abort();
    });
    const abort = () => {
      reject(signals.find(signal => signal.aborted)?.reason);
      stop.abort();
    };
    for (const signal of signals) {
      signal.addEventListener('abort', abort, { once: true });
    }
    try {
      return await Promise.race([run(stop.signal), promise]);
    } finally {
      cancel();
      for (const signal of signals) {
        signal.removeEventListener('abort', abort);
      }
    }
  }

  function failure(error: unknown, user: string): unknown {
    const ours = forgotten(translate(sdk, error), user === parts.bot);
    if (isGatewayError(ours)) {
      counters.add(`matrix/homeserver/${ours.code}`);
      if (ours.detail.lost === true) {
        parts.onLost(ours);
      }
    }
    return ours;
  }

  async function once(user: string, method: string, path: string, call: Call): Promise<Answer> {
    const client = clientOf(user, call.bare === true);
    try {
      return await limited(call, signal =>
        client.authedRequest<Answer>(
          method as (typeof sdk.Method)[keyof typeof sdk.Method],
          path,
          { ...call.query },
          call.body as Record<string, unknown>,
          {
            ...(call.prefix === undefined ? {} : { prefix: call.prefix }),
            ...(call.headers === undefined ? {} : { headers: call.headers }),
            abortSignal: signal,
            priority: 'auto',
          },
        ),
      );
    } catch (error) {
      throw failure(error, user);
    }
  }

  return {
    async request(user, method, path, call = {}) {
      for (let repeats = 0; ; repeats++) {
        try {
          return await once(user, method, path, call);
        } catch (error) {
          const wait = isGatewayError(error) ? error.detail.retryAfter : undefined;
          if (
            typeof wait !== 'number' ||
            wait > matrixLimits.rateLimitPatience ||
            repeats >= matrixLimits.rateLimitRepeats
          ) {
            throw error;
          }
          counters.add('matrix/rate-limited');
          call.onWait?.(wait);
          await clock.sleep(Math.max(wait, 50), call.signal ?? closing.signal);
        }
      }
    },
    async download(user, path, call = {}) {
      const client = clientOf(user, call.bare === true);
      const url = client.getUrl(path, { ...call.query }, call.prefix);
      // The time is that of the whole file, and ends with the response's reader.
      const late = AbortSignal.timeout(call.timeout ?? matrixLimits.mediaTimeout);
      const signal = AbortSignal.any([
        closing.signal,
        late,
        ...(call.signal === undefined ? [] : [call.signal]),
      ]);
      try {
        const response = await fetch(url, { headers: { authorization: `Bearer ${parts.token}` }, signal });
        if (!response.ok) {
          throw sdk.parseErrorResponse(response, (await response.text()).slice(0, 65_536));
        }
        return response;
      } catch (error) {
        if (late.aborted) {
          throw unavailable('the homeserver does not have the file yet', { broken: true }, error);
        }
        throw failure(
          error instanceof TypeError ? new sdk.ConnectionError('download failed', error) : error,
          user,
        );
      }
    },
    close() {
      closing.abort(unavailable('the Matrix bridge is stopping', {}));
      for (const client of clients.values()) {
        client.abort();
      }
    },
  };
}

/** What the SDK throws, in our codes. */
function translate(sdk: Sdk, error: unknown): unknown {
  if (error instanceof sdk.ConnectionError) {
    const cause = (error as { cause?: unknown }).cause;
    const errno = /E[A-Z]{4,}/.exec(
      `${error.message} ${String((cause as Error | undefined)?.cause ?? '')}`,
    )?.[0];
    return unavailable(
      errno === 'ECONNREFUSED' || errno === undefined
        ? 'the homeserver is not reachable'
        : `the homeserver is not reachable (${errno})`,
      { lost: true },
      error,
    );
  }
  if (!(error instanceof sdk.HTTPError)) {
    return error;
  }
  const status = error.httpStatus ?? 0;
  const errcode = error instanceof sdk.MatrixError ? plainCode(error.errcode) : undefined;
  const said = error instanceof sdk.MatrixError ? (error.error ?? '').slice(0, 200) : '';
  const detail = { status, errcode, ...(error instanceof sdk.MatrixError ? { body: error.data } : {}) };
  if (error.isRateLimitError()) {
    const retryAfter = sdk.safeGetRetryAfterMs(error, 1000);
    return unavailable('the homeserver asks to slow down', { ...detail, retryAfter }, error);
  }
  if (errcode === 'M_UNKNOWN_TOKEN' || errcode === 'M_MISSING_TOKEN') {
    return unavailable(
      'the homeserver does not know the as_token: has it read the registration file, and was it restarted since?',
      { ...detail, lost: true },
      error,
    );
  }
  if (status >= 500) {
    // With a code it is the homeserver that speaks, of somebody else it could not reach: another server, or us.
    const lost = (status === 502 || status === 503 || status === 504) && errcode === undefined;
    return unavailable(`the homeserver answered ${status} ${said}`.trim(), { ...detail, lost }, error);
  }
  return new GatewayError('bridge/rejected', `the homeserver refused: ${said || `status ${status}`}`, {
    detail,
    cause: error,
  });
}

/** Whether the homeserver does not know a user of ours, or its device: it was set up anew, or somebody removed them. */
export function saidUnknown(error: unknown): boolean {
  return (
    saidBy(error, 'M_UNKNOWN_DEVICE') ||
    (saidBy(error, 'M_FORBIDDEN') && /has not registered this user/i.test((error as Error).message))
  );
}

function forgotten(error: unknown, isBot: boolean): unknown {
  return isBot && isGatewayError(error) && saidUnknown(error)
    ? unavailable('the homeserver has forgotten the bot', { ...error.detail, lost: true }, error)
    : error;
}

/** An error code without the prefix it had before it was in the specification. */
function plainCode(errcode: string | undefined): string | undefined {
  return errcode?.replace(/^.*\.(?=M_)/, '');
}

function unavailable(
  message: string,
  detail: Readonly<Record<string, unknown>>,
  cause?: unknown,
): GatewayError {
  return new GatewayError('bridge/unavailable', message, { retryable: true, detail, cause });
}

/** Whether the homeserver said one of these. */
export function saidBy(error: unknown, ...errcodes: readonly string[]): boolean {
  return isGatewayError(error) && errcodes.includes(String(error.detail.errcode));
}

/** A path with its parts encoded. */
export function path(strings: TemplateStringsArray, ...values: readonly string[]): string {
  return strings.reduce((made, text, index) => made + encodeURIComponent(values[index - 1] ?? '') + text);
}
