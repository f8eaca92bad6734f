import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../../src/lib/clock.ts';

/** One request as an endpoint got it. */
export interface Received {
  readonly id: string;
  readonly timestamp: string;
  readonly signature: string;
  readonly type: string;
  /** `data` of the body. */
  // biome-ignore lint/suspicious/noExplicitAny: what came is looked at, not used.
  readonly data: any;
  readonly raw: string;
  readonly method: string;
  readonly path: string;
}

type Answer = (response: ServerResponse, received: Received, request: IncomingMessage) => void;

/** A real HTTP server of somebody else's, that answers as it is told to. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly received: Received[];
  /** What the next requests are answered with; 204 until then. */
  answer: Answer;
}

export async function openReceiver(port = 0): Promise<Receiver> {
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', () => {
      const raw = Buffer.concat(chunks).toString();
      const header = (name: string) => String(request.headers[name] ?? '');
      const one: Received = {
        id: header('webhook-id'),
        timestamp: header('webhook-timestamp'),
        signature: header('webhook-signature'),
        type: JSON.parse(raw).type,
        data: JSON.parse(raw).data,
        raw,
        method: request.method ?? '',
        path: request.url ?? '',
      };
      receiver.received.push(one);
      receiver.answer(response, one, request);
    });
  });
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  const { port: at } = server.address() as AddressInfo;
  const receiver: Receiver = {
    url: `http://127.0.0.1:${at}/hook`,
    port: at,
    received: [],
    answer: response => response.writeHead(204).end(),
    async [Symbol.asyncDispose]() {
      const closed = new Promise(resolve => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return receiver;
}

/** An answer with a status and headers. */
export function status(code: number, headers: Record<string, string> = {}): Answer {
  return response => response.writeHead(code, headers).end();
}

/** Whether one of the signatures is what the secret makes of the request: written from the standard, and from nothing of ours. */
export function verifies(secret: string, { id, timestamp, signature, raw }: Received): boolean {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const wanted = createHmac('sha256', key).update(`${id}.${timestamp}.${raw}`).digest('base64');
  return signature.split(' ').some(one => one === `v1,${wanted}`);
}

/** Reads again until it holds; generous, because machines are slow. */
export async function until<T>(
  what: string,
  read: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let turn = 0; turn < 4000; turn++) {
    const value = await read();
    if (value !== undefined && value !== false) {
      return value;
    }
    await systemClock.sleep(5);
  }
  throw new Error(`not within 20 s: ${what}`);
}
