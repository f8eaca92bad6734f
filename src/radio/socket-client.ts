import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { InterfacePort } from '../mesh/interface.ts';
import { HdlcSocket, type HdlcSocketParts, inWords } from './hdlc-socket.ts';

/** ms */
const connectTimeout = 5000;

export interface SocketClientOptions {
  /** Name of the interface. */
  readonly name: string;
  readonly dial: NetConnectOpts;
  /** What is dialled, in words. */
  readonly where: string;
}

/** A connection to a socket that somebody else listens on, HDLC framed: what an interface that dials is made of. */
export class SocketClient {
  readonly #options: SocketClientOptions;
  readonly #parts: HdlcSocketParts;
  #connection: HdlcSocket | undefined;

  constructor(options: SocketClientOptions, parts: HdlcSocketParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** See `Interface.run`. */
  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const { dial, where } = this.#options;
    try {
      const socket = await open(dial, this.#parts.clock, signal);
      if (socket === undefined) {
        return;
      }
      this.#connection = new HdlcSocket(socket, this.#parts);
      await this.#connection.run(port, signal);
    } catch (error) {
      if (error instanceof GatewayError) {
        throw new GatewayError(error.code, `${where}: ${error.message}`, { retryable: true, cause: error });
      }
      throw error;
    } finally {
      this.#connection = undefined;
    }
  }

  /** See `Interface.send`. */
  send(packet: Uint8Array): Promise<void> {
    if (this.#connection === undefined) {
      const offline = `${this.#options.name} is not connected`;
      return Promise.reject(new GatewayError('radio/offline', offline, { retryable: true }));
    }
    return this.#connection.send(packet);
  }
}

/** A connected socket; undefined where the signal came first. Rejects with `radio/offline`. */
async function open(where: NetConnectOpts, clock: Clock, signal: AbortSignal): Promise<Socket | undefined> {
  if (signal.aborted) {
    return undefined;
  }
  const socket = connect(where);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => resolve();
  const fail = (error: Error) =>
    reject(new GatewayError('radio/offline', inWords(error), { retryable: true, cause: error }));
  const cancel = clock.after(connectTimeout, () =>
    reject(new GatewayError('radio/offline', 'no connection within 5 s', { retryable: true })),
  );
  socket.once('connect', resolve);
  socket.once('error', fail);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await promise;
    if (!signal.aborted) {
      return socket;
    }
    await close(socket);
    return undefined;
  } catch (error) {
    await close(socket);
    throw error;
  } finally {
    cancel();
    socket.off('connect', resolve);
    socket.off('error', fail);
    signal.removeEventListener('abort', abort);
  }
}

async function close(socket: Socket): Promise<void> {
  if (socket.closed) {
    return;
  }
  const closed = Promise.withResolvers<void>();
  socket.once('close', () => closed.resolve());
  socket.on('error', () => {});
  socket.destroy();
  await closed.promise;
}
