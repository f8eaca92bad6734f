import { concat, equal, toHex } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { MsgpackValue } from '../../lib/msgpack.ts';
import { Alarm } from './alarm.ts';
import { trafficTimeout } from './link.ts';
import type { Compressor, LinkPort } from './link-port.ts';
import { contexts, encodePacket, packetHash } from './packet.ts';
import { type Packed, ResourcePacker } from './resource-packer.ts';
import { partOf, type SealedSegment, sealSegment } from './resource-segment.ts';
import {
  type ResourceSender,
  type SenderEffect,
  type SenderFailure,
  type SenderInput,
  senderProgress,
  senderWakeAt,
  startSender,
  stepSender,
} from './resource-sender.ts';
import {
  compressedMost,
  decodeCancel,
  decodePartRequest,
  decodeResourceProof,
  encodeAdvertisement,
  encodeMetadata,
  encodeResourceProof,
  segmentSize,
} from './resource-wire.ts';

/** How a Resource is sent. */
export interface ResourceOptions {
  /** Sent in front of the data; at most one segment long. */
  readonly metadata?: MsgpackValue;
  /**
   * Default true: bzip2 where it makes the data smaller, the link is not so fast that it would take longer, and there
   * are at most 64 MiB.
   */
  readonly compress?: boolean;
  /** 0 … 1, whenever it grows. Must not throw. */
  readonly onProgress?: (progress: number) => void;
  readonly signal?: AbortSignal;
  /** ms the receiver has to ask for the first parts of each segment; by default six round trips. */
  readonly timeout?: number;
}

/** What makes a Resource part of a request or a response. */
export interface ResourcePurpose {
  /** 16 B. */
  readonly requestId: Uint8Array;
  readonly as: 'request' | 'response';
}

/** Resources that may wait for their turn on one link. */
const waitingMost = 64;
/** Segments that are compressed before it is their turn, because that may be done by several threads. */
const packedAhead = 2;
/** Part requests remembered, so that one heard twice is answered once. */
const requestsRemembered = 64;

/**
 * The Resources that leave over one link, one after the other: parts do not say which Resource they
 * belong to, so the reference sends no two at once. While a segment is on its way the next is prepared.
 */
export class OutgoingResources {
  readonly #port: LinkPort;
  readonly #packer: ResourcePacker;
  readonly #alarm: Alarm;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #current: Sending | undefined;

  constructor(port: LinkPort, compressor: Compressor | undefined) {
    this.#port = port;
    this.#packer = new ResourcePacker(port, compressor);
    this.#alarm = new Alarm(port.clock, () => this.#step({ on: 'time' }));
  }

  /**
   * Sends the data; resolves when the receiver has proven the last segment. Rejects with
   * `mesh/rejected`, `mesh/timeout` (detail `unproven` where all of it was sent and only the proof is
   * missing), `mesh/link-closed`, `mesh/too-large` (metadata), `store/full`, or the signal's reason.
   * The bytes must not change until then.
   */
  async send(data: Uint8Array, options: ResourceOptions, purpose?: ResourcePurpose): Promise<void> {
    options.signal?.throwIfAborted();
    const prefix = options.metadata === undefined ? undefined : encodeMetadata(options.metadata);
    if (prefix !== undefined && prefix.length > segmentSize) {
      throw new GatewayError('mesh/too-large', `metadata of ${prefix.length} bytes, at most ${segmentSize}`);
    }
    if (this.#waiting >= waitingMost) {
      throw new GatewayError('store/full', `${waitingMost} Resources wait for this link already`, {
        retryable: true,
      });
    }
    this.#waiting += 1;
    const turn = this.#tail;
    const sent = turn
      .then(() => this.#sendAll(prefix, data, options, purpose))
      .finally(() => this.#waiting--);
    this.#tail = sent.catch(() => {});
    return options.signal === undefined ? sent : orAborted(sent, options.signal);
  }

  /** A part request, opened. `hash`: of its packet. Throws `wire/*`. */
  partRequest(body: Uint8Array, hash: Uint8Array): void {
    const request = decodePartRequest(body);
    const sending = this.#current;
    if (!sending || !equal(request.hash, sending.hash)) {
      this.#port.counters.add('resource/request-for-none');
      return;
    }
    const key = toHex(hash);
    if (sending.answered.has(key)) {
      return;
    }
    sending.answered.add(key);
    if (sending.answered.size > requestsRemembered) {
      sending.answered.delete(sending.answered.values().next().value!);
    }
    this.#step({ on: 'request', request });
  }

  /** A proof, as it travels. Throws `wire/*`. */
  proof(data: Uint8Array): void {
    const { hash, proof } = decodeResourceProof(data);
    if (this.#current && equal(hash, this.#current.hash)) {
      this.#step({ on: 'proof', proof });
    }
  }

  /** The receiver's cancel, opened. Throws `wire/*`. */
  rejected(body: Uint8Array): void {
    if (this.#current && equal(decodeCancel(body), this.#current.hash)) {
      this.#step({ on: 'rejected' });
    }
  }

  /** The link is closed. */
  lost(): void {
    this.#step({ on: 'lost' });
  }

  async #sendAll(
    prefix: Uint8Array | undefined,
    data: Uint8Array,
    options: ResourceOptions,
    purpose: ResourcePurpose | undefined,
  ): Promise<void> {
    const total = (prefix?.length ?? 0) + data.length;
    const segments = Math.max(1, Math.ceil(total / segmentSize));
    let originalHash: Uint8Array | undefined;
    const packed: Promise<Packed>[] = [];
    const prepare = async (segment: number, turn: Promise<void>): Promise<SealedSegment> => {
      while (packed.length < Math.min(segment + packedAhead, segments)) {
        const piece = pieceOf(prefix, data, packed.length + 1);
        packed.push(
          options.compress === false || total > compressedMost
            ? Promise.resolve({ piece, smaller: undefined })
            : this.#packer.pack(piece),
        );
      }
      const [{ piece, smaller }] = await Promise.all([packed[segment - 1]!, turn]);
      delete packed[segment - 1];
      this.#usable(options.signal);
      const compressed = smaller !== undefined && smaller.length < piece.length;
      return sealSegment(
        piece,
        compressed ? smaller : piece,
        {
          dataSize: total,
          segment,
          segments,
          originalHash,
          requestId: purpose?.requestId,
          flags: {
            compressed,
            split: segments > 1,
            request: purpose?.as === 'request',
            response: purpose?.as === 'response',
            metadata: prefix !== undefined,
          },
        },
        this.#port.mtu,
        this.#port,
        this.#port.random,
      );
    };
    let prepared = prepare(1, Promise.resolve());
    for (let segment = 1; segment <= segments; segment++) {
      const sealed = await prepared;
      originalHash = sealed.advertisement.originalHash;
      const left = Promise.withResolvers<void>();
      const done = this.#sendSegment(sealed, options, part => {
        options.onProgress?.((segment - 1 + part) / segments);
        if (part === 1) {
          left.resolve();
        }
      });
      if (segment < segments) {
        // Sealing takes this thread for milliseconds: it is done when the parts are out, while the receiver reads them.
        prepared = prepare(segment + 1, Promise.race([left.promise, done]));
        prepared.catch(() => {});
      }
      await done;
    }
  }

  #sendSegment(
    segment: SealedSegment,
    options: ResourceOptions,
    onPart: (progress: number) => void,
  ): Promise<void> {
    this.#usable(options.signal);
    const { signal } = options;
    return new Promise<void>((resolve, reject) => {
      const abort = () => this.#step({ on: 'cancel' });
      const settle = (error?: unknown) => {
        signal?.removeEventListener('abort', abort);
        this.#current = undefined;
        this.#alarm.stop();
        if (error === undefined) {
          resolve();
        } else {
          reject(error);
        }
      };
      const { clock, rtt } = this.#port;
      const timeout = options.timeout ?? trafficTimeout(rtt);
      const [state, effects] = startSender(segment, rtt, timeout, clock.monotonic());
      this.#current = {
        state,
        began: state.advertisedAt,
        hash: segment.advertisement.hash,
        answered: new Set(),
        onPart,
        settle,
        signal,
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#carryOut(this.#current, effects);
      this.#alarm.at(senderWakeAt(state));
    });
  }

  #usable(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (!this.#port.usable) {
      throw failure('lost');
    }
  }

  #step(input: SenderInput): void {
    const sending = this.#current;
    if (!sending) {
      return;
    }
    const effects = stepSender(sending.state, input, this.#port.clock.monotonic());
    this.#carryOut(sending, effects);
    if (this.#current === sending) {
      this.#alarm.at(senderWakeAt(sending.state));
    }
  }

  #carryOut(sending: Sending, effects: readonly SenderEffect[]): void {
    const { segment } = sending.state;
    for (const effect of effects) {
      switch (effect.do) {
        case 'advertise':
          this.#port.sendSealed(contexts.resourceAdvertisement, encodeAdvertisement(segment.advertisement));
          break;
        case 'part':
          this.#port.sendClear('data', contexts.resource, partOf(segment, effect.index));
          break;
        case 'hashmap':
          this.#port.sendSealed(contexts.resourceHashmapUpdate, effect.body);
          break;
        case 'progress':
          sending.onPart(senderProgress(sending.state));
          break;
        case 'query-proof':
          this.#port.sendClear('data', contexts.cacheRequest, proofPacketHash(this.#port.id, segment));
          break;
        case 'cancel':
          this.#port.sendSealed(contexts.resourceInitiatorCancel, segment.advertisement.hash);
          break;
        case 'done':
          this.#packer.carried(segment.advertisement, this.#port.clock.monotonic() - sending.began);
          sending.settle();
          break;
        case 'failed':
          sending.settle(effect.why === 'cancelled' ? sending.signal?.reason : failure(effect.why));
          break;
      }
    }
  }
}

interface Sending {
  readonly state: ResourceSender;
  /** Monotonic ms. */
  readonly began: number;
  readonly hash: Uint8Array;
  readonly answered: Set<string>;
  readonly onPart: (progress: number) => void;
  readonly settle: (error?: unknown) => void;
  readonly signal: AbortSignal | undefined;
}

/** The packet that proves this segment, by which its receiver can be asked for it again. */
export function proofPacketHash(
  linkId: Uint8Array,
  segment: Pick<SealedSegment, 'advertisement' | 'expectedProof'>,
): Uint8Array {
  const proof = encodeResourceProof({ hash: segment.advertisement.hash, proof: segment.expectedProof });
  return packetHash(
    encodePacket({
      hops: 0,
      contextFlag: false,
      propagation: 'broadcast',
      destinationType: 'link',
      packetType: 'proof',
      destinationHash: linkId,
      context: contexts.resourceProof,
      data: proof,
    }),
  );
}

/** The data of one segment: a view, but for a first one with metadata. */
function pieceOf(prefix: Uint8Array | undefined, data: Uint8Array, segment: number): Uint8Array {
  const ahead = prefix?.length ?? 0;
  const end = segment * segmentSize - ahead;
  if (segment > 1) {
    return data.subarray(end - segmentSize, end);
  }
  const first = data.subarray(0, end);
  return prefix === undefined ? first : concat(prefix, first);
}

/** What waits for its turn need not wait to be given up. */
function orAborted(sent: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    sent.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function failure(why: Exclude<SenderFailure, 'cancelled'>): GatewayError {
  switch (why) {
    case 'rejected':
      return new GatewayError('mesh/rejected', 'the receiver does not want this Resource');
    case 'lost':
      return new GatewayError('mesh/link-closed', 'the link closed under a Resource', { retryable: true });
    case 'malformed':
      return new GatewayError('wire/malformed', 'the receiver asked for what a Resource does not have');
    case 'timeout':
      return new GatewayError('mesh/timeout', 'the receiver of a Resource went silent', { retryable: true });
    case 'unproven':
      return new GatewayError('mesh/timeout', 'a Resource was sent but not proven', {
        retryable: true,
        detail: { unproven: true },
      });
  }
}
