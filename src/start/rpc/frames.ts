import { Reader, Writer } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';

/**
 * The frames of Python's multiprocessing connections:
 *
 *     length 4, signed | payload …
 *     -1 as 4 bytes | length 8 | payload …      where it is longer than 2 GiB, which nothing here is
 *
 * Source: Python, multiprocessing.connection; checked against Python 3.9 to 3.13 (test/interop/rpc-handshake.test.ts).
 */
const headerLength = 4;

/** Fresh bytes of a frame. */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  return new Writer(headerLength + payload.length).u32(payload.length).raw(payload).finish();
}

/** Cuts a stream into frames of at most `limit` bytes. */
export class FrameReader {
  #waiting = new Uint8Array(0);

  /** Takes a piece of the stream. */
  push(chunk: Uint8Array): void {
    const whole = new Uint8Array(this.#waiting.length + chunk.length);
    whole.set(this.#waiting);
    whole.set(chunk, this.#waiting.length);
    this.#waiting = whole;
  }

  /** The payload of the next frame, once it is whole. Throws `wire/malformed` where it is longer than `limit`. */
  next(limit: number): Uint8Array | undefined {
    if (this.#waiting.length < headerLength) {
      return undefined;
    }
    const reader = new Reader(this.#waiting);
    const length = reader.i32('frame length');
    if (length < 0 || length > limit) {
      throw new GatewayError('wire/malformed', `frame of ${length} bytes, at most ${limit}`);
    }
    if (reader.left < length) {
      return undefined;
    }
    const payload = reader.take(length, 'frame');
    this.#waiting = this.#waiting.slice(headerLength + length);
    return payload;
  }

  /** Bytes that are not of a whole frame yet. */
  get waiting(): number {
    return this.#waiting.length;
  }
}
