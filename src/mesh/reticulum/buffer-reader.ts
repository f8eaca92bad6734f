import { decompress } from '../../lib/bzip2/decompress.ts';
import type { Cancel } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Channel } from './channel.ts';
import type { MessageType } from './channel-message.ts';
import {
  decodeStreamChunk,
  encodeStreamChunk,
  type StreamChunk,
  streamChunkLargest,
  streamIdLargest,
  streamMessageType,
} from './channel-wire.ts';

/**
 * Chunks of streams as messages of a Channel. What comes compressed is decompressed here and now, which
 * takes about a millisecond, so that what cannot be is not proven.
 */
export const streamMessages: MessageType<StreamChunk> = {
  type: streamMessageType,
  encode: encodeStreamChunk,
  decode(bytes) {
    const chunk = decodeStreamChunk(bytes);
    return chunk.compressed
      ? { ...chunk, compressed: false, data: decompress(chunk.data, { limit: streamChunkLargest }) }
      : { ...chunk, data: new Uint8Array(chunk.data) };
  },
};

export interface BufferReaderOptions {
  /** Bytes that may wait to be read; what comes on top stays unproven. Default 1 MiB. */
  readonly capacity?: number;
}

const capacityDefault = 1024 * 1024;

/** Throws `config/invalid` for what is no stream id. */
export function mustBeStreamId(streamId: number): void {
  if (!Number.isInteger(streamId) || streamId < 0 || streamId > streamIdLargest) {
    throw new GatewayError('config/invalid', `no stream id: ${streamId}, at most ${streamIdLargest}`);
  }
}

/**
 * The reading end of a Buffer: the bytes of one stream that comes over a Channel, until its end. Whoever
 * reads too slowly slows the sender down, and loses the link where nothing is read for long.
 */
export class BufferReader implements AsyncIterable<Uint8Array> {
  readonly streamId: number;
  readonly #capacity: number;
  readonly #chunks: Uint8Array[] = [];
  readonly #leave: readonly Cancel[];
  #length = 0;
  #ended = false;
  #error: GatewayError | undefined;
  #wake: (() => void)[] = [];

  /** Throws `config/invalid` for what is no stream id. */
  constructor(channel: Channel, streamId: number, options: BufferReaderOptions = {}) {
    mustBeStreamId(streamId);
    this.streamId = streamId;
    this.#capacity = options.capacity ?? capacityDefault;
    channel.registerSystem(streamMessages);
    const mine = (message: { type: number; value: unknown }) =>
      message.type === streamMessageType && (message.value as StreamChunk).streamId === streamId;
    this.#leave = [
      channel.add({
        take: message => mine(message) && this.#take(message.value as StreamChunk),
        hasRoom: message => !mine(message) || this.#length < this.#capacity,
      }),
      channel.onEnd(error => this.#end(error)),
    ];
  }

  /** Bytes that can be read now. */
  get available(): number {
    return this.#length;
  }

  /** Whether the end has come; there may still be bytes to read. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * What has come, at least one byte and at most `most`; undefined at the end. Waits where there is nothing.
   * Rejects with `mesh/link-closed` or `mesh/timeout` where the link closed before the end.
   */
  async read(most = Number.POSITIVE_INFINITY): Promise<Uint8Array | undefined> {
    while (this.#length === 0) {
      if (this.#ended) {
        return undefined;
      }
      if (this.#error !== undefined) {
        throw this.#error;
      }
      await new Promise<void>(resolve => this.#wake.push(resolve));
    }
    return this.#shift(most);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (let bytes = await this.read(); bytes !== undefined; bytes = await this.read()) {
      yield bytes;
    }
  }

  /** Takes nothing more; what has come can still be read, and then it ends. */
  close(): void {
    this.#end(undefined);
  }

  #take({ data, end }: StreamChunk): boolean {
    if (data.length > 0) {
      this.#chunks.push(data);
      this.#length += data.length;
    }
    if (end) {
      this.#end(undefined);
    }
    this.#tell();
    return true;
  }

  #shift(most: number): Uint8Array {
    const [first] = this.#chunks as [Uint8Array];
    if (first.length <= most) {
      this.#chunks.shift();
      this.#length -= first.length;
      return first;
    }
    this.#chunks[0] = first.subarray(most);
    this.#length -= most;
    return first.subarray(0, most);
  }

  #end(error: GatewayError | undefined): void {
    if (this.#ended || this.#error !== undefined) {
      return;
    }
    this.#ended = error === undefined;
    this.#error = error;
    for (const leave of this.#leave) {
      leave();
    }
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) {
      wake();
    }
  }
}
