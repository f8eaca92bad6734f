import { compress } from '../../../src/lib/bzip2/compress.ts';
import { decompress } from '../../../src/lib/bzip2/decompress.ts';
import { codeOf } from '../../../src/lib/errors.ts';
import { BufferReader, mustBeStreamId, streamMessages } from '../../../src/mesh/reticulum/buffer-reader.ts';
import { BufferWriter, compressionTries } from '../../../src/mesh/reticulum/buffer-writer.ts';
import {
  decodeEnvelope,
  decodeStreamChunk,
  encodeStreamChunk,
  streamChunkLargest,
  streamMessageType,
} from '../../../src/mesh/reticulum/channel-wire.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import type { Commands } from '../command.ts';
import { bytesIf, flagOf, hex, integerIf, integerOf } from '../params.ts';
import { talkOf } from './channels.ts';
import { twin } from './link-injectors.ts';
import { isOf } from './links.ts';
import { type Node, nodeOf } from './node.ts';
import { listenerOf, outLinkOf } from './state.ts';
import { timeoutOf, until } from './waiting.ts';

const defaultStream = 0;

/** The streams that come over one link. */
export interface Streams {
  readonly readers: Map<number, BufferReader>;
  /** A chunk came that was no chunk. */
  aborted: string | undefined;
}

const streams = new WeakMap<Link, Streams>();

export const commands: Commands = {
  wire_buffer_pack(params) {
    const raw = bytesIf(params, 'unpack_raw');
    try {
      if (raw !== undefined) {
        const { streamId, end, compressed, data } = decodeStreamChunk(raw);
        const plain = compressed ? decompress(data, { limit: streamChunkLargest }) : data;
        return { stream_id: streamId, eof: end, compressed, data: hex(plain) };
      }
      const streamId = integerOf(params, 'stream_id');
      mustBeStreamId(streamId);
      const chunk = {
        streamId,
        end: flagOf(params, 'eof', false),
        compressed: flagOf(params, 'compressed', false),
        data: bytesIf(params, 'data') ?? new Uint8Array(0),
      };
      return { raw: hex(encodeStreamChunk(chunk)), msgtype: streamMessageType };
    } catch (error) {
      return { error: `${codeOf(error)}: ${(error as Error).message}` };
    }
  },

  async wire_buffer_stream(params) {
    const node = nodeOf(params);
    const link = outLinkOf(params);
    const { channel } = talkOf(link);
    const data = bytesIf(params, 'data') ?? new Uint8Array(0);
    const streamId = integerIf(params, 'stream_id') ?? defaultStream;
    const timeout = timeoutOf(params, 30_000);
    const { chunks, stop } = chunksOf(node, link);
    if (flagOf(params, 'bomb', false)) {
      const size = integerIf(params, 'bomb_decompressed_len') ?? 4 * streamChunkLargest;
      const { nextSequence } = channel.status;
      void channel.send(streamMessages, {
        streamId,
        end: true,
        compressed: true,
        data: compress(new Uint8Array(size)),
      });
      await until(() => chunks().length > 0, timeout);
      stop();
      return {
        written: 0,
        eof: true,
        bomb: true,
        decompressed_len: size,
        sequence: nextSequence,
        manifest: chunks().map(manifestOf),
        max_chunk_len: streamChunkLargest,
      };
    }
    const writer = new BufferWriter(channel, streamId, { compressor: node.compressor });
    const ended = flagOf(params, 'eof_with_data', false)
      ? writer.close(data)
      : writer.write(data).then(() => writer.close());
    let outcome: 'done' | 'failed' | undefined;
    ended.then(
      () => {
        outcome = 'done';
      },
      () => {
        outcome = 'failed';
      },
    );
    await until(() => outcome, timeout);
    stop();
    const lengths = chunks().map(lengthOf);
    return {
      written: outcome === 'failed' ? 0 : lengths.reduce((sum, length) => sum + length, 0),
      eof: true,
      manifest: chunks().map(manifestOf),
      write_returns: lengths.filter(length => length > 0),
      max_data_len: writer.chunkSize,
      max_chunk_len: streamChunkLargest,
      compression_tries: compressionTries,
      tx_ring_after: channel.status.outstanding.length,
    };
  },

  async wire_buffer_received(params) {
    const listener = listenerOf(params);
    const streamId = integerIf(params, 'stream_id') ?? defaultStream;
    const here = () => {
      const link = listener.links.at(-1);
      return link && streams.get(link);
    };
    let data = '';
    await until(
      () => {
        const stream = here();
        const reader = stream?.readers.get(streamId);
        return reader?.ended === true || stream?.aborted !== undefined;
      },
      timeoutOf(params, 30_000),
    );
    const stream = here();
    const reader = stream?.readers.get(streamId);
    while (reader !== undefined && reader.available > 0) {
      const chunk = await reader.read();
      data += chunk === undefined ? '' : hex(chunk);
    }
    return {
      data,
      eof: reader?.ended === true,
      aborted: stream?.aborted !== undefined,
      error: stream?.aborted ?? null,
    };
  },
};

/** Reads streams from a link to a listener, each by its number. */
export function readStreams(link: Link, streamIds: readonly number[]): void {
  const { channel } = talkOf(link);
  const all = [defaultStream, ...streamIds.filter(id => id !== defaultStream)];
  const state: Streams = {
    readers: new Map(all.map(id => [id, new BufferReader(channel, id, { capacity: 64 * 1024 * 1024 })])),
    aborted: undefined,
  };
  channel.registerSystem({
    ...streamMessages,
    decode(bytes) {
      try {
        return streamMessages.decode(bytes);
      } catch (error) {
        state.aborted = `${codeOf(error)}: ${(error as Error).message}`;
        throw error;
      }
    },
  });
  streams.set(link, state);
}

interface Sent {
  readonly sequence: number;
  readonly chunk: ReturnType<typeof decodeStreamChunk>;
}

/** The chunks that leave over a link from now on, each once. */
function chunksOf(node: Node, link: Link): { chunks: () => readonly Sent[]; stop: () => void } {
  const { open } = twin(node, link);
  const bySequence = new Map<number, Sent>();
  const stop = node.wire.watch(raw => {
    if (isOf(raw, link, contexts.channel)) {
      const { type, sequence, data } = decodeEnvelope(open(decodePacket(raw).data));
      if (type === streamMessageType) bySequence.set(sequence, { sequence, chunk: decodeStreamChunk(data) });
    }
    return false;
  });
  return { chunks: () => [...bySequence.values()], stop };
}

function manifestOf({ sequence, chunk: { data, compressed, end } }: Sent) {
  return { bytes: data.length, compressed, eof: end, sequence };
}

function lengthOf({ chunk: { data, compressed } }: Sent): number {
  return compressed ? decompress(data, { limit: streamChunkLargest }).length : data.length;
}
