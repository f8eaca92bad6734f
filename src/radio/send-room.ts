/** Bytes that may wait to be sent to one peer before more is refused. */
export const sendLimit = 4 * 1024 * 1024;
/** Bytes that may wait for all the peers of a listener: hundreds of them may stop reading at once. */
const totalDefault = 32 * 1024 * 1024;
/** Bytes that may wait for a peer however much others leave waiting. */
const ensured = 64 * 1024;

/** Memory for what waits to be sent, or for the rest of a packet that has come in part: bounded for each peer and in all, so that one that reads is not shut out. */
export class SendRoom {
  readonly #total: number;
  #held = 0;

  constructor(total: number = totalDefault) {
    this.#total = total;
  }

  /** Bytes that wait for whomever. */
  get held(): number {
    return this.#held;
  }

  /** Whether `bytes` more may wait for a peer that `waiting` bytes wait for; they are counted until given back. */
  take(waiting: number, bytes: number): boolean {
    const own = waiting + bytes;
    if (own > ensured && (own > sendLimit || this.#held + bytes > this.#total)) {
      return false;
    }
    this.#held += bytes;
    return true;
  }

  /** So many bytes wait no more. */
  give(bytes: number): void {
    this.#held -= bytes;
  }
}
