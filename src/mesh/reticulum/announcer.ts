import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { encodeRandomBlob, signAnnounce } from './announce.ts';
import type { LocalDestination } from './destination.ts';
import { encodePacket } from './packet.ts';
import type { RatchetRing } from './ratchet.ts';

/** A second answer on the same interface within this time, ms, would be heard by the same nodes: the first serves both. */
const responseGrace = 400;
/** Interfaces and destinations answered lately that are remembered. */
const answeredKept = 1024;
/** ms for which a path request that comes again, over another interface, is answered by the same announce. */
export const sameAnswerFor = 30_000;
/** Such answers kept. */
const answersKept = 256;

/** An answer to a path request: an announce that is not made anew for one that is asked again. */
interface PathAnswer {
  readonly until: number;
  readonly bytes: Promise<Uint8Array>;
}

/** Makes the announces of local destinations. */
export class Announcer {
  readonly #clock: Clock;
  readonly #random: Random;
  /** Emission time of the last announce by destination, s epoch. */
  readonly #emitted = new Map<string, number>();
  /** When a path response last left, by destination and interface, by the monotonic clock. */
  readonly #answered = new Map<string, number>();
  /** By destination and tag, the oldest first. */
  readonly #answers = new Map<string, PathAnswer>();

  constructor(parts: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /**
   * A fresh announce packet. The ratchet in it is durable when this resolves. Rejects with
   * `mesh/too-large`, `config/invalid` or what the storage rejects with.
   */
  async make(
    destination: LocalDestination,
    ring: RatchetRing | undefined,
    content: { readonly appData?: Uint8Array | undefined; readonly pathResponse?: boolean },
  ): Promise<Uint8Array> {
    const ratchet = await ring?.announced();
    const emitted = this.#nextEmission(destination.key, content.pathResponse === true);
    const packet = signAnnounce(destination, {
      randomBlob: encodeRandomBlob(this.#random.bytes(5), emitted),
      ratchet,
      appData: content.appData ?? destination.appData(),
      pathResponse: content.pathResponse ?? false,
    });
    return encodePacket(packet);
  }

  /**
   * What answers a path request for a destination: one that comes again by the same tag (hex) within 30 s is given the
   * same packet, so that nodes it reaches by two ways know it for what they have. Rejects as `make` does.
   */
  answer(destination: LocalDestination, ring: RatchetRing | undefined, tag: string): Promise<Uint8Array> {
    const now = this.#clock.monotonic();
    for (const [key, { until }] of this.#answers) {
      if (until > now && this.#answers.size <= answersKept) {
        break;
      }
      this.#answers.delete(key);
    }
    const key = `${destination.key} ${tag}`;
    const known = this.#answers.get(key);
    if (known) {
      return known.bytes;
    }
    const bytes = this.make(destination, ring, { pathResponse: true });
    this.#answers.set(key, { until: now + sameAnswerFor, bytes });
    bytes.catch(() => this.#answers.delete(key));
    return bytes;
  }

  /** Destinations announced, and answers to path requests remembered. */
  get size(): number {
    return this.#emitted.size + this.#answered.size + this.#answers.size;
  }

  /** Whether a path response is due on an interface now; from then on one is taken to be on its way. */
  mayAnswer(destination: LocalDestination, interfaceName: string): boolean {
    const key = `${destination.key} ${interfaceName}`;
    const now = this.#clock.monotonic();
    const last = this.#answered.get(key);
    if (last !== undefined && now < last + responseGrace) {
      return false;
    }
    this.#answered.delete(key);
    this.#answered.set(key, now);
    for (const [oldest, at] of this.#answered) {
      if (at + responseGrace > now && this.#answered.size <= answeredKept) {
        break;
      }
      this.#answered.delete(oldest);
    }
    return true;
  }

  forget(destination: LocalDestination): void {
    this.#emitted.delete(destination.key);
  }

  /**
   * Receivers take only what was made later than what they have, and count whole seconds: a second
   * announce in the same second must claim the next one. Path responses do not, because strangers
   * could drive the claim ahead of time with them.
   */
  #nextEmission(key: string, pathResponse: boolean): number {
    const now = Math.floor(this.#clock.now() / 1000);
    const last = this.#emitted.get(key) ?? 0;
    if (pathResponse) {
      return Math.max(now, last);
    }
    const emitted = last >= now && last < now + 60 ? last + 1 : now;
    this.#emitted.set(key, emitted);
    return emitted;
  }
}
