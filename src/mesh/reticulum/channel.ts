import { toHex } from '../../lib/bytes.ts';
import type { Cancel } from '../../lib/clock.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import { Alarm } from './alarm.ts';
import type { ChannelMessage, ChannelStatus, ChannelTaker, MessageType } from './channel-message.ts';
import { arrivalOf, arrive, startChannelReceiver } from './channel-receiver.ts';
import {
  type ChannelSenderEffect,
  type ChannelSenderInput,
  channelWakeAt,
  mayStart,
  startChannelSender,
  stepChannelSender,
} from './channel-sender.ts';
import {
  decodeEnvelope,
  encodeEnvelope,
  envelopeOverhead,
  isMessageType,
  systemMessageTypes,
} from './channel-wire.ts';
import type { LinkPacketsParts } from './link-packets.ts';
import type { LinkPort } from './link-port.ts';
import { decodePacketProof, encodePacketProof, type PacketProof } from './link-wire.ts';
import { contexts } from './packet.ts';

export type ChannelParts = Pick<LinkPacketsParts, 'sign' | 'verify'>;

interface Queued {
  readonly type: number;
  readonly data: Uint8Array;
  readonly delivered: (took: number) => void;
  readonly failed: (error: unknown) => void;
}

interface Sent extends Queued {
  readonly envelope: Uint8Array;
  /** Packet hashes as hex, one for each try: the proof of any of them will do. */
  readonly hashes: string[];
}

/**
 * ms from a message to its proof. The reference begins to listen for a proof only after it has sent the message, and
 * loses one that is quicker, which costs it a second; one that sends again what was proven may need longer for that.
 */
const pauseFirst = 6;
const pauseLongest = 24;
/** Messages that may wait for the window; more are refused. */
const queuedMost = 256;

/**
 * A Channel: messages over a link, both ways, in order, each sent again until it is proven. Where a
 * message is given up, so is the link. See channel-sender.ts and channel-receiver.ts for what happens when.
 */
export class Channel {
  readonly #port: LinkPort;
  readonly #parts: ChannelParts;
  readonly #alarm: Alarm;
  readonly #sender;
  readonly #receiver = startChannelReceiver<ChannelMessage>();
  readonly #types = new Map<number, MessageType<unknown>>();
  readonly #takers: ChannelTaker[] = [];
  readonly #listeners = new Set<(error: GatewayError) => void>();
  readonly #queue: Queued[] = [];
  readonly #sent = new Map<number, Sent>();
  readonly #sequences = new Map<string, number>();
  readonly #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  /** Turns given by `ready` that were not used yet. */
  #granted = 0;
  /** They will be taken back. */
  #swept = false;
  #pause = pauseFirst;
  #ended = false;

  constructor(port: LinkPort, parts: ChannelParts) {
    this.#port = port;
    this.#parts = parts;
    this.#sender = startChannelSender(port.rtt);
    this.#alarm = new Alarm(port.clock, () => this.#late());
  }

  /** Bytes that a message may have. */
  get mdu(): number {
    return Math.min(this.#port.mdu - envelopeOverhead, 0xffff);
  }

  /** Round trip of its link, ms. */
  get rtt(): number {
    return this.#port.rtt;
  }

  /** Whether a message would leave at once. */
  get hasRoom(): boolean {
    return !this.#ended && this.#port.usable && this.#queue.length === 0 && mayStart(this.#sender);
  }

  get status(): ChannelStatus {
    const { window, nextSequence, outstanding } = this.#sender;
    return {
      window: window.size,
      smallestWindow: window.smallest,
      largestWindow: window.largest,
      flexibility: window.flexibility,
      mediumRounds: window.mediumRounds,
      fastRounds: window.fastRounds,
      nextSequence,
      nextReceived: this.#receiver.next,
      held: this.#receiver.held.size,
      outstanding: [...outstanding.values()].map(({ sequence, tries }) => ({ sequence, tries })),
      queued: this.#queue.length,
      takers: this.#takers.length,
    };
  }

  /**
   * Messages of this type are understood from now on; again replaces it. One of a type that is not registered
   * stays unproven. Throws `config/invalid` for a type that belongs to the protocol, or is none.
   */
  register<T>(type: MessageType<T>): void {
    if (type.type >= systemMessageTypes) {
      throw new GatewayError('config/invalid', `message type ${type.type} is system-reserved`);
    }
    this.registerSystem(type);
  }

  /** The same for the protocol's own types. */
  registerSystem<T>(type: MessageType<T>): void {
    const { encode, decode } = type;
    if (!isMessageType(type.type) || typeof encode !== 'function' || typeof decode !== 'function') {
      throw new GatewayError('config/invalid', `no message type: ${type.type}`);
    }
    this.#types.set(type.type, type as MessageType<unknown>);
  }

  /** One more taker, asked after those there are; what is returned takes it away. */
  add(taker: ChannelTaker): Cancel {
    this.#takers.push(taker);
    return () => {
      const at = this.#takers.indexOf(taker);
      if (at !== -1) {
        this.#takers.splice(at, 1);
      }
    };
  }

  /** Calls back once when nothing can come or go any more, at once where that is so already. Must not throw. */
  onEnd(ended: (error: GatewayError) => void): Cancel {
    if (this.#ended) {
      ended(closed());
      return () => {};
    }
    this.#listeners.add(ended);
    return () => this.#listeners.delete(ended);
  }

  /** Registers a type and takes all its messages. */
  on<T>(type: MessageType<T>, take: (value: T) => void): Cancel {
    this.register(type);
    return this.add({
      take: message => {
        const mine = message.type === type.type;
        if (mine) {
          take(message.value as T);
        }
        return mine;
      },
    });
  }

  /**
   * Sends a message; resolves with the ms until it was proven. Up to 256 wait for the window: whoever has
   * more to say awaits `ready` between them. Rejects with `mesh/too-large`, `mesh/link-closed`, with
   * `mesh/timeout` where it was never proven, `store/full` where too many wait, and what `encode` throws.
   */
  send<T>(type: MessageType<T>, value: T): Promise<number> {
    const delivered = new Promise<number>((resolve, reject) => {
      this.#enqueue({ type: type.type, data: type.encode(value), delivered: resolve, failed: reject });
    });
    delivered.catch(() => {});
    return delivered;
  }

  /** Resolves when a message would leave at once, in the order of asking. Rejects with `mesh/link-closed`. */
  ready(): Promise<void> {
    if (this.#ended) {
      return Promise.reject(closed());
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#grant();
    });
  }

  /** An envelope came, opened; the packet that brought it has this hash (32 B). Throws `wire/*`. */
  packet(body: Uint8Array, hash: Uint8Array): void {
    if (this.receive(body)) {
      this.#prove(hash);
    }
  }

  /** Takes an envelope. Whether it may be proven: it is delivered, or will be, or was before. Throws `wire/*`. */
  receive(body: Uint8Array): boolean {
    const { counters } = this.#port;
    const { type, sequence, data } = decodeEnvelope(body);
    const arrival = arrivalOf(this.#receiver, sequence);
    if (arrival !== 'new') {
      counters.add(`channel/${arrival}`);
      if (arrival === 'again') {
        this.#pause = Math.min(this.#pause * 2, pauseLongest);
      }
      return arrival === 'again';
    }
    const known = this.#types.get(type);
    if (known === undefined) {
      counters.add('channel/unknown-type');
      return false;
    }
    const message = { type, value: known.decode(data) };
    if (this.#takers.some(taker => taker.hasRoom?.(message) === false)) {
      counters.add('channel/no-room');
      return false;
    }
    for (const ready of arrive(this.#receiver, sequence, message)) {
      this.#deliver(ready);
    }
    return true;
  }

  /** Whether a proof is of a message that waits for it. */
  awaits({ packetHash }: PacketProof): boolean {
    return this.#sequences.has(toHex(packetHash));
  }

  /** A proof, as it travels. Throws `wire/*`, `crypto/bad-signature`. */
  proof(data: Uint8Array): void {
    const { packetHash, signature } = decodePacketProof(data);
    const sequence = this.#sequences.get(toHex(packetHash));
    if (sequence === undefined) {
      return;
    }
    if (!this.#parts.verify(signature, packetHash)) {
      throw new GatewayError('crypto/bad-signature', 'a proof on a link not signed by its other end');
    }
    this.#step({ on: 'proven', sequence });
    this.#flush();
  }

  /** The link is closed. */
  lost(): void {
    this.#end(closed());
  }

  #enqueue(message: Queued): void {
    const { length } = message.data;
    if (this.#ended || !this.#port.usable) {
      throw closed();
    }
    if (length > this.mdu) {
      throw new GatewayError('mesh/too-large', `message of ${length} bytes, at most ${this.mdu}`);
    }
    if (this.#queue.length >= queuedMost) {
      throw new GatewayError('store/full', `${queuedMost} messages wait for this channel already`, {
        retryable: true,
      });
    }
    this.#granted = Math.max(0, this.#granted - 1);
    this.#queue.push(message);
    this.#flush();
  }

  /** Sends what may leave, and lets those go on who wait for that. */
  #flush(): void {
    while (this.#queue.length > 0 && mayStart(this.#sender)) {
      const queued = this.#queue.shift() as Queued;
      const sequence = this.#sender.nextSequence;
      const envelope = encodeEnvelope({ type: queued.type, sequence, data: queued.data });
      this.#sent.set(sequence, { ...queued, envelope, hashes: [] });
      this.#step({ on: 'message' });
    }
    this.#grant();
  }

  /** Lets those send who waited longest; room that they do not use at once is given to others. */
  #grant(): void {
    const room = this.hasRoom ? this.#sender.window.size - this.#sender.outstanding.size : 0;
    while (this.#granted < room && this.#waiting.length > 0) {
      this.#granted += 1;
      this.#waiting.shift()?.resolve();
    }
    if (this.#granted > 0 && !this.#swept) {
      this.#swept = true;
      this.#port.clock.after(0, () => {
        this.#swept = false;
        this.#granted = 0;
        this.#grant();
      });
    }
  }

  /** Proofs that lie in a socket unread, because the process was busy, are read before anything is sent again. */
  #late(): void {
    this.#port.clock.after(0, () => {
      this.#step({ on: 'time' });
      this.#flush();
    });
  }

  #step(input: ChannelSenderInput): void {
    if (this.#ended) {
      return;
    }
    const { rtt, backlog, clock } = this.#port;
    for (const effect of stepChannelSender(this.#sender, input, { rtt, backlog }, clock.monotonic())) {
      this.#carryOut(effect);
    }
    if (!this.#ended) {
      this.#alarm.at(channelWakeAt(this.#sender));
    }
  }

  #carryOut(effect: ChannelSenderEffect): void {
    switch (effect.do) {
      case 'transmit':
        this.#transmit(effect.sequence);
        break;
      case 'delivered': {
        const sent = this.#sent.get(effect.sequence);
        this.#sent.delete(effect.sequence);
        for (const hash of sent?.hashes ?? []) {
          this.#sequences.delete(hash);
        }
        sent?.delivered(effect.took);
        break;
      }
      case 'give-up':
        this.#port.counters.add('channel/given-up');
        this.#end(
          new GatewayError('mesh/timeout', 'a message of a channel was never proven', { retryable: true }),
        );
        this.#port.close();
        break;
    }
  }

  #transmit(sequence: number): void {
    const sent = this.#sent.get(sequence);
    if (sent === undefined) {
      return;
    }
    this.#port.counters.add(sent.hashes.length === 0 ? 'channel/sent' : 'channel/sent-again');
    this.#port.sendSealed(contexts.channel, sent.envelope, {
      before: hash => {
        const key = toHex(hash);
        sent.hashes.push(key);
        this.#sequences.set(key, sequence);
      },
    });
  }

  #prove(packetHash: Uint8Array): void {
    this.#port.clock.after(this.#pause, () => {
      if (!this.#ended) {
        const signature = this.#parts.sign(packetHash);
        this.#port.sendClear('proof', contexts.none, encodePacketProof({ packetHash, signature }));
      }
    });
  }

  #deliver(message: ChannelMessage): void {
    for (const taker of [...this.#takers]) {
      try {
        if (taker.take(message)) {
          return;
        }
      } catch (error) {
        this.#port.counters.add(codeOf(error));
        if (!isGatewayError(error)) {
          this.#port.log.error({ error, type: message.type }, 'a taker of a channel failed');
        }
      }
    }
    this.#port.counters.add('channel/not-taken');
  }

  #end(error: GatewayError): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.#alarm.stop();
    this.#takers.length = 0;
    this.#receiver.held.clear();
    this.#sender.outstanding.clear();
    this.#sequences.clear();
    const unsent = [...this.#sent.values(), ...this.#queue];
    this.#sent.clear();
    this.#queue.length = 0;
    for (const { failed } of unsent) {
      failed(error);
    }
    for (const { reject } of this.#waiting.splice(0)) {
      reject(error);
    }
    for (const ended of this.#listeners) {
      ended(error);
    }
    this.#listeners.clear();
  }
}

function closed(): GatewayError {
  return new GatewayError('mesh/link-closed', 'the link of a channel is closed', { retryable: true });
}
