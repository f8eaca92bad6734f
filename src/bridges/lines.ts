import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { IdlePlace } from './idle-lines.ts';

/** A connection, and what is asked on it. */
export interface Line {
  readonly socket: Socket;
  /** Requests that are not answered yet: a client may send several before it has an answer. */
  open: number;
  /** The newest request and its answer, while that is open, and the answer before it. */
  request: IncomingMessage | undefined;
  response: ServerResponse | undefined;
  before: ServerResponse | undefined;
  /** Somebody has proven on it who they are. */
  isProven: boolean;
  /** What comes on it is no request any more, and its sender is told so, or will be behind the answers. */
  isBroken: boolean;
  /** Where it stands among the idle ones, if anybody keeps account of them. */
  place: IdlePlace | undefined;
}

/** Told of the connections of a server. */
export interface LineWatcher {
  opened(line: Line): void;
  /** Something is asked; its head is here. */
  asked(line: Line): void;
  /** Something was answered, and what came after it is not yet. */
  wentOn(line: Line): void;
  /** Nothing is open any more; the newest answer was this one. */
  answered(line: Line, response: ServerResponse): void;
  closed(line: Line): void;
}

/** The connections of a server. One listener on an answer for all who want to know: each costs as much as all they do. */
export class Lines {
  readonly #lines = new WeakMap<Duplex, Line>();
  readonly #watcher: LineWatcher;

  constructor(server: Server, watcher: LineWatcher) {
    this.#watcher = watcher;
    server.on('connection', socket => this.#open(socket));
    server.on('request', (request, response) => this.ask(request, response));
  }

  of(socket: Duplex): Line | undefined {
    return this.#lines.get(socket);
  }

  /** To be called for what a server does not tell as a `request`: where it listens for `checkContinue` or `checkExpectation`. */
  ask(request: IncomingMessage, response: ServerResponse): void {
    const line = this.#lines.get(request.socket);
    if (line === undefined) {
      return;
    }
    line.open += 1;
    line.before = line.response;
    line.request = request;
    line.response = response;
    this.#watcher.asked(line);
    response.on('close', () => this.#end(line, response));
  }

  #open(socket: Socket): void {
    const line: Line = {
      socket,
      open: 0,
      request: undefined,
      response: undefined,
      before: undefined,
      isProven: false,
      isBroken: false,
      place: undefined,
    };
    this.#lines.set(socket, line);
    this.#watcher.opened(line);
    socket.once('close', () => this.#watcher.closed(line));
  }

  #end(line: Line, response: ServerResponse): void {
    line.open -= 1;
    if (line.response === response) {
      line.request = undefined;
      line.response = undefined;
      line.before = undefined;
    }
    if (line.open === 0) {
      this.#watcher.answered(line, response);
    } else {
      this.#watcher.wentOn(line);
    }
  }
}
