/**
 * Posts to an HTTP server over connections that stay open, one request at a time on each, and counts the answers. A
 * process of its own, and as little work as possible: it shares the machine with what it measures. It takes a task as
 * one JSON line and gives a result as one, again and again.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** What to post, where to, for how long. */
export interface LoadTask {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly body: string;
  /** Requests under way at once, each on a connection of its own. */
  readonly inFlight: number;
  /** ms, from when all connections are open. */
  readonly span: number;
  /** The status that counts. */
  readonly status: number;
}

export interface LoadResult {
  readonly answered: number;
  readonly refused: number;
  /** ms. */
  readonly took: number;
  /** ms of each answer. */
  readonly p50: number;
  readonly p99: number;
}

const endOfHead = Buffer.from('\r\n\r\n');
const lengthField = Buffer.from('content-length: ');
const statusAt = 'HTTP/1.1 '.length;

async function load(task: LoadTask): Promise<LoadResult> {
  const head = [
    `POST ${task.path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${task.token}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(task.body)}`,
  ];
  const request = Buffer.from(`${head.join('\r\n')}\r\n\r\n${task.body}`);
  const lines = await Promise.all(Array.from({ length: task.inFlight }, () => open(task.port)));
  const each: number[] = [];
  let refused = 0;
  const began = performance.now();
  await Promise.all(
    lines.map(line =>
      askAgain(line, request, began + task.span, (answer, time) => {
        if (digitsAt(answer, statusAt) === task.status) {
          each.push(time);
        } else {
          refused += 1;
        }
      }),
    ),
  );
  const took = performance.now() - began;
  for (const { socket } of lines) {
    socket.destroy();
  }
  each.sort((a, b) => a - b);
  const at = (share: number) => each[Math.floor(each.length * share)] ?? Number.NaN;
  return { answered: each.length, refused, took, p50: at(0.5), p99: at(0.99) };
}

/** A connection whose bytes are looked at where they were read, without a stream around them. */
interface Line {
  readonly socket: Socket;
  /** Given the buffer that all is read into, and how much of it was. */
  hear: (length: number, buffer: Uint8Array) => void;
}

function open(port: number): Promise<Line> {
  const { promise, resolve, reject } = Promise.withResolvers<Line>();
  const onread = {
    buffer: Buffer.alloc(64 * 1024),
    callback(length: number, buffer: Uint8Array) {
      line.hear(length, buffer);
      return true;
    },
  };
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread }, () => resolve(line));
  const line: Line = { socket, hear: () => {} };
  socket.once('error', reject);
  return promise;
}

/** Sends the request, and again after each answer, until the time has come; the server sends nothing unasked. */
function askAgain(
  line: Line,
  request: Buffer,
  until: number,
  onAnswer: (answer: Uint8Array, time: number) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { socket } = line;
  const shape = new Shape();
  let asked = performance.now();
  let before: Buffer | undefined;
  line.hear = (read, buffer) => {
    const bytes = before === undefined ? buffer : Buffer.concat([before, buffer.subarray(0, read)]);
    const length = before === undefined ? read : bytes.length;
    if (length < shape.lengthOf(bytes, length)) {
      before = Buffer.from(bytes.subarray(0, length));
      return;
    }
    before = undefined;
    const now = performance.now();
    onAnswer(bytes, now - asked);
    if (now >= until) {
      resolve();
      return;
    }
    asked = now;
    socket.write(request);
  };
  socket.once('close', () => reject(new Error('the server closed a connection')));
  socket.write(request);
  return promise;
}

/** Where the head of the answers ends and their length stands: in most at the same place as in the one before. */
class Shape {
  #end = -1;
  #field = -1;

  /** Bytes of the whole answer; for ever where its head is not complete. */
  lengthOf(bytes: Uint8Array, length: number): number {
    if (!this.#isAsBefore(bytes, length)) {
      const answer = Buffer.from(bytes.buffer, bytes.byteOffset, length);
      this.#end = answer.indexOf(endOfHead);
      this.#field = answer.indexOf(lengthField);
    }
    return this.#end < 0
      ? Number.POSITIVE_INFINITY
      : this.#end + endOfHead.length + digitsAt(bytes, this.#field + lengthField.length);
  }

  #isAsBefore(bytes: Uint8Array, length: number): boolean {
    return (
      this.#end >= 0 &&
      this.#end + endOfHead.length <= length &&
      startsAt(bytes, this.#end, endOfHead) &&
      startsAt(bytes, this.#field, lengthField)
    );
  }
}

function startsAt(bytes: Uint8Array, at: number, what: Uint8Array): boolean {
  for (let n = 0; n < what.length; n++) {
    if (bytes[at + n] !== what[n]) {
      return false;
    }
  }
  return true;
}

/** The number that is written there in digits. */
function digitsAt(bytes: Uint8Array, from: number): number {
  let value = 0;
  for (let at = from; ; at++) {
    const digit = bytes[at]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) {
      return value;
    }
    value = value * 10 + digit;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await load(JSON.parse(line) as LoadTask))}\n`);
}
