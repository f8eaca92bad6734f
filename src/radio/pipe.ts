import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { SerialLink } from './serial.ts';

/** ms that a program is given to end by itself. */
const patience = 2000;
/** Characters of what it said last on its standard error. */
const lastWords = 200;

/**
 * Starts a program whose standard input and output are a line of bytes. It gets a process group of its own, which is
 * ended with the line. Rejects with `radio/device` where it cannot be started.
 */
export async function openPipe(command: readonly string[], clock: Clock): Promise<SerialLink> {
  const [program, ...args] = command as [string, ...string[]];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const { stdin, stdout, stderr } = child;
  const closed = Promise.withResolvers<GatewayError | undefined>();
  let closing = false;
  let said = '';
  let listener = (_: Uint8Array) => {};
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', cause => reject(notStarted(program, cause)));
  });
  child.on('error', () => {});
  stdin.on('error', () => {});
  stdout.on('data', (chunk: Buffer) => listener(new Uint8Array(chunk)));
  stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-lastWords);
  });
  // Who was started by it and left its group may hold its output for ever.
  child.once('exit', () => {
    if (closing) {
      stdout.destroy();
      stderr.destroy();
    }
  });
  child.once('close', (code, signal) => {
    const how = signal === null ? `ended with ${code}` : `was ended by ${signal}`;
    const words = said.trim().split('\n').at(-1) ?? '';
    closed.resolve(closing ? undefined : offline(`${program} ${how}${words === '' ? '' : `: ${words}`}`));
  });
  return {
    path: program,
    closed: closed.promise,
    onData(next) {
      listener = next;
    },
    async write(bytes) {
      if (!stdin.writable) {
        throw offline(`${program} takes nothing any more`);
      }
      const taken = new Promise<void>((resolve, reject) => {
        stdin.write(bytes, error => (error ? reject(offline(`${program}: ${error.message}`)) : resolve()));
      });
      taken.catch(() => {});
      await Promise.race([
        taken,
        closed.promise.then(reason => {
          throw reason ?? offline(`${program} was ended`);
        }),
      ]);
    },
    pause: () => void stdout.pause(),
    resume: () => void stdout.resume(),
    async close() {
      if (!closing) {
        closing = true;
        stdin.end();
        stdout.resume();
        end(child, 'SIGTERM');
        const cancel = clock.after(patience, () => end(child, 'SIGKILL'));
        void closed.promise.then(cancel);
      }
      await closed.promise;
    },
  };
}

/** Ends the program and whatever it has started. */
function end({ pid, exitCode, signalCode }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    // The group may outlive its first process.
    process.kill(-(pid as number), signal);
  } catch {
    if (exitCode === null && signalCode === null) {
      process.kill(pid as number, signal);
    }
  }
}

function notStarted(program: string, cause: Error): GatewayError {
  const code = (cause as NodeJS.ErrnoException).code;
  const words =
    code === 'ENOENT' ? 'no such program' : code === 'EACCES' ? 'not allowed to run it' : cause.message;
  return new GatewayError('radio/device', `${program}: ${words}`, { retryable: true, cause });
}

function offline(words: string): GatewayError {
  return new GatewayError('radio/offline', words, { retryable: true });
}
