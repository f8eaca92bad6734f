import { toHex, utf8 } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import { Alarm } from './alarm.ts';
import type { PublicIdentity } from './identity.ts';
import type { LinkPort } from './link-port.ts';
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  type RequestBody,
} from './link-wire.ts';
import { contexts, sha256, truncatedHash } from './packet.ts';
import type { OfferDecision, ResourceOffer } from './resource-offer.ts';
import type { OutgoingResources } from './resource-outgoing.ts';

/** What somebody asks over a link. */
export interface IncomingRequest {
  readonly path: string;
  readonly data: MsgpackValue;
  /** 16 B. */
  readonly requestId: Uint8Array;
  /** ms since 1970, by the asker's clock. */
  readonly requestedAt: number;
  /** 16 B. */
  readonly linkId: Uint8Array;
  /** Who asks, where the asker has identified. */
  readonly remote: PublicIdentity | undefined;
}

/** What is answered: a value, a file with metadata, or nothing at all. */
export type Answer =
  | { readonly value: MsgpackValue; readonly compress?: boolean }
  | { readonly file: Uint8Array; readonly metadata: MsgpackValue; readonly compress?: boolean }
  | undefined;

/** What is served under one path of a destination. */
export interface RequestHandler {
  readonly path: string;
  /** Who is answered: nobody, everybody, or the Identities whose hash (hex) is in the set. Others hear nothing. */
  readonly allow: 'none' | 'all' | ReadonlySet<string>;
  /** Must answer in time: the asker waits about 11 s. A rejection is logged and answers nothing. */
  respond(request: IncomingRequest): Promise<Answer> | Answer;
}

/** The handlers of a destination; may change while it has links. */
export class RequestHandlers {
  readonly #handlers = new Map<string, RequestHandler>();

  get size(): number {
    return this.#handlers.size;
  }

  /** Replaces what was under its path. Throws `config/invalid` without a path. */
  add(handler: RequestHandler): void {
    if (handler.path === '') {
      throw new GatewayError('config/invalid', 'a request handler has a path');
    }
    this.#handlers.set(toHex(pathHash(handler.path)), handler);
  }

  /** Whether there was one. */
  remove(path: string): boolean {
    return this.#handlers.delete(toHex(pathHash(path)));
  }

  /** By path hash, 16 B. */
  find(hash: Uint8Array): RequestHandler | undefined {
    return this.#handlers.get(toHex(hash));
  }
}

/** How a request is made. */
export interface RequestOptions {
  /** ms to wait for the response to begin; by default six round trips and 11.25 s. */
  readonly timeout?: number;
  /** Bytes of the largest response taken. */
  readonly maxResponseSize?: number;
  /** 0 … 1 of a response that comes as Resource. Must not throw. */
  readonly onProgress?: (progress: number) => void;
  readonly signal?: AbortSignal;
  /** Default true: a request that goes as Resource is compressed where that makes it smaller. */
  readonly compress?: boolean;
}

/** What came back: a value, or a file with metadata. */
export interface Response {
  /** Null where it is a file. */
  readonly data: MsgpackValue;
  readonly file: Uint8Array | undefined;
  readonly metadata: MsgpackValue | undefined;
  /** ms from sending to the whole response. */
  readonly took: number;
}

/** Bytes of the largest request taken, unless the destination says otherwise. */
export const requestSizeDefault = 1024 * 1024;
/** A response may take these ms, and so many round trips, to begin. */
export const responseGrace = 11_250;
export const responseRtts = 6;
/** ms after which a request in a packet is answered at the earliest: the reference begins to listen only after it has sent it. */
const answerEarliest = 10;
const pendingMost = 256;
const servedMost = 32;

/** ms that a response may take to begin on a link of this RTT, where nobody says otherwise. */
export function responseTimeout(rtt: number): number {
  return rtt * responseRtts + responseGrace;
}

/** 16 B of the SHA-256 of a path: what a request names it by. */
export function pathHash(path: string): Uint8Array {
  return truncatedHash(sha256(utf8(path)));
}

/** The requests of one link, both ways. What does not fit a packet goes as Resource. */
export class Requests {
  readonly #port: LinkPort;
  readonly #resources: Pick<OutgoingResources, 'send'>;
  readonly #handlers: RequestHandlers | undefined;
  readonly #maxRequestSize: number;
  readonly #pending = new Map<string, Pending>();
  #serving = 0;

  constructor(
    port: LinkPort,
    resources: Pick<OutgoingResources, 'send'>,
    handlers: RequestHandlers | undefined,
    maxRequestSize: number = requestSizeDefault,
  ) {
    this.#port = port;
    this.#resources = resources;
    this.#handlers = handlers;
    this.#maxRequestSize = maxRequestSize;
  }

  /**
   * Asks, and resolves with the response. Rejects with `mesh/timeout`, `mesh/too-large`,
   * `mesh/link-closed`, `mesh/rejected`, `store/full`, or the signal's reason. A peer that does not
   * serve the path, or not to us, is silent: that is a time-out.
   */
  request(path: string, data: MsgpackValue, options: RequestOptions = {}): Promise<Response> {
    options.signal?.throwIfAborted();
    if (this.#pending.size >= pendingMost) {
      throw new GatewayError('store/full', `${pendingMost} requests wait on this link already`, {
        retryable: true,
      });
    }
    const { clock, mdu, rtt } = this.#port;
    const timeout = options.timeout ?? responseTimeout(rtt);
    const body = encodeRequest({ requestedAt: clock.now(), pathHash: pathHash(path), data });
    if (body.length <= mdu) {
      return new Promise((resolve, reject) => {
        const before = (hash: Uint8Array) => {
          const until = clock.monotonic() + timeout;
          this.#wait(truncatedHash(hash), options, timeout, until).then(resolve, reject);
        };
        this.#port.sendSealed(contexts.request, body, { before });
      });
    }
    const requestId = truncatedHash(sha256(body));
    const response = this.#wait(requestId, options, timeout, Number.POSITIVE_INFINITY);
    const pending = this.#pending.get(toHex(requestId));
    this.#resources.send(body, sendOptions(options, timeout), { requestId, as: 'request' }).then(
      () => pending?.alarm.at(clock.monotonic() + timeout),
      error => pending?.settle(error),
    );
    return response;
  }

  /** A request in a packet, opened. `hash`: of the packet, 32 B. Throws `wire/*`. */
  requestPacket(body: Uint8Array, hash: Uint8Array): void {
    if (body.length > this.#maxRequestSize) {
      throw new GatewayError(
        'mesh/too-large',
        `request of ${body.length} bytes, at most ${this.#maxRequestSize}`,
      );
    }
    const { clock } = this.#port;
    const earliest = clock.monotonic() + answerEarliest;
    this.#serve(new Uint8Array(truncatedHash(hash)), decodeRequest(body), earliest);
  }

  /** A response in a packet, opened. Throws `wire/*`. */
  responsePacket(body: Uint8Array): void {
    this.#responded(body);
  }

  /** A Resource that says it is a request. */
  offerRequest(offer: ResourceOffer): OfferDecision {
    if (this.#handlers === undefined || this.#handlers.size === 0) {
      return 'ignore';
    }
    if (offer.size > this.#maxRequestSize) {
      return 'reject';
    }
    return {
      onResource: resource => {
        resource.prove();
        this.#quietly(() => this.#serve(truncatedHash(sha256(resource.data)), decodeRequest(resource.data)));
      },
    };
  }

  /** A Resource that says it is a response. */
  offerResponse(offer: ResourceOffer): OfferDecision {
    const pending = offer.requestId && this.#pending.get(toHex(offer.requestId));
    if (!pending) {
      return 'ignore';
    }
    const { maxResponseSize, onProgress } = pending.options;
    if (maxResponseSize !== undefined && offer.size > maxResponseSize) {
      pending.settle(
        new GatewayError('mesh/too-large', `response of ${offer.size} bytes, at most ${maxResponseSize}`),
      );
      return 'reject';
    }
    return {
      onStart: cancel => {
        pending.cancel = cancel;
        pending.alarm.stop();
      },
      onProgress: progress => onProgress?.(progress),
      onFailed: error => pending.settle(error),
      onResource: resource => {
        resource.prove();
        if (resource.metadata !== undefined) {
          pending.settle(undefined, { data: null, file: resource.data, metadata: resource.metadata });
          return;
        }
        try {
          this.#responded(resource.data);
        } catch (error) {
          pending.settle(error);
        }
      },
    };
  }

  /** The link is closed. */
  lost(): void {
    for (const pending of [...this.#pending.values()]) {
      pending.settle(
        new GatewayError('mesh/link-closed', 'the link closed under a request', { retryable: true }),
      );
    }
  }

  #wait(requestId: Uint8Array, options: RequestOptions, timeout: number, until: number): Promise<Response> {
    const { clock } = this.#port;
    const key = toHex(requestId);
    const askedAt = clock.monotonic();
    return new Promise<Response>((resolve, reject) => {
      const { signal } = options;
      const late = () =>
        pending.settle(
          new GatewayError('mesh/timeout', `no response within ${Math.round(timeout)} ms`, {
            retryable: true,
          }),
        );
      const abort = () => {
        pending.cancel?.();
        pending.settle(signal?.reason);
      };
      const pending: Pending = {
        options,
        alarm: new Alarm(clock, late),
        cancel: undefined,
        settle: (error, response) => {
          if (this.#pending.get(key) !== pending) {
            return;
          }
          this.#pending.delete(key);
          pending.alarm.stop();
          signal?.removeEventListener('abort', abort);
          if (response === undefined) {
            reject(error);
          } else {
            resolve({ ...response, took: clock.monotonic() - askedAt });
          }
        },
      };
      this.#pending.set(key, pending);
      signal?.addEventListener('abort', abort, { once: true });
      pending.alarm.at(until);
    });
  }

  #responded(body: Uint8Array): void {
    const { requestId, data } = decodeResponse(body);
    const pending = this.#pending.get(toHex(requestId));
    if (!pending) {
      this.#port.counters.add('request/response-to-none');
      return;
    }
    const { maxResponseSize } = pending.options;
    if (maxResponseSize !== undefined && body.length > maxResponseSize) {
      pending.settle(
        new GatewayError('mesh/too-large', `response of ${body.length} bytes, at most ${maxResponseSize}`),
      );
      return;
    }
    pending.settle(undefined, { data, file: undefined, metadata: undefined });
  }

  #serve(requestId: Uint8Array, body: RequestBody, earliest = 0): void {
    const handler = this.#handlers?.find(body.pathHash);
    const { counters, remote } = this.#port;
    if (!handler) {
      counters.add('request/unknown-path');
      return;
    }
    const allowed =
      handler.allow === 'all' ||
      (handler.allow !== 'none' && remote !== undefined && handler.allow.has(toHex(remote.hash)));
    if (!allowed) {
      counters.add('request/not-allowed');
      return;
    }
    if (this.#serving >= servedMost) {
      counters.add('request/too-many');
      return;
    }
    this.#serving += 1;
    this.#answer(handler, requestId, body, earliest)
      .catch(error => {
        if (!isGatewayError(error)) {
          this.#port.log.error({ error, path: handler.path }, 'a request handler failed');
        }
        counters.add('request/unanswered');
      })
      .finally(() => {
        this.#serving -= 1;
      });
  }

  async #answer(
    handler: RequestHandler,
    requestId: Uint8Array,
    body: RequestBody,
    earliest: number,
  ): Promise<void> {
    const answer = await handler.respond({
      path: handler.path,
      data: body.data,
      requestId,
      requestedAt: body.requestedAt,
      linkId: this.#port.id,
      remote: this.#port.remote,
    });
    if (answer === undefined) {
      return;
    }
    const early = earliest - this.#port.clock.monotonic();
    if (early > 0) {
      await this.#port.clock.sleep(early);
    }
    if (!this.#port.usable) {
      return;
    }
    const compress = answer.compress ?? true;
    if ('file' in answer) {
      const { file, metadata } = answer;
      await this.#resources.send(file, { metadata, compress }, { requestId, as: 'response' });
      return;
    }
    const response = encodeResponse({ requestId, data: answer.value });
    if (response.length <= this.#port.mdu) {
      this.#port.sendSealed(contexts.response, response);
      return;
    }
    await this.#resources.send(response, { compress }, { requestId, as: 'response' });
  }

  #quietly(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#port.counters.add(isGatewayError(error) ? error.code : 'internal');
    }
  }
}

interface Pending {
  readonly options: RequestOptions;
  readonly alarm: Alarm;
  /** Stops a response that is on its way. */
  cancel: (() => void) | undefined;
  readonly settle: (error: unknown, response?: Omit<Response, 'took'>) => void;
}

function sendOptions(options: RequestOptions, timeout: number) {
  return {
    timeout,
    ...(options.compress === undefined ? {} : { compress: options.compress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
}
