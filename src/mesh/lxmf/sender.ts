import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { LocalDestination } from '../reticulum/destination.ts';
import type { Known } from '../reticulum/known.ts';
import type { Link } from '../reticulum/link-session.ts';
import { hashLength } from '../reticulum/packet.ts';
import type { ReceiptOutcome } from '../reticulum/receipts.ts';
import type { TableSizes } from '../reticulum/table-sizes.ts';
import type { Transport } from '../reticulum/transport.ts';
import { type DeliveryAnnounce, decodeDeliveryAnnounce } from './announce.ts';
import { messageLimit, opportunisticLimit, withoutDestination } from './message.ts';
import { type PeerLinks, unlessAborted } from './peer-links.ts';
import type { Method } from './receiver.ts';

export interface SendOptions {
  readonly signal: AbortSignal;
  /** `direct` where a single packet got no answer before. Default `any`. */
  readonly method?: 'any' | 'direct';
  /** ms to wait for a path that is searched, default 5 s; with 0 whoever sends waits for the answer by itself. */
  readonly pathPatience?: number;
  /** Must not throw. */
  readonly onProgress?: (progress: SendProgress) => void;
}

/**
 * How far a message has got: `sent` when all of it has left and only the proof is waited for; `whole` in a single
 * packet, so that what leaves after it does not arrive before it.
 */
export type SendProgress =
  | { readonly at: 'searching-path' | 'opening-link' }
  | { readonly at: 'sent'; readonly whole: boolean };

/** What decides how a message travels. */
export interface MethodFacts {
  /** Bytes of the packed message. */
  readonly length: number;
  /** A link to the peer is open, whoever opened it. */
  readonly linkOpen: boolean;
  /** The peer has announced a ratchet. */
  readonly ratchet: boolean;
  /** A single packet got no answer before. */
  readonly again: boolean;
}

/**
 * How a message travels. An open link is cheapest. Without one, a message that fits goes in a single
 * packet: two packets with its proof, where a link takes three more; but only sealed for a ratchet,
 * because what is sealed for an Identity can be opened for ever by whoever gets its key; and not a
 * second time, because a peer that lost its ratchets can open none, while a link needs none.
 */
export function chooseMethod(facts: MethodFacts): Method {
  if (facts.linkOpen || facts.again || !facts.ratchet) {
    return 'direct';
  }
  return facts.length <= opportunisticLimit ? 'opportunistic' : 'direct';
}

/** ms a message waits for a path; after that it is the announce that brings it back. */
const defaultPathPatience = 5000;
/** ms to wait for the proof of a link packet, at least: the receiver stores the message first. */
export const proofPatience = 5000;
const proofRtts = 6;
/** ms that the proof of a packet may take whose way was lost meanwhile: nobody but a neighbour hears it. */
const neighbourTimeout = 12_000;
/** ms an attempt is given before an announce of its peer means that it came back and heard nothing. */
export const announceGrace = 1000;
const restartsMost = 3;

export interface SenderParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly transport: Transport;
  readonly peerLinks: PeerLinks;
}

/**
 * The sending half of a router. It keeps no queue and makes no second attempt, but where an idle link
 * proves dead, or where the peer announces itself while its answer is waited for: all others are the
 * outbox's.
 */
export class Sender {
  readonly #parts: SenderParts;
  /** Attempts that an announce of their peer starts anew, by peer. */
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  sizes(): TableSizes {
    return { 'lxmf-peers-waited-for': this.#waiting.size };
  }

  /** A peer (16 B) has announced itself: what is sent to it without an answer is sent anew. */
  announced(peer: Uint8Array): void {
    this.#parts.peerLinks.abandon(peer, announceGrace);
    for (const restart of this.#waiting.get(toHex(peer)) ?? []) {
      restart();
    }
  }

  /** See `LxmfRouter.send`; `local` is the message's source. */
  async send(packed: Uint8Array, local: LocalDestination, options: SendOptions): Promise<'delivered'> {
    if (packed.length > messageLimit) {
      throw new GatewayError('mesh/too-large', `message of ${packed.length} bytes, at most ${messageLimit}`);
    }
    const peer = packed.subarray(0, hashLength);
    for (let restarts = 0; ; restarts++) {
      options.signal.throwIfAborted();
      const attempt = new AbortController();
      const forget = restarts < restartsMost ? this.#restartOnAnnounce(peer, attempt) : () => {};
      const signal = AbortSignal.any([options.signal, attempt.signal]);
      try {
        return await this.#attempt(packed, peer, local, { ...options, signal }, forget);
      } catch (error) {
        if (!attempt.signal.aborted || options.signal.aborted) {
          throw error;
        }
        this.#parts.counters.add('lxmf/restarted');
      } finally {
        forget();
      }
    }
  }

  /** `goesOn` is called when the peer is known to answer: from then on an announce does not disturb it. */
  async #attempt(
    packed: Uint8Array,
    peer: Uint8Array,
    local: LocalDestination,
    options: SendOptions,
    goesOn: () => void,
  ): Promise<'delivered'> {
    const open = this.#parts.peerLinks.find(local, peer);
    if (open !== undefined) {
      try {
        return await this.#overLink(open, packed, peer, local, options, goesOn);
      } catch (error) {
        if (!isDead(error)) {
          throw error;
        }
        open.close();
        options.signal.throwIfAborted();
        this.#parts.counters.add('lxmf/dead-link');
      }
    }
    const known = await this.#findPeer(peer, options);
    if (announced(known.appData).stampCost !== undefined) {
      this.#parts.counters.add('lxmf/unstamped');
    }
    const method = chooseMethod({
      length: packed.length,
      linkOpen: false,
      ratchet: known.ratchet !== undefined,
      again: options.method === 'direct',
    });
    if (method === 'opportunistic') {
      return this.#inOnePacket(packed, peer, known, options);
    }
    options.onProgress?.({ at: 'opening-link' });
    let link: Link;
    try {
      link = await this.#parts.peerLinks.open(local, peer, known.identity, options.signal);
    } catch (error) {
      this.#unanswered(peer, error);
      throw error;
    }
    return await this.#overLink(link, packed, peer, local, options, goesOn);
  }

  /** What the peer announced, once there is a path to it. */
  async #findPeer(peer: Uint8Array, options: SendOptions): Promise<Known> {
    const { signal, onProgress, pathPatience = defaultPathPatience } = options;
    const { transport, clock } = this.#parts;
    const before = transport.recall(peer);
    const path = transport.path(peer);
    if (before !== undefined && path !== undefined) {
      return before;
    }
    onProgress?.({ at: 'searching-path' });
    const search = transport.requestPath(peer, { insist: path !== undefined });
    const over = new AbortController();
    const late = clock.sleep(pathPatience, over.signal).then(() => {
      throw new GatewayError('mesh/no-path', 'no path to the peer yet', { retryable: true });
    });
    search.catch(() => {});
    late.catch(() => {});
    try {
      await unlessAborted(Promise.race([search, late]), signal);
    } finally {
      over.abort();
    }
    const known = transport.recall(peer);
    if (known === undefined) {
      throw new GatewayError('mesh/no-path', 'the peer has not announced itself yet', { retryable: true });
    }
    return known;
  }

  async #inOnePacket(
    packed: Uint8Array,
    peer: Uint8Array,
    known: Known,
    { signal, onProgress }: SendOptions,
  ): Promise<'delivered'> {
    const { promise, resolve } = Promise.withResolvers<ReceiptOutcome>();
    const { transport } = this.#parts;
    await transport.send({
      destination: { identity: known.identity, hash: peer },
      data: withoutDestination(packed),
      ...(transport.path(peer) === undefined && { timeout: neighbourTimeout }),
      onReceipt: resolve,
    });
    this.#parts.counters.add('lxmf/sent-opportunistic');
    onProgress?.({ at: 'sent', whole: true });
    const outcome = await unlessAborted(promise, signal);
    if (outcome.at === 'delivered') {
      return 'delivered';
    }
    const error = new GatewayError(outcome.code, 'a single packet was not proven', { retryable: true });
    this.#unanswered(peer, error);
    throw error;
  }

  async #overLink(
    link: Link,
    packed: Uint8Array,
    peer: Uint8Array,
    local: LocalDestination,
    options: SendOptions,
    goesOn: () => void,
  ): Promise<'delivered'> {
    await this.#parts.peerLinks.use(link, local, peer, () =>
      packed.length <= link.mdu
        ? this.#asLinkPacket(link, packed, options)
        : this.#asResource(link, packed, peer, options, goesOn),
    );
    return 'delivered';
  }

  async #asLinkPacket(link: Link, packed: Uint8Array, { signal, onProgress }: SendOptions): Promise<void> {
    this.#parts.counters.add('lxmf/sent-link-packet');
    const timeout = Math.max(proofRtts * link.rtt, proofPatience);
    const proven = link.send(packed, { timeout });
    onProgress?.({ at: 'sent', whole: true });
    await unlessAborted(proven, signal);
  }

  async #asResource(
    link: Link,
    packed: Uint8Array,
    peer: Uint8Array,
    { signal, onProgress }: SendOptions,
    goesOn: () => void,
  ): Promise<void> {
    const { counters, transport } = this.#parts;
    counters.add('lxmf/sent-resource');
    let left = false;
    await link.sendResource(packed, {
      compress: announced(transport.recall(peer)?.appData).compression,
      signal,
      onProgress: progress => {
        goesOn();
        if (progress >= 1 && !left) {
          left = true;
          onProgress?.({ at: 'sent', whole: false });
        }
      },
    });
  }

  /** A path that gave no answer yields to any other, and is asked for again. */
  #unanswered(peer: Uint8Array, error: unknown): void {
    if (isGatewayError(error, 'mesh/timeout')) {
      const { transport } = this.#parts;
      transport.markUnresponsive(peer);
      transport.requestPath(peer, { insist: true }).catch(() => {});
    }
  }

  #restartOnAnnounce(peer: Uint8Array, attempt: AbortController): () => void {
    const { clock } = this.#parts;
    const key = toHex(peer);
    const begun = clock.monotonic();
    const restart = () => {
      if (clock.monotonic() - begun >= announceGrace) {
        attempt.abort(
          new GatewayError('mesh/timeout', 'the peer announced itself anew', { retryable: true }),
        );
      }
    };
    const waiting = this.#waiting.get(key) ?? new Set();
    waiting.add(restart);
    this.#waiting.set(key, waiting);
    return () => {
      waiting.delete(restart);
      if (waiting.size === 0 && this.#waiting.get(key) === waiting) {
        this.#waiting.delete(key);
      }
    };
  }
}

/** Whether an error says that the link is no more, rather than that the message is not wanted. */
function isDead(error: unknown): boolean {
  return isGatewayError(error, 'mesh/link-closed', 'mesh/timeout') && error.detail.unproven !== true;
}

/** What the peer's announce says; nothing where it cannot be read. */
function announced(appData: Uint8Array | undefined): DeliveryAnnounce {
  try {
    return decodeDeliveryAnnounce(appData);
  } catch (error) {
    if (isGatewayError(error)) {
      return decodeDeliveryAnnounce(undefined);
    }
    throw error;
  }
}
