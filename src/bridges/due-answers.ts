import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Calls back when every request that has arrived whole on a connection is answered: at once where none waits. */
export type AfterAnswers = (socket: Duplex, then: () => void) => void;

/** The newest request of a connection and the answer before its own, while they are open. */
interface Due {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly before: ServerResponse | undefined;
}

/**
 * Watches which answers a server still owes. What is said to a connection that broke off goes behind them: a client takes
 * the first answer it hears for that to its first request, and sends again what was taken.
 */
export function watchAnswers(server: Server): AfterAnswers {
  const due = new WeakMap<Duplex, Due>();
  // The same for all: one made for each request, and taken off again, costs as much as all the rest here.
  function answered(this: ServerResponse): void {
    const { socket } = this.req;
    if (due.get(socket)?.response === this) {
      due.delete(socket);
    }
  }
  server.on('request', (request, response) => {
    const { socket } = request;
    due.set(socket, { request, response, before: due.get(socket)?.response });
    response.on('close', answered);
  });
  return (socket, then) => {
    const newest = due.get(socket);
    // All but the newest have arrived whole; answers leave in the order of the requests.
    const last = newest?.request.complete === true ? newest.response : newest?.before;
    if (last === undefined || last.closed || socket.destroyed) {
      then();
    } else {
      last.once('close', then);
    }
  };
}
