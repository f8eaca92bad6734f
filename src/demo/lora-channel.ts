import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { Quality } from '../mesh/interface.ts';
import { frameTimeOnAir, type LoraSettings, symbolTime } from '../radio/rnode/lora.ts';

export interface LoraChannelOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** dB that a signal loses in the first metre. Default 31, of 868 MHz. */
  readonly firstMetre?: number;
  /** How fast it fades with distance: 2 in free space, 2.7 in suburbs (default), 3.5 in cities. */
  readonly exponent?: number;
  /** dB that a signal varies from frame to frame, up and down at most. Default 1. */
  readonly fading?: number;
}

export interface ChannelMember {
  readonly name: string;
  /** Metres. */
  readonly x: number;
  readonly y: number;
  /** A whole frame that it could make out. */
  hear(frame: Uint8Array, quality: Required<Pick<Quality, 'rssi' | 'snr'>>): void;
}

/** What a radio is tuned to. */
export interface Tuning extends LoraSettings {
  /** dBm */
  readonly txPower: number;
}

/** One frame on the air, as it went. */
export interface Transmission {
  readonly from: string;
  /** ms epoch. */
  readonly at: number;
  /** ms */
  readonly timeOnAir: number;
  readonly tuning: Tuning;
  readonly bytes: number;
}

interface OnAir extends Transmission {
  readonly member: Seat;
  readonly begins: number;
  readonly ends: number;
}

/** dB that a frame must be above another of the same spreading factor, and that one of another may be above it. */
const capture = 6;
const rejection = 16;
/** dB of a receiver's own noise. */
const noiseFigure = 6;
/** Symbols after which others notice that somebody sends. */
const noticed = 4;
/** dB above the noise beyond which a chip does not count. */
const snrMost = 13;

/**
 * LoRa radios that share the air: frames take their time by Semtech's formula, nobody hears while it
 * sends, who sends at once with others is drowned by them unless it is stronger, and signals fade with
 * distance. What happens follows from the clock and the seed.
 */
export class LoraChannel {
  readonly #options: Required<LoraChannelOptions>;
  readonly #seats = new Set<Seat>();
  #onAir: OnAir[] = [];
  /** Everything that was sent, in order. */
  readonly log: Transmission[] = [];
  readonly counts = { sent: 0, heard: 0, collided: 0, deaf: 0, faint: 0 };

  constructor(options: LoraChannelOptions) {
    this.#options = { firstMetre: 31, exponent: 2.7, fading: 1, ...options };
  }

  join(member: ChannelMember): Seat {
    const seat = new Seat(this, member);
    this.#seats.add(seat);
    return seat;
  }

  leave(seat: Seat): void {
    this.#seats.delete(seat);
  }

  /** ms that members were on the air in the last hour, by name. */
  airtime(now = this.#options.clock.now()): Record<string, number> {
    const used: Record<string, number> = {};
    for (const { from, at, timeOnAir } of this.log) {
      if (at > now - 3_600_000) {
        used[from] = (used[from] ?? 0) + timeOnAir;
      }
    }
    return used;
  }

  /** Puts a frame on the air and says when it is over, in ms from now. */
  transmit(seat: Seat, tuning: Tuning, frame: Uint8Array): number {
    const { clock } = this.#options;
    const begins = clock.monotonic();
    const timeOnAir = frameTimeOnAir(frame.length, tuning);
    const { name } = seat.member;
    const transmission = { from: name, at: clock.now(), timeOnAir, tuning, bytes: frame.length };
    const sent: OnAir = { ...transmission, member: seat, begins, ends: begins + timeOnAir };
    this.log.push(transmission);
    this.counts.sent += 1;
    const listeners = [...this.#seats].filter(other => other !== seat && listens(other, tuning, begins));
    this.#onAir.push(sent);
    const copy = frame.slice();
    clock.after(timeOnAir, () => {
      for (const listener of listeners) {
        this.#arrive(listener, sent, copy);
      }
      this.#forget();
    });
    return timeOnAir;
  }

  /** Whether a member hears somebody else send now. */
  busy(seat: Seat): boolean {
    const now = this.#options.clock.monotonic();
    const { tuning } = seat;
    return (
      tuning !== undefined &&
      this.#onAir.some(
        one =>
          one.member !== seat &&
          now < one.ends &&
          now >= one.begins + noticed * symbolTime(one.tuning) &&
          overlaps(one.tuning, tuning) &&
          this.#strength(one, seat) >= noise(tuning) + required(one.tuning),
      )
    );
  }

  #arrive(listener: Seat, sent: OnAir, frame: Uint8Array): void {
    const { random, fading } = this.#options;
    if (!this.#seats.has(listener) || !listens(listener, sent.tuning, sent.begins)) {
      return;
    }
    const others = this.#onAir.filter(
      one =>
        // A radio does not drown itself: where its frames seem to touch, a timer fired early.
        one.member !== sent.member &&
        one.begins < sent.ends &&
        one.ends > sent.begins &&
        overlaps(one.tuning, sent.tuning),
    );
    if (others.some(({ member }) => member === listener)) {
      this.counts.deaf += 1;
      return;
    }
    const rssi = this.#strength(sent, listener) + (random.fraction() * 2 - 1) * fading;
    const snr = rssi - noise(sent.tuning);
    if (snr < required(sent.tuning)) {
      this.counts.faint += 1;
      return;
    }
    const drowned = others.some(one => {
      const alike =
        one.tuning.spreadingFactor === sent.tuning.spreadingFactor &&
        one.tuning.bandwidth === sent.tuning.bandwidth;
      return rssi - this.#strength(one, listener) < (alike ? capture : -rejection);
    });
    if (drowned) {
      this.counts.collided += 1;
      return;
    }
    this.counts.heard += 1;
    listener.member.hear(frame.slice(), {
      rssi: Math.round(rssi),
      snr: Math.round(Math.min(snr, snrMost) * 4) / 4,
    });
  }

  /** dBm of a sender at a listener's antenna. */
  #strength({ member, tuning }: OnAir, listener: Seat): number {
    const { firstMetre, exponent } = this.#options;
    const from = member.member;
    const to = listener.member;
    const distance = Math.max(Math.hypot(from.x - to.x, from.y - to.y), 1);
    return tuning.txPower - firstMetre - 10 * exponent * Math.log10(distance);
  }

  /** What is over stays as long as something it may have drowned is not. */
  #forget(): void {
    const now = this.#options.clock.monotonic();
    const begun = Math.min(...this.#onAir.filter(({ ends }) => ends >= now).map(({ begins }) => begins), now);
    this.#onAir = this.#onAir.filter(({ ends }) => ends >= begun);
  }
}

/** A member's place in the channel. */
export class Seat {
  readonly member: ChannelMember;
  readonly #channel: LoraChannel;
  #tuning: Tuning | undefined;
  #since = 0;

  constructor(channel: LoraChannel, member: ChannelMember) {
    this.#channel = channel;
    this.member = member;
  }

  get tuning(): Tuning | undefined {
    return this.#tuning;
  }

  /** Since when it is tuned as it is, by the monotonic clock. */
  get since(): number {
    return this.#since;
  }

  /** Listens to this from now on; to nothing without. */
  tune(tuning: Tuning | undefined, now: number): void {
    this.#tuning = tuning;
    this.#since = now;
  }

  transmit(frame: Uint8Array): number {
    return this.#tuning === undefined ? 0 : this.#channel.transmit(this, this.#tuning, frame);
  }

  busy(): boolean {
    return this.#channel.busy(this);
  }

  leave(): void {
    this.#channel.leave(this);
  }
}

/** Whether a member is tuned to what is sent, and was when that began. */
function listens({ tuning, since }: Seat, to: Tuning, begins: number): boolean {
  return (
    tuning !== undefined &&
    since <= begins &&
    Math.abs(tuning.frequency - to.frequency) < to.bandwidth / 4 &&
    tuning.bandwidth === to.bandwidth &&
    tuning.spreadingFactor === to.spreadingFactor
  );
}

function overlaps(a: Tuning, b: Tuning): boolean {
  return Math.abs(a.frequency - b.frequency) < (a.bandwidth + b.bandwidth) / 2;
}

/** dBm of noise in the bandwidth. */
function noise({ bandwidth }: Tuning): number {
  return -174 + 10 * Math.log10(bandwidth) + noiseFigure;
}

/** dB that a frame must stand above the noise, or may lie below it: 2.5 for each spreading factor. */
function required({ spreadingFactor }: Tuning): number {
  return 10 - 2.5 * spreadingFactor;
}
