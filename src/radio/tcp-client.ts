import { connect, type Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Interface, InterfacePort } from '../mesh/interface.ts';
import { HdlcSocket, type HdlcSocketParts, inWords } from './hdlc-socket.ts';

/** Bytes of the largest packet over TCP, as the reference has it. */
export const tcpMtu = 262_144;
/** bit/s that the reference guesses for TCP: the link MTU follows from it. */
export const tcpBitrate = 10_000_000;
/** ms */
const connectTimeout = 5000;

export interface TcpClientOptions {
  readonly name: string;
  /** Host name or address. */
  readonly host: string;
  readonly port: number;
  /** bit/s, where the way is known to be slower or faster than guessed. */
  readonly bitrate?: number;
}

/** A connection to a TCP server interface of another node, HDLC framed. */
export class TcpClient implements Interface {
  readonly name: string;
  readonly mtu = tcpMtu;
  readonly bitrate: number;
  readonly #options: TcpClientOptions;
  readonly #parts: HdlcSocketParts;
  #connection: HdlcSocket | undefined;

  constructor(options: TcpClientOptions, parts: HdlcSocketParts) {
    this.name = options.name;
    this.bitrate = options.bitrate ?? tcpBitrate;
    this.#options = options;
    this.#parts = parts;
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const { host, port: number } = this.#options;
    try {
      const socket = await open(host, number, this.#parts.clock, signal);
      if (socket === undefined) {
        return;
      }
      this.#connection = new HdlcSocket(socket, this.#parts);
      await this.#connection.run(port, signal);
    } catch (error) {
      if (error instanceof GatewayError) {
        throw new GatewayError(error.code, `${host}:${number}: ${error.message}`, {
          retryable: true,
          cause: error,
        });
      }
      throw error;
    } finally {
      this.#connection = undefined;
    }
  }

  async send(packet: Uint8Array): Promise<void> {
    if (this.#connection === undefined) {
      throw new GatewayError('radio/offline', `${this.name} is not connected`, { retryable: true });
    }
    await this.#connection.send(packet);
  }
}

/** A connected socket; undefined where the signal came first. Rejects with `radio/offline`. */
async function open(
  host: string,
  port: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Socket | undefined> {
  if (signal.aborted) {
    return undefined;
  }
  const socket = connect({ host, port });
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
