import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import type { HubFrame } from './frames.ts';
import { closeCodes, type WsLimits } from './limits.ts';

/** The sending half of one socket: bounded, and the only place that closes it. */
export interface Outlet {
  /** Aborted when the socket is closed or about to be. */
  readonly ended: AbortSignal;
  /** Sends an answer; a client that lets too many pile up is closed. */
  write(frame: HubFrame): void;
  /** Sends an event, framed already, and, where the client lags, waits until it has caught up. Rejects once the socket ends. */
  push(frame: Buffer): Promise<void>;
  end(code: number, reason: string): void;
}

/** Numbers the turns of the event loop in which it is asked. */
export function countTurns(): () => number {
  let turn = 0;
  let isCounted = false;
  return () => {
    if (!isCounted) {
      isCounted = true;
      process.nextTick(() => {
        turn += 1;
        isCounted = false;
      });
    }
    return turn;
  };
}

export interface OutletParts {
  /** What lies under the socket: a frame that is made once for many is written to it as it is. */
  readonly wire: Duplex;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly limits: WsLimits;
  /** See `countTurns`; one for many sockets. */
  readonly turns: () => number;
}

export function createOutlet(socket: WebSocket, parts: OutletParts): Outlet {
  const { wire, clock, counters, limits, turns } = parts;
  let gathering = false;
  let lastTurn = -1;
  const ended = new AbortController();
  socket.on('close', () => ended.abort());

  const end = (code: number, reason: string) => {
    ended.abort();
    try {
      socket.close(code, closeReason(reason));
    } catch {
      socket.terminate();
    }
  };
  const endSlow = (reason: string) => {
    if (!ended.signal.aborted) {
      counters.add('ws/slow-closed');
    }
    end(closeCodes.slow, reason);
  };
  /** The first of a turn leaves at once, and what the same turn has to say besides in one piece. */
  const gather = () => {
    const turn = turns();
    if (turn !== lastTurn) {
      lastTurn = turn;
    } else if (!gathering) {
      gathering = true;
      wire.cork();
      process.nextTick(() => {
        gathering = false;
        wire.uncork();
      });
    }
  };
  const send = (frame: string | Buffer, taken?: () => void) => {
    if (socket.readyState !== socket.OPEN) {
      taken?.();
      return;
    }
    gather();
    if (typeof frame === 'string') {
      socket.send(frame, { binary: false }, taken);
    } else {
      wire.write(frame, taken);
    }
    if (socket.bufferedAmount > limits.buffered) {
      endSlow('too much is waiting for you');
    }
  };

  return {
    ended: ended.signal,
    write: frame => send(JSON.stringify(frame)),
    async push(frame) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      send(frame, wake);
      if (socket.bufferedAmount > limits.slack) {
        ended.signal.addEventListener('abort', wake, { once: true });
        const cancel = clock.after(limits.patience, () => endSlow('too slow; come back with your cursor'));
        await promise;
        cancel();
        ended.signal.removeEventListener('abort', wake);
      }
      ended.signal.throwIfAborted();
    },
    end,
  };
}

/**
 * As much of a reason as a close frame holds, cut between characters: 125 bytes less the code.
 *
 * Source: RFC 6455 §5.5, §5.5.1.
 */
export function closeReason(text: string): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(longestReason));
  return text.slice(0, read);
}

/** Bytes of UTF-8. */
const longestReason = 123;
