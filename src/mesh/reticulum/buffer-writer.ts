import { GatewayError } from '../../lib/errors.ts';
import { mustBeStreamId, streamMessages } from './buffer-reader.ts';
import type { Channel } from './channel.ts';
import { streamChunkLargest, streamOverhead } from './channel-wire.ts';
import type { Compressor } from './link-port.ts';

export interface BufferWriterOptions {
  /** Compresses chunks that it makes smaller; without it nothing is compressed. */
  readonly compressor?: Compressor | undefined;
}

/** Parts of what is to be written that are tried, largest first: all of it, a half, a third. */
export const compressionTries = 3;
/** Bytes that are not worth compressing. */
const compressedSmallest = 33;
/** ms of round trip from which on it pays to compress even where the next chunk could leave at once. */
const slowRtt = 100;
/** Chunks that are left alone after one that could not be made smaller. */
const futileChunks = 8;

/**
 * The writing end of a Buffer: bytes in, chunks of one stream over a Channel out. `write` resolves when the
 * bytes are on their way, so that whoever awaits it is as fast as the other end, and holds no more than that.
 */
export class BufferWriter {
  readonly streamId: number;
  readonly #channel: Channel;
  readonly #compressor: Compressor | undefined;
  #turn: Promise<void> = Promise.resolve();
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;
  #futile = 0;

  /** `streamId`: the reader's. Throws `config/invalid` for what is none. */
  constructor(channel: Channel, streamId: number, options: BufferWriterOptions = {}) {
    mustBeStreamId(streamId);
    this.streamId = streamId;
    this.#channel = channel;
    this.#compressor = options.compressor;
  }

  /** Bytes that one chunk holds uncompressed. */
  get chunkSize(): number {
    return Math.min(this.#channel.mdu - streamOverhead, streamChunkLargest);
  }

  /** Rejects with `mesh/link-closed`, `mesh/timeout`. The bytes must not change until it resolves. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) {
      return Promise.reject(new GatewayError('mesh/link-closed', 'the stream has been closed'));
    }
    const written = this.#turn.then(() => this.#write(bytes));
    this.#turn = written;
    written.catch(() => {});
    return written;
  }

  /** Resolves when the other end has proven all that was written. Rejects as `write` does. */
  async flush(): Promise<void> {
    await this.#turn;
    await this.#last;
  }

  /**
   * Says that nothing follows, but these last bytes: the end goes with them. Resolves when that is proven, and with it
   * all before. Again is the same.
   */
  close(last: Uint8Array = new Uint8Array(0)): Promise<void> {
    this.#closed ??= this.#turn.then(async () => {
      await this.#write(last, true);
      await this.#last;
    });
    return this.#closed;
  }

  async #write(bytes: Uint8Array, isLast = false): Promise<void> {
    let at = 0;
    while (at < bytes.length || (isLast && at === 0)) {
      const { data, compressed, length } = await this.#next(bytes.subarray(at, at + streamChunkLargest));
      await this.#channel.ready();
      at += length;
      this.#chunk(data, compressed, isLast && at === bytes.length);
      if (length === 0) {
        break;
      }
    }
  }

  #chunk(data: Uint8Array, compressed: boolean, end: boolean): void {
    const proven = this.#channel.send(streamMessages, { streamId: this.streamId, end, compressed, data });
    this.#last = Promise.all([this.#last, proven]);
    this.#last.catch(() => {});
  }

  /** What the next chunk holds, and of how many bytes. */
  async #next(bytes: Uint8Array): Promise<{ data: Uint8Array; compressed: boolean; length: number }> {
    const size = this.chunkSize;
    if (this.#compressor !== undefined && this.#pays()) {
      for (let part = 1; part <= compressionTries; part++) {
        const length = Math.floor(bytes.length / part);
        if (length < compressedSmallest) {
          break;
        }
        const smaller = await this.#compressor.compress(bytes.subarray(0, length));
        if (smaller !== undefined && smaller.length < size) {
          return { data: smaller, compressed: true, length };
        }
      }
      this.#futile = bytes.length < compressedSmallest ? 0 : futileChunks;
    }
    const data = bytes.subarray(0, size);
    return { data, compressed: false, length: data.length };
  }

  /** While the window is full there is time to compress; else only where the link takes longer than that. */
  #pays(): boolean {
    if (this.#futile > 0) {
      this.#futile -= 1;
      return false;
    }
    return !this.#channel.hasRoom || this.#channel.rtt >= slowRtt;
  }
}
