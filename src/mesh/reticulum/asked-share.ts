import type { Clock } from '../../lib/clock.ts';
import type { InterfaceHandle } from './dispatch.ts';
import { groupOf } from './fair-queue.ts';

/** Share of the bitrate that answers and searches which others ask for may take, beyond some at once. */
const share = 0.1;
/** Bytes: some 16 answers, or 50 searches. */
const atOnce = 4096;
/** Bytes that who has taken less than others lately may take before it is one of those who take much. */
const modest = atOnce / 8;
/** Bytes that are left to whoever takes little: by those who take much, and by one who does not of a group that does. */
const keptFromGreedy = atOnce / 4;
const keptFromGroup = atOnce / 8;

/**
 * What strangers can make one interface send by asking: so many bytes at once, then a share of its bitrate. Those who ask
 * are told apart by where they are heard, configured interfaces first and then the peers that one of them found: the
 * last of it is for who has not taken more than its part lately, so that nobody who asks without end keeps the others
 * from being answered and searched for.
 */
export class AskedShare {
  readonly #clock: Clock;
  readonly #groups = new Takers();
  readonly #sources = new Takers();
  #left = atOnce;
  #at: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = clock.monotonic();
  }

  /**
   * Whether there is room for a packet of so many bytes that somebody heard on the interface `source` asked for, which
   * is used up then. `bitrate`: bit/s of the interface that it leaves by, as it is now.
   */
  take(bytes: number, bitrate: number, source: string): boolean {
    const now = this.#clock.monotonic();
    const more = ((now - this.#at) * bitrate * share) / 8000;
    this.#at = now;
    this.#left = Math.min(atOnce, this.#left + more);
    this.#groups.forget(more);
    this.#sources.forget(more);
    const group = groupOf(source);
    const kept = this.#groups.tookLittle(group)
      ? 0
      : this.#sources.tookLittle(source)
        ? keptFromGroup
        : keptFromGreedy;
    if (this.#left - bytes < kept) {
      return false;
    }
    this.#left -= bytes;
    this.#groups.took(group, bytes);
    this.#sources.took(source, bytes);
    return true;
  }
}

/** Who took how much lately. What was taken is forgotten as fast as there is more to take, of everybody alike. */
class Takers {
  /** Bytes by name; as many as that fit what is given at once, because nobody is in here who was given nothing. */
  readonly #took = new Map<string, number>();

  tookLittle(name: string): boolean {
    return (this.#took.get(name) ?? 0) < modest;
  }

  took(name: string, bytes: number): void {
    this.#took.set(name, (this.#took.get(name) ?? 0) + bytes);
  }

  forget(bytes: number): void {
    let left = bytes;
    while (left > 0 && this.#took.size > 0) {
      const each = left / this.#took.size;
      left = 0;
      for (const [name, took] of this.#took) {
        if (took <= each) {
          this.#took.delete(name);
          left += each - took;
        } else {
          this.#took.set(name, took - each);
        }
      }
    }
  }
}

/** Such a share of each interface. */
export class AskedShares {
  readonly #clock: Clock;
  readonly #shares = new WeakMap<object, AskedShare>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether so many bytes that somebody heard on `source` asked for may leave by `out` now, which uses them up. */
  take(out: Pick<InterfaceHandle, 'bitrate'>, bytes: number, source: Pick<InterfaceHandle, 'name'>): boolean {
    let own = this.#shares.get(out);
    if (own === undefined) {
      own = new AskedShare(this.#clock);
      this.#shares.set(out, own);
    }
    return own.take(bytes, out.bitrate, source.name);
  }
}
