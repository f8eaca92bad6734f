import type { Clock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Burden } from '../../mesh/interface.ts';
import type { AirtimeLedger, AirtimeUse } from '../airtime.ts';
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
  readonly burden: Burden;
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
/** The same for what is carried for others: our own need not wait for more of it than this. */
const longestRelayed = 15_000;
const alwaysRelayed = 4;
/** Announces that may wait; the oldest gives way, of others' first. */
const mostAnnounces = 16;
/** ms that an announce lets others pass. */
const announcePatience = 20_000;
/** ms that a packet waits for airtime: whoever waits for its answer gives up not much later. */
const airtimePatience = 10_000;
const uses: Readonly<Record<Burden, AirtimeUse>> = {
  own: 'answer',
  announce: 'bulk',
  relayed: 'relayed',
  hearsay: 'hearsay',
};

/**
 * What waits to be sent by one radio. Hands over no more than one packet beyond the one on the air, so
 * that order stays ours: our own packets and those of others in turns, announces behind both. What there is no
 * airtime for is refused.
 */
export class SendLine {
  readonly #parts: SendLineParts;
  #packets: Waiting[] = [];
  #relayed: Waiting[] = [];
  #announces: Waiting[] = [];
  /** The last of those two lines that was served. */
  #servedRelayed = false;
  /** Until when the radio is on the air with what it was given, as far as we know. */
  #busyUntil = 0;
  #wake: (() => void) | undefined;

  constructor(parts: SendLineParts) {
    this.#parts = parts;
  }

  /** ms until what waits is out, and what the radio was given. */
  get backlog(): number {
    const busy = Math.max(this.#busyUntil - this.#parts.clock.monotonic(), 0);
    return busy + sum(this.#packets) + sum(this.#relayed);
  }

  /**
   * Resolves when the radio has taken the packet. Rejects with `store/full` where too much waits,
   * `airtime/exhausted` where the law forbids to send it soon, both retryable, and with what `run` ended with.
   */
  push(packet: Uint8Array, burden: Burden = isAnnounce(packet) ? 'announce' : 'own'): Promise<void> {
    const { clock, modulation } = this.#parts;
    const timeOnAir = packetTimeOnAir(packet.length, modulation);
    const line = this.#lineOf(burden, timeOnAir);
    if (line === undefined) {
      return Promise.reject(full());
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const since = clock.monotonic();
    line.push({ packet: packet.slice(), burden, timeOnAir, since, taken: resolve, lost: reject });
    this.#wake?.();
    return promise;
  }

  /** Where a packet waits; undefined where there is no room. */
  #lineOf(burden: Burden, timeOnAir: number): Waiting[] | undefined {
    if (burden === 'own') {
      const line = this.#packets;
      return line.length >= alwaysWaiting && sum(line) + timeOnAir > longestLine ? undefined : line;
    }
    if (burden === 'relayed') {
      const line = this.#relayed;
      return line.length >= alwaysRelayed && sum(line) + timeOnAir > longestRelayed ? undefined : line;
    }
    const line = this.#announces;
    if (line.length >= mostAnnounces) {
      const hearsay = line.findIndex(waiting => waiting.burden === 'hearsay');
      if (hearsay < 0 && burden === 'hearsay') {
        return undefined;
      }
      for (const { lost } of line.splice(Math.max(hearsay, 0), 1)) {
        lost(full());
      }
    }
    return line;
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
    for (const { lost } of [...this.#packets, ...this.#relayed, ...this.#announces]) {
      lost(signal.reason);
    }
    this.#packets = [];
    this.#relayed = [];
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

  async #afford({ burden, timeOnAir }: Waiting, signal: AbortSignal): Promise<void> {
    const { clock, ledger } = this.#parts;
    // Nobody else waits until there is airtime for others.
    const forOthers = burden === 'relayed' || burden === 'hearsay';
    const end = clock.monotonic() + (forOthers ? 0 : airtimePatience);
    for (;;) {
      try {
        return await ledger.take(timeOnAir, uses[burden]);
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
    if (overdue || this.#packets.length + this.#relayed.length === 0) {
      return this.#announces.shift();
    }
    const ownFirst = this.#servedRelayed || this.#relayed.length === 0;
    this.#servedRelayed = !(ownFirst && this.#packets.length > 0);
    return this.#servedRelayed ? this.#relayed.shift() : this.#packets.shift();
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
