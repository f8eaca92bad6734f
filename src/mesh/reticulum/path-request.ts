import { concat, Reader } from '../../lib/bytes.ts';
import type { Cancel, Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { destinationHash, nameHash } from './destination.ts';
import { hashLength } from './packet.ts';
import type { Path } from './path-table.ts';

/**
 * The path request: a plain packet to a destination that every node listens to.
 *
 *     destination hash 16 | [identity hash of the transport node that asks 16] | tag, at most 16
 *
 * The tag tells a repeat from a new question; without one it is not answered.
 *
 * Source: SPEC.md §7.1, §7.2; checked against RNS 1.5.7 (test/interop/reticulum.test.ts).
 */
export interface PathRequest {
  /** 16 B. */
  readonly destinationHash: Uint8Array;
  /** 16 B. */
  readonly transportId: Uint8Array | undefined;
  /** 1 to 16 B. */
  readonly tag: Uint8Array;
}

/** 6b9f66014d9853faab220fba47d02761 */
export const pathRequestDestination = destinationHash(nameHash('rnstransport.path.request'));

/** How long an answer is waited for, ms; longer where a medium is so slow that the answer needs more. */
export const pathRequestTimeout = 15_000;
/** Shortest time between two requests for the same destination that nobody insists on, ms. */
export const pathRequestInterval = 20_000;

/** The request in the data of a packet, as views. Throws `wire/truncated`, also for one without a tag. */
export function decodePathRequest(data: Uint8Array): PathRequest {
  const reader = new Reader(data);
  const wanted = reader.take(hashLength, 'destination hash');
  const transportId = reader.left > hashLength ? reader.take(hashLength, 'transport id') : undefined;
  const tag = reader.take(Math.max(1, Math.min(reader.left, hashLength)), 'tag');
  return { destinationHash: wanted, transportId, tag };
}

/** Fresh bytes of a request, to be the data of a packet. */
export function encodePathRequest(request: PathRequest): Uint8Array {
  return concat(request.destinationHash, request.transportId ?? new Uint8Array(0), request.tag);
}

/** Requests that are repeated over a medium that came up: a peer that comes and goes must not multiply them. */
const askedAgain = 32;

interface Waiting {
  /** 16 B. */
  readonly destination: Uint8Array;
  readonly promise: Promise<Path>;
  readonly resolve: (path: Path) => void;
  readonly reject: (error: GatewayError) => void;
  readonly cancel: Cancel;
}

export interface PathRequestsParts {
  readonly clock: Clock;
  /** Sends a request for a destination, with a fresh tag. */
  readonly send: (destination: Uint8Array) => void;
  /** ms to wait, by the media that are up. */
  readonly timeout: () => number;
}

/** Our own open path requests: at most one for each destination, whoever asks. */
export class PathRequests {
  readonly #parts: PathRequestsParts;
  readonly #waiting = new Map<string, Waiting>();
  /** When each was last sent, by the monotonic clock; the oldest first. */
  readonly #sent = new Map<string, number>();
  /** The same of what strangers made us ask, maybe not everywhere: it keeps nobody here from asking. */
  readonly #sentForOthers = new Map<string, number>();

  constructor(parts: PathRequestsParts) {
    this.#parts = parts;
  }

  /** Destinations whose path is waited for here. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Whether anyone here waits for a path to the destination. */
  has(key: string): boolean {
    return this.#waiting.has(key);
  }

  /**
   * Waits for an announce of the destination, and asks for one unless that was done just now and
   * nobody insists. Rejects with `mesh/no-path` when none came in time. `sendForOthers`: strangers make us ask, who may
   * not make us ask everywhere.
   */
  request(
    key: string,
    destination: Uint8Array,
    insist: boolean,
    sendForOthers?: (destination: Uint8Array) => void,
  ): Promise<Path> {
    const now = this.#parts.clock.monotonic();
    forgetOld(this.#sent, now);
    forgetOld(this.#sentForOthers, now);
    const waiting = this.#waiting.get(key);
    const isSent = this.#sent.has(key) || (sendForOthers !== undefined && this.#sentForOthers.has(key));
    if (insist || !isSent) {
      const sent = sendForOthers === undefined ? this.#sent : this.#sentForOthers;
      sent.delete(key);
      sent.set(key, now);
      (sendForOthers ?? this.#parts.send)(destination);
    }
    return waiting?.promise ?? this.#wait(key, destination);
  }

  /** An announce of the destination came in. */
  answer(key: string, path: Path): void {
    this.#take(key)?.resolve(path);
  }

  /**
   * A medium came up: what was asked before it was there is asked again over it by `send`, for the newest of those who
   * wait, and nobody else is kept from asking.
   */
  askAgain(send: (destination: Uint8Array) => void): void {
    const now = this.#parts.clock.monotonic();
    this.#sent.clear();
    for (const [key, { destination }] of [...this.#waiting].slice(-askedAgain)) {
      this.#sent.set(key, now);
      send(destination);
    }
  }

  /** Rejects everyone who still waits. */
  close(): void {
    for (const key of [...this.#waiting.keys()]) {
      this.#take(key)?.reject(new GatewayError('mesh/no-path', 'stopping', { retryable: true }));
    }
  }

  #wait(key: string, destination: Uint8Array): Promise<Path> {
    const { promise, resolve, reject } = Promise.withResolvers<Path>();
    const cancel = this.#parts.clock.after(this.#parts.timeout(), () => {
      this.#take(key)?.reject(
        new GatewayError('mesh/no-path', `no path to ${key.slice(0, 8)}: nobody answered`, {
          retryable: true,
          detail: { destination: key.slice(0, 8) },
        }),
      );
    });
    this.#waiting.set(key, { destination, promise, resolve, reject, cancel });
    return promise;
  }

  #take(key: string): Waiting | undefined {
    const waiting = this.#waiting.get(key);
    waiting?.cancel();
    this.#waiting.delete(key);
    return waiting;
  }
}

function forgetOld(sent: Map<string, number>, now: number): void {
  for (const [key, at] of sent) {
    if (at + pathRequestInterval > now) {
      break;
    }
    sent.delete(key);
  }
}
