/**
 * A thousand WebSocket clients in a process of their own, as cheap as they can be: they look at nothing but the number of
 * bytes. Takes a task once, and then for each event the bytes that each of them gets; it answers that it waits, and then
 * when all have come.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface FanoutTask {
  readonly port: number;
  readonly path: string;
  /** Shown by one client after the other, again from the first: a token may have so many sockets and no more. */
  readonly tokens: readonly string[];
  readonly clients: number;
  /** Frames each client says at first, as text. */
  readonly hello: readonly string[];
}

let total = 0;
let wanted = Number.POSITIVE_INFINITY;
let reached = () => {};

function heard(bytes: number): void {
  total += bytes;
  if (total >= wanted) {
    wanted = Number.POSITIVE_INFINITY;
    reached();
  }
}

function open({ port, path, tokens, hello }: FanoutTask, number: number): Promise<Socket> {
  const token = tokens[number % tokens.length];
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () =>
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\nupgrade: websocket\r\n` +
        'connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    ),
  );
  socket.once('error', reject);
  socket.once('data', () => {
    for (const text of hello) {
      socket.write(masked(text));
    }
    socket.on('data', (chunk: Buffer) => heard(chunk.length));
    resolve(socket);
  });
  return promise;
}

/** A text frame of a client; a mask of zeros changes nothing. Source: RFC 6455 §5.2. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text);
  const { length } = payload;
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const first = JSON.parse((await lines.next()).value ?? '{}') as FanoutTask;
for (let opened = 0; opened < first.clients; opened += 50) {
  await Promise.all(Array.from({ length: 50 }, (_, n) => open(first, opened + n)));
}
process.stdout.write('{}\n');
for await (const line of { [Symbol.asyncIterator]: () => lines }) {
  const { bytes } = JSON.parse(line) as { bytes: number };
  // What came unasked before: answers to hello.
  total = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  reached = resolve;
  wanted = bytes * first.clients;
  process.stdout.write('{"ready":true}\n');
  await promise;
  process.stdout.write(`${JSON.stringify({ at: Number(process.hrtime.bigint()) })}\n`);
}
