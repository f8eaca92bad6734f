import type { Readable } from 'node:stream';

/** Memory that answers may take while it is not known yet whether they can be kept; shared by all services. */
export interface BufferBudget {
  /** Whether so many more bytes may be held. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export function createBufferBudget(limit: number): BufferBudget {
  let used = 0;
  return {
    take(bytes) {
      if (used + bytes > limit) {
        return false;
      }
      used += bytes;
      return true;
    },
    give(bytes) {
      used -= bytes;
    },
  };
}

/**
 * The whole body, or undefined where it is longer than `most`; the stream is destroyed then. `take` is asked before
 * more bytes are held; what it throws ends it.
 */
export async function collect(
  body: Readable,
  most: number,
  take: (bytes: number) => void = () => undefined,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > most) {
      return undefined;
    }
    take(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
