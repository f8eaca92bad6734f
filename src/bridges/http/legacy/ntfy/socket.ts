import type { WebSocket } from 'ws';
import { keepAlive } from '../../../keep-alive.ts';
import type { Note } from './note.ts';
import { type StreamParts, signOf } from './stream.ts';

/** ms between pings, as ntfy has it; who did not answer the one before is gone. */
const pingEvery = 45_000;
/** Bytes that may wait for the client before the next note does, and ms that they may. */
const slack = 256 * 1024;
const patience = 30_000;

/** Codes of RFC 6455 §7.4.1, which ntfy's clients know no others of. */
const closing = { normal: 1000, away: 1001, fault: 1011 } as const;

/**
 * A subscription over a WebSocket: each note a frame of JSON, one after the other. The client has nothing to say; one that
 * takes nothing for long is closed.
 */
export async function serveNotes(
  socket: WebSocket,
  { names, poll }: { readonly names: string; readonly poll: boolean },
  notes: AsyncIterable<readonly Note[]>,
  parts: Pick<StreamParts, 'clock' | 'random' | 'counters'>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, counters } = parts;
  keepAlive(socket, clock, pingEvery);
  socket.on('error', () => socket.terminate());
  const end = () => socket.close(closing.away);
  signal.addEventListener('abort', end, { once: true });
  const send = async (note: Note) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.send(JSON.stringify(note), () => resolve());
    if (socket.bufferedAmount > slack) {
      const stop = clock.after(patience, () => {
        counters.add('legacy/ntfy/slow');
        socket.terminate();
      });
      await promise;
      stop();
    }
  };
  try {
    if (!poll) {
      await send(signOf('open', names, parts));
    }
    for await (const batch of notes) {
      for (const note of batch) {
        await send(note);
      }
    }
    socket.close(closing.normal);
  } catch (error) {
    if (!signal.aborted) {
      socket.close(closing.fault);
      throw error;
    }
  } finally {
    signal.removeEventListener('abort', end);
  }
}
