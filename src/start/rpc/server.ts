import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { equal } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { decodeCall, longestCall, type RpcCall } from './call.ts';
import { answerChallenge, failure, longestProof, makeChallenge, provesKey, welcome } from './challenge.ts';
import { encodeFrame, FrameReader } from './frames.ts';

export interface RpcServerParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly listen: ListenOptions;
  /** Where that is, in words. */
  readonly where: string;
  /** Whoever has it may ask and change everything. */
  readonly key: Uint8Array;
  /** The answer to a call, msgpack. */
  readonly answer: (call: RpcCall) => Promise<Uint8Array>;
}

/** Connections at once; one more takes the place of who has been longest without a call, or is closed and counted. */
const mostConnections = 32;
/** ms from the connection to the call. */
const callTimeout = 5000;
/** ms until a call is answered and the answer taken: an interface that is attached again may need some. */
const answerTimeout = 30_000;

/**
 * Status and control for programs of this machine that use this node as their Reticulum instance. A connection
 * carries one call: keys are proven both ways, ours first; the call is answered; the connection ends. An unknown
 * call ends it without an answer.
 *
 * Source: the rules of RNS 1.5.7, checked against it in test/interop/shared-instance.test.ts.
 */
export class RpcServer {
  readonly #parts: RpcServerParts;
  readonly #sockets = new Map<Socket, Promise<void>>();
  /** Those that have not proven the key and called, oldest first: nobody shuts others out by silence. */
  readonly #silent = new Set<Socket>();
  #server: Server | undefined;

  constructor(parts: RpcServerParts) {
    this.#parts = parts;
  }

  /** TCP port, where it listens on one and while it does. */
  get port(): number | undefined {
    const address = this.#server?.address() ?? null;
    return address === null || typeof address === 'string' ? undefined : address.port;
  }

  /** See `Service.run`. */
  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return;
    }
    const { listen, where } = this.#parts;
    const server = createServer(socket => this.#accept(socket));
    const ended = Promise.withResolvers<void>();
    const stop = () => ended.resolve();
    // Also while it ends: an accept that fails twice is no reason to end everything.
    server.on('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      ended.reject(
        new GatewayError(
          'radio/offline',
          taken ? `${where}: another Reticulum instance of this machine is there already` : String(error),
          { retryable: true, cause: error },
        ),
      );
    });
    server.once('listening', () => {
      this.#server = server;
      ready();
    });
    signal.addEventListener('abort', stop, { once: true });
    server.listen(listen);
    try {
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#server = undefined;
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      for (const socket of this.#sockets.keys()) {
        socket.destroy();
      }
      await Promise.all([closed.promise, ...this.#sockets.values()]);
    }
  }

  #accept(socket: Socket): void {
    const { counters, log } = this.#parts;
    socket.on('error', () => {});
    if (this.#sockets.size >= mostConnections) {
      counters.add('rpc/too-many');
      const [longest] = this.#silent;
      if (longest === undefined) {
        socket.destroy();
        return;
      }
      this.#forget(longest);
    }
    this.#silent.add(socket);
    const served = this.#serve(socket)
      .catch(error => {
        counters.add(codeOf(error));
        if (!isGatewayError(error)) {
          log.error({ error }, 'a bug in answering a program of this machine');
        }
      })
      .finally(() => this.#forget(socket));
    this.#sockets.set(socket, served);
  }

  #forget(socket: Socket): void {
    socket.destroy();
    this.#silent.delete(socket);
    this.#sockets.delete(socket);
  }

  async #serve(socket: Socket): Promise<void> {
    const { clock, counters, answer } = this.#parts;
    const conversation = new Conversation(socket, clock);
    const call = await this.#hearCall(conversation);
    this.#silent.delete(socket);
    if (call === undefined) {
      return;
    }
    counters.add('rpc/calls');
    const last = conversation.endAfter(answerTimeout);
    try {
      await conversation.end(await answer(call));
    } finally {
      last();
    }
  }

  /** What whoever has the key asks; undefined, counted, where that is nothing or somebody else. */
  async #hearCall(conversation: Conversation): Promise<RpcCall | undefined> {
    const late = conversation.endAfter(callTimeout);
    try {
      if (!(await this.#prove(conversation))) {
        this.#parts.counters.add('rpc/wrong-key');
        return undefined;
      }
      const call = decodeCall(await conversation.hear(longestCall));
      if (call === undefined) {
        this.#parts.counters.add('rpc/unknown-call');
      }
      return call;
    } finally {
      late();
    }
  }

  /** Whether both ends have the same key. */
  async #prove(conversation: Conversation): Promise<boolean> {
    const { random, key } = this.#parts;
    const challenge = makeChallenge(random);
    conversation.say(challenge);
    if (!provesKey(challenge, await conversation.hear(longestProof), key)) {
      await conversation.end(failure);
      return false;
    }
    conversation.say(welcome);
    conversation.say(answerChallenge(await conversation.hear(longestProof), key));
    return equal(await conversation.hear(longestProof), welcome);
  }
}

/** Frames over one socket, to and fro. */
class Conversation {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #frames = new FrameReader();
  #woken = Promise.withResolvers<void>();
  #over = false;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    socket.on('data', (chunk: Buffer) => {
      if (this.#frames.waiting > longestCall) {
        // Nobody says so much at once before it was answered.
        socket.destroy();
        return;
      }
      this.#frames.push(chunk);
      this.#wake();
    });
    for (const event of ['end', 'close']) {
      socket.once(event, () => {
        this.#over = true;
        this.#wake();
      });
    }
  }

  say(payload: Uint8Array): void {
    this.#socket.write(encodeFrame(payload));
  }

  /** The next frame, of at most `limit` bytes. Rejects with `wire/malformed`, `wire/truncated` where it ends first. */
  async hear(limit: number): Promise<Uint8Array> {
    for (;;) {
      const frame = this.#frames.next(limit);
      if (frame !== undefined) {
        return frame;
      }
      if (this.#over) {
        throw new GatewayError('wire/truncated', 'a program ended its call before it was whole');
      }
      await this.#woken.promise;
    }
  }

  /** Says a last thing; resolves when it is taken or the other end is gone. */
  async end(payload: Uint8Array): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#socket.once('close', () => closed.resolve());
    if (this.#socket.destroyed) {
      return;
    }
    this.#socket.end(encodeFrame(payload), () => closed.resolve());
    await closed.promise;
  }

  /** Ends it in so many ms, unless that is called off. */
  endAfter(ms: number): () => void {
    return this.#clock.after(ms, () => this.#socket.destroy());
  }

  #wake(): void {
    this.#woken.resolve();
    this.#woken = Promise.withResolvers<void>();
  }
}
