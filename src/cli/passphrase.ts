import { readFileSync } from 'node:fs';
import type { ReadStream } from 'node:tty';
import { GatewayError } from '../lib/errors.ts';
import type { Call } from './call.ts';

/** Bytes of a file or of stdin in which a passphrase is looked for. */
const most = 64 * 1024;
/** Characters that a new one must have; the gateway says so, too. */
const shortest = 12;
/** Times that a new one is asked for. */
const tries = 3;

/**
 * A passphrase: the first line of the file that `--passphrase-file` names (`-`: stdin) or KOS_PASSPHRASE_FILE, or what
 * somebody types at a terminal, where a new one is asked for twice. Undefined where there is neither. Never an argument or a variable
 * by itself: other users of the machine see those. Throws `config/invalid`, `request/conflict` for one who turned back.
 */
export async function passphraseOf(c: Call, use: 'new' | 'known'): Promise<string | undefined> {
  const named = c.options['passphrase-file'] ?? c.environment.KOS_PASSPHRASE_FILE;
  if (typeof named === 'string' && named !== '') {
    const text = named === '-' ? await readStdin() : readFile(named);
    const [line = ''] = text.split(/\r?\n/, 1);
    if (line === '') {
      throw new GatewayError(
        'config/invalid',
        `there is no passphrase in ${named === '-' ? 'stdin' : named}`,
      );
    }
    return line;
  }
  if (process.stdin.isTTY !== true) {
    return undefined;
  }
  using terminal = openTerminal(process.stdin, process.stderr, c.signal);
  return use === 'known' ? await terminal.ask('passphrase: ') : await askNew(terminal);
}

async function askNew(terminal: Terminal): Promise<string> {
  for (let turn = 0; turn < tries; turn++) {
    const first = await terminal.ask(`passphrase, at least ${shortest} characters: `);
    if (first.length < shortest) {
      terminal.say('too short: whoever has the file can guess for as long as they like');
    } else if (first === (await terminal.ask('the same again: '))) {
      return first;
    } else {
      terminal.say('these two are not the same');
    }
  }
  throw new GatewayError('request/conflict', 'no passphrase was agreed on: nothing was done');
}

interface Terminal extends Disposable {
  /** What is typed up to Enter; nothing of it is shown. */
  ask(prompt: string): Promise<string>;
  say(words: string): void;
}

/** Reads key by key, for the terminal itself would show them. */
function openTerminal(input: ReadStream, output: NodeJS.WritableStream, signal: AbortSignal): Terminal {
  const decoder = new TextDecoder();
  /** Typed ahead. */
  let typed = '';
  let wake = () => {};
  let isOver = false;
  const take = (chunk: Uint8Array) => {
    typed += decoder.decode(chunk, { stream: true });
    wake();
  };
  const end = () => {
    isOver = true;
    wake();
  };
  input.setRawMode(true);
  input.on('data', take).on('end', end).resume();
  signal.addEventListener('abort', end);
  const next = async (): Promise<string> => {
    while (typed === '' && !isOver) {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
    // An arrow or another key that is no character: all that it sends.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a terminal sends
    const [key = ''] = /^(?:\u001b\[[0-?]*[ -/]*[@-~]|\u001bO.|[\s\S])/u.exec(typed) ?? [];
    typed = typed.slice(key.length);
    return key;
  };
  return {
    async ask(prompt) {
      output.write(prompt);
      let line: string[] = [];
      for (;;) {
        const key = await next();
        if (key === '\r' || key === '\n') {
          output.write('\n');
          return line.join('');
        }
        if (key === '' || key === '\u0003' || (key === '\u0004' && line.length === 0)) {
          output.write('\n');
          throw new GatewayError('request/conflict', 'interrupted: nothing was done');
        }
        if (key === '\u007f' || key === '\b') {
          line.pop();
        } else if (key === '\u0015') {
          line = [];
        } else if (key.length <= 2 && key >= ' ' && line.length < 1024) {
          line.push(key);
        }
      }
    },
    say(words) {
      output.write(`${words}\n`);
    },
    [Symbol.dispose]() {
      signal.removeEventListener('abort', end);
      input.off('data', take).off('end', end).pause();
      input.setRawMode(false);
    },
  };
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'utf8').slice(0, most);
  } catch (cause) {
    throw new GatewayError('config/invalid', `${file} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function readStdin(): Promise<string> {
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.length > most || text.includes('\n')) {
      break;
    }
  }
  return text;
}
