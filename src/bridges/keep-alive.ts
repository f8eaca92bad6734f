import type { WebSocket } from 'ws';
import type { Clock } from '../lib/clock.ts';

/** Ends a socket whose other end does not answer a ping before the next one, so many ms later. */
export function keepAlive(
  socket: Pick<WebSocket, 'on' | 'ping' | 'terminate'>,
  clock: Clock,
  every: number,
): void {
  let alive = true;
  const beat = () => {
    if (!alive) {
      socket.terminate();
      return;
    }
    alive = false;
    socket.ping();
    cancel = clock.after(every, beat);
  };
  let cancel = clock.after(every, beat);
  socket.on('pong', () => {
    alive = true;
  });
  socket.on('close', () => cancel());
}
