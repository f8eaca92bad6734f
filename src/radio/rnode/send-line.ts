import type { Clock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { AirtimeLedger } from '../airtime.ts';
import { type LoraModulation, packetTimeOnAir } from './lora.ts';

export interface SendLineParts {
  readonly clock: Clock;
  readonly ledger: AirtimeLedger;
  readonly modulation: LoraModulation;
  /** Hands a packet to the radio; resolves when its queue has room for another. */
  readonly hand: (packet: Uint8Array, timeOnAir: number) => Promise<void>;
}

interface Waiting {
  readonly packet: Uint8Array;
  /** ms */
  readonly timeOnAir: number;
  readonly since: number;
  readonly taken: () => void;
  readonly lost: (error: unknown) => void;
}

/** ms on the air that may wait; more would be sent when nobody waits for it any more. */
const longestLine = 45_000;
/** Packets that may wait whatever they take: at the slowest settings one takes 20 s. */
const alwaysWaiting = 8;
/** Announces that may wait; the oldest gives way. */
const mostAnnounces = 16;
/** ms that an announce lets others pass. */
const announcePatience = 20_000;
/** ms that a packet waits for airtime: whoever waits for its answer gives up not much later. */
const airtimePatience = 10_000;

/**
 * What waits to be sent by one radio. Hands over no more than one packet beyond the one on the air, so
 * that order stays ours: announces go behind everything else. What there is no airtime for is refused.
 */
export class SendLine {
  readonly #parts: SendLineParts;
  #packets: Waiting[] = [];
  #announces: Waiting[] = [];
  /** Until when the radio is on the air with what it was given, as far as we know. */
  #busyUntil = 0;
  #wake: (() => void) | undefined;

  constructor(parts: SendLineParts) {
    this.#parts = parts;
  }

  /** ms until what waits is out, and what the radio was given. */
  get backlog(): number {
    const busy = Math.max(this.#busyUntil - this.#parts.clock.monotonic(), 0);
    return busy + sum(this.#packets);
  }

  /**
   * Resolves when the radio has taken the packet. Rejects with `store/full` where too much waits,
   * `airtime/exhausted` where the law forbids to send it soon, both retryable, and with what `run` ended with.
   */
  push(packet: Uint8Array): Promise<void> {
    const { clock, modulation } = this.#parts;
    const timeOnAir = packetTimeOnAir(packet.length, modulation);
    const announce = isAnnounce(packet);
    const line = announce ? this.#announces : this.#packets;
    const waiting = sum(this.#packets);
    if (!announce && line.length >= alwaysWaiting && waiting + timeOnAir > longestLine) {
      return Promise.reject(full());
    }
    if (announce && line.length >= mostAnnounces) {
      line.shift()?.lost(full());
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    line.push({ packet: packet.slice(), timeOnAir, since: clock.monotonic(), taken: resolve, lost: reject });
    this.#wake?.();
    return promise;
  }

  /** Sends until the signal; then what waits is rejected with its reason. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    this.#busyUntil = 0;
    while (!signal.aborted) {
      const next = this.#next();
      if (next === undefined) {
        await this.#arrival(signal);
        continue;
      }
      try {
        await this.#send(next, signal);
      } catch (error) {
        next.lost(signal.aborted ? signal.reason : error);
      }
    }
    for (const { lost } of [...this.#packets, ...this.#announces]) {
      lost(signal.reason);
    }
    this.#packets = [];
    this.#announces = [];
  }

  async #send(next: Waiting, signal: AbortSignal): Promise<void> {
    const { clock, hand } = this.#parts;
    const { packet, timeOnAir } = next;
    await this.#afford(next, signal);
    signal.throwIfAborted();
    const handed = hand(packet, timeOnAir);
    // The radio has it: what it does with it is no longer the sender's concern.
    next.taken();
    await handed;
    const begins = Math.max(this.#busyUntil, clock.monotonic());
    this.#busyUntil = begins + timeOnAir;
    const pause = begins - clock.monotonic();
    if (pause > 0) {
      await clock.sleep(pause, signal);
    }
  }

  async #afford({ packet, timeOnAir }: Waiting, signal: AbortSignal): Promise<void> {
    const { clock, ledger } = this.#parts;
    const urgency = isAnnounce(packet) ? 'bulk' : 'answer';
    const end = clock.monotonic() + airtimePatience;
    for (;;) {
      try {
        return await ledger.take(timeOnAir, urgency);
      } catch (error) {
        const after = isGatewayError(error, 'airtime/exhausted') ? error.detail.retryAfter : undefined;
        if (typeof after !== 'number' || clock.monotonic() + after > end) {
          throw error;
        }
        await clock.sleep(after, signal);
      }
    }
  }

  #next(): Waiting | undefined {
    const [announce] = this.#announces;
    const overdue =
      announce !== undefined && this.#parts.clock.monotonic() - announce.since >= announcePatience;
    return overdue || this.#packets.length === 0 ? this.#announces.shift() : this.#packets.shift();
  }

  async #arrival(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    signal.addEventListener('abort', resolve as () => void, { once: true });
    await promise;
    signal.removeEventListener('abort', resolve as () => void);
    this.#wake = undefined;
  }
}

/** ms on the air. */
function sum(line: readonly Waiting[]): number {
  return line.reduce((all, { timeOnAir }) => all + timeOnAir, 0);
}

/** By the packet's flags; one under an access code does not show its kind. */
function isAnnounce(packet: Uint8Array): boolean {
  const flags = packet[0] ?? 0;
  return (flags & 0x80) === 0 && (flags & 0x03) === 1;
}

function full(): GatewayError {
  return new GatewayError('store/full', 'the radio takes packets more slowly than they come', {
    retryable: true,
  });
}
