/**
 * Loaded in front of the daemon (`--import`, in each of its threads): notes when a message passes each of its stages,
 * and writes all of them to the file of `BENCH_TRACE` at the end. Times are ns of one clock for all threads and
 * processes of the machine.
 */
import { writeFileSync } from 'node:fs';
import { Server } from 'node:http';
import { Socket } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import {
  getEnvironmentData,
  isMainThread,
  MessagePort,
  parentPort,
  setEnvironmentData,
  Worker,
} from 'node:worker_threads';

/** What the trace leaves: when, and what happened. */
export type Traced = readonly (readonly [at: number, what: string])[];

const capacity = 400_000;
const key = 'bench trace';
const inWriter = ['writer: begins', 'writer: asks for the sync', 'writer: on disk', 'writer: tells'] as const;
const file = process.env.BENCH_TRACE;

if (file !== undefined) {
  if (isMainThread) {
    watchMain(file);
  } else if (getEnvironmentData(key) !== undefined) {
    watchWriter();
  }
}

function watchMain(file: string): void {
  // The first place counts the others.
  const shared = new Float64Array(new SharedArrayBuffer(8 * (2 * capacity + 1)));
  setEnvironmentData(key, shared.buffer);
  const notes: [number, string][] = [];
  const note = (what: string) => notes.push([now(), what]);
  watchSockets(note);
  const { emit } = Server.prototype;
  Server.prototype.emit = function (name: string, ...values: unknown[]) {
    if (name === 'request') {
      note('request read');
    }
    return emit.call(this, name, ...values);
  };
  const { postMessage } = MessagePort.prototype;
  MessagePort.prototype.postMessage = function (value: unknown, ...more: []) {
    const verb = Array.isArray(value) ? value.map(job => (job as { verb?: string }).verb).join('+') : '';
    note(`to the writer: ${verb}`);
    postMessage.call(this, value, ...more);
  };
  const { emit: tell } = Worker.prototype;
  Worker.prototype.emit = function (name: string | symbol, ...values: unknown[]) {
    if (name === 'message') {
      note('the writer has told');
    }
    return tell.call(this, name, ...values);
  };
  // A commit of the main thread itself.
  watchDatabase(what => note(what.replace('writer', 'main')));
  process.once('exit', () => {
    for (let at = 0; at < (shared[0] ?? 0); at++) {
      notes.push([shared[1 + 2 * at] ?? 0, inWriter[shared[2 + 2 * at] ?? 0] ?? '']);
    }
    notes.sort(([a], [b]) => a - b);
    writeFileSync(file, JSON.stringify(notes satisfies Traced));
  });
}

function watchSockets(note: (what: string) => void): void {
  const { _write, _writev, push } = Socket.prototype;
  Socket.prototype._write = function (chunk, encoding, done) {
    note(`${kindOf(chunk)} out`);
    _write.call(this, chunk, encoding, done);
  };
  Socket.prototype._writev = function (chunks, done) {
    note(`${kindOf(chunks[0]?.chunk)} out`);
    _writev?.call(this, chunks, done);
  };
  Socket.prototype.push = function (chunk, ...more) {
    if (chunk?.[0] === hdlcFlag) {
      note('frame in');
    }
    return push.call(this, chunk, ...more);
  };
}

const hdlcFlag = 0x7e;

function kindOf(chunk: unknown): string {
  if (typeof chunk === 'string') {
    return chunk.startsWith('HTTP/1.1 20') ? 'answer' : 'text';
  }
  const first = chunk instanceof Uint8Array ? chunk[0] : undefined;
  return first === hdlcFlag
    ? 'frame'
    : first === 0x81
      ? 'WebSocket frame'
      : first === 0x48
        ? 'answer'
        : 'bytes';
}

function watchWriter(): void {
  const shared = new Float64Array(getEnvironmentData(key) as SharedArrayBuffer);
  const note = (what: (typeof inWriter)[number]) => {
    const place = shared[0]!;
    shared[0] = place + 1;
    shared[1 + 2 * place] = now();
    shared[2 + 2 * place] = inWriter.indexOf(what);
  };
  watchDatabase(note);
  if (parentPort !== null) {
    const { postMessage } = parentPort;
    parentPort.postMessage = function (...values: [unknown]) {
      note('writer: tells');
      postMessage.apply(this, values);
    };
  }
}

function watchDatabase(note: (what: (typeof inWriter)[number]) => void): void {
  const { exec } = DatabaseSync.prototype;
  DatabaseSync.prototype.exec = function (sql) {
    if (sql === 'BEGIN IMMEDIATE') {
      note('writer: begins');
    } else if (sql === 'COMMIT') {
      note('writer: asks for the sync');
    }
    exec.call(this, sql);
    if (sql === 'COMMIT') {
      note('writer: on disk');
    }
  };
}

function now(): number {
  return Number(process.hrtime.bigint());
}
