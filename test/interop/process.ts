import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { PeerEvent } from './wire.ts';

const keptLines = 60;
const keptEvents = 10_000;

interface Waiting {
  readonly take: (event: PeerEvent) => boolean;
  readonly fail: (error: Error) => void;
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A Python process that takes one JSON command a line and gives results and events. */
export class PeerProcess implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #pending = new Map<number, Pending>();
  readonly #stderr: string[] = [];
  readonly #exited: Promise<unknown>;
  #events: PeerEvent[] = [];
  #waiting: Waiting[] = [];
  #next = 1;
  #gone: string | undefined;

  /** `under` is a program in front of it, such as what enters a network namespace, and its arguments. */
  constructor(python: string, script: string, under: readonly string[] = []) {
    const [program, ...before] = [...under, python];
    this.#child = spawn(program as string, [...before, '-u', script], {
      stdio: 'pipe',
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
    // Not 'close': a grandchild that outlives the peer would hold its pipes open.
    this.#exited = once(this.#child, 'exit').catch(() => {});
    this.#child.stdin.on('error', () => {});
    this.#child.on('error', error => this.#end(`could not be started: ${error.message}`));
    this.#child.on('exit', (code, signal) => {
      // Its last words may still be in the pipe.
      setTimeout(() => this.#end(`ended with ${signal ?? code}`), 100);
    });
    createInterface(this.#child.stdout).on('line', line => this.#read(line));
    createInterface(this.#child.stderr).on('line', line => {
      this.#stderr.push(line);
      if (this.#stderr.length > keptLines) this.#stderr.shift();
    });
  }

  /** The operating system's id of the process. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Every event that nobody has taken yet, oldest first. */
  get events(): readonly PeerEvent[] {
    return this.#events;
  }

  /** The last lines of the process's log, to show beside a failure. */
  log(): string {
    return this.#stderr.join('\n');
  }

  /** Sends one command; rejects with the peer's error and the end of its log, or after `timeout` ms. */
  async ask(command: string, params: object, timeout: number): Promise<unknown> {
    if (this.#gone !== undefined) throw this.#failure(`${command} on a peer that ${this.#gone}`);
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { resolve, reject });
    const timer = setTimeout(
      () => reject(this.#failure(`${command} gave no answer within ${timeout} ms`)),
      timeout,
    );
    this.#child.stdin.write(`${JSON.stringify({ id, command, params })}\n`);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  /** Takes the first event that `wanted` accepts, already here or still to come within `timeout` ms. */
  async waitFor<Wanted extends PeerEvent>(
    wanted: (event: PeerEvent) => event is Wanted,
    timeout: number,
  ): Promise<Wanted> {
    const at = this.#events.findIndex(wanted);
    const here = this.#events[at];
    if (here && wanted(here)) {
      this.#events.splice(at, 1);
      return here;
    }
    if (this.#gone !== undefined) throw this.#failure(`waiting for a peer that ${this.#gone}`);
    const { promise, resolve, reject } = Promise.withResolvers<Wanted>();
    const waiting: Waiting = {
      take(event) {
        if (!wanted(event)) return false;
        resolve(event);
        return true;
      },
      fail: reject,
    };
    this.#waiting.push(waiting);
    const timer = setTimeout(() => {
      const seen = this.#events.map(event => event.event).join(', ') || 'none';
      reject(this.#failure(`no such event within ${timeout} ms; waiting events: ${seen}`));
    }, timeout);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = this.#waiting.filter(one => one !== waiting);
    }
  }

  /** Ends the process at once, as a power cut would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Ends the process by closing its stdin, and by force after three seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#gone !== undefined) return;
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    this.#child.stdin.end();
    await this.#exited;
    clearTimeout(timer);
  }

  #read(line: string): void {
    const said = JSON.parse(line) as PeerEvent | { id: number; result?: unknown; error?: string };
    if ('event' in said) {
      // Each waits for one: the next event may come before whoever waited has heard of this one.
      const at = this.#waiting.findIndex(waiting => waiting.take(said));
      if (at !== -1) {
        this.#waiting.splice(at, 1);
        return;
      }
      this.#events.push(said);
      if (this.#events.length > keptEvents) this.#events.shift();
      return;
    }
    const pending = this.#pending.get(said.id);
    if (said.error === undefined) pending?.resolve(said.result);
    else pending?.reject(this.#failure(said.error));
  }

  #end(how: string): void {
    this.#gone ??= how;
    const failure = this.#failure(`the peer ${how}`);
    for (const pending of this.#pending.values()) pending.reject(failure);
    for (const waiting of this.#waiting) waiting.fail(failure);
  }

  #failure(what: string): Error {
    return new Error(`${what}\n--- end of the peer's log ---\n${this.log()}`);
  }
}
