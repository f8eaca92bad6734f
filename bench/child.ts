import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A program beside this one in a process of its own, spoken to in lines of JSON. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Its next line. */
  next<T>(): Promise<T>;
  /** Says a line and waits for the answer. */
  ask<T>(question: unknown): Promise<T>;
}

export function startChild(file: string, ...words: readonly string[]): Child {
  const child = spawn(process.execPath, [join(import.meta.dirname, file), ...words], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, 'exit');
  const next = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done === true) {
      throw new Error(`${file} ended`);
    }
    return JSON.parse(value) as T;
  };
  return {
    pid: child.pid ?? 0,
    next,
    ask(question) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      return next();
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
