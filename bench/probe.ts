/**
 * Loaded in front of the daemon (`--import`, in each of its threads): notes when a transaction that holds
 * accepted messages was committed, and when the proof of a link packet was handed to the kernel, and
 * writes both to the file of `BENCH_PROBE` at the end. Times are ns of one clock for all threads.
 */
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';

/** What the probe leaves: one commit time for each message accepted, one time for each proof sent. */
export interface Probed {
  readonly commits: readonly number[];
  readonly proofs: readonly number[];
}

const capacity = 200_000;
const key = 'bench probe';
const file = process.env.BENCH_PROBE;

if (file !== undefined) {
  if (isMainThread) {
    watchProofs(file);
  } else {
    watchCommits();
  }
}

function watchProofs(file: string): void {
  // The first place counts the others.
  const shared = new Float64Array(new SharedArrayBuffer(8 * (capacity + 1)));
  setEnvironmentData(key, shared.buffer);
  const proofs: number[] = [];
  const note = (frames: number) => {
    const at = now();
    for (let frame = 0; frame < frames; frame++) {
      proofs.push(at);
    }
  };
  const { _write, _writev } = Socket.prototype;
  Socket.prototype._write = function (chunk, encoding, done) {
    const found = isLinkProof(chunk) ? 1 : 0;
    _write.call(this, chunk, encoding, done);
    note(found);
  };
  Socket.prototype._writev = function (chunks, done) {
    // Counted first: writing takes the list apart.
    const found = chunks.filter(({ chunk }) => isLinkProof(chunk)).length;
    _writev?.call(this, chunks, done);
    note(found);
  };
  process.once('exit', () => {
    const commits = [...shared.subarray(1, 1 + (shared[0] ?? 0))];
    writeFileSync(file, JSON.stringify({ commits, proofs } satisfies Probed));
  });
}

function watchCommits(): void {
  const shared = new Float64Array(getEnvironmentData(key) as SharedArrayBuffer);
  let accepted = 0;
  const { exec } = DatabaseSync.prototype;
  const { run } = StatementSync.prototype as { run: (...values: unknown[]) => unknown };
  Object.assign(StatementSync.prototype, {
    run(this: StatementSync, ...values: unknown[]) {
      if (this.sourceSQL.startsWith('INSERT INTO messages ')) {
        accepted += 1;
      }
      return run.apply(this, values);
    },
  });
  DatabaseSync.prototype.exec = function (sql) {
    exec.call(this, sql);
    if (sql === 'COMMIT') {
      const at = now();
      for (; accepted > 0; accepted--) {
        const place = ++shared[0]!;
        shared[place] = at;
      }
    }
  };
}

/** An HDLC frame (flag 0x7e) of a proof for a link: flags 0x0f, hops, link id 16, context none, where 0x7d escapes the byte that follows. */
function isLinkProof(frame: unknown): boolean {
  if (!(frame instanceof Uint8Array) || frame[0] !== 0x7e || frame[1] !== 0x0f) {
    return false;
  }
  let at = 1;
  for (let field = 0; field < 18; field++) {
    at += frame[at] === 0x7d ? 2 : 1;
  }
  return frame[at] === 0;
}

function now(): number {
  return Number(process.hrtime.bigint());
}
