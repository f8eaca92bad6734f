import type { Duplex } from 'node:stream';
import type { Lines } from './lines.ts';

/**
 * Calls back when every request that has arrived whole on a connection is answered: at once where none waits. What is said to
 * a connection that broke off goes behind its answers: a client takes the first one it hears for that to its first request,
 * and sends again what was taken. Only the first time for each connection: every piece that still comes on it is an error anew.
 */
export function afterAnswers(lines: Lines, socket: Duplex, then: () => void): void {
  const line = lines.of(socket);
  if (line?.isBroken === true) {
    return;
  }
  if (line !== undefined) {
    line.isBroken = true;
  }
  // All but the newest have arrived whole; answers leave in the order of the requests.
  const last = line?.request?.complete === true ? line.response : line?.before;
  if (last === undefined || last.closed || socket.destroyed) {
    then();
  } else {
    last.once('close', then);
  }
}
