import { join } from 'node:path';
import { type ConfigSource, dataFolderOf, loadConfig } from '../config.ts';
import { GatewayError } from '../lib/errors.ts';
import { type Answer, call, readToken, type Target } from './connection.ts';

/** What a command gets. */
export interface Call {
  readonly words: readonly string[];
  readonly json: boolean;
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly config: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Resolves when the text has been taken: what is read on is acknowledged. */
  readonly out: (text: string) => Promise<void>;
}

export interface Command {
  /** Its arguments, for the usage text. */
  readonly words: string;
  readonly does: string;
  /** Resolves with the exit status. Throws `request/invalid` for wrong use. */
  run(call: Call): Promise<number>;
}

/** Where the gateway is that the options and the environment name. Throws `config/invalid`. */
export function targetOf(c: Call): Target {
  const url = c.options.url ?? c.environment.KOS_URL;
  if (typeof url === 'string') {
    const file = c.environment.KOS_TOKEN_FILE;
    if (file === undefined) {
      throw new GatewayError(
        'config/invalid',
        'KOS_TOKEN_FILE must name the file with the token for this URL',
      );
    }
    if (!URL.canParse(url)) {
      throw new GatewayError('request/invalid', `${url} is no URL`);
    }
    return { at: 'url', url: new URL(url), token: readToken(file) };
  }
  return { at: 'socket', path: join(dataOf(c), 'kosctl.sock') };
}

/** The data folder: of a running gateway it is also found where the file has got mistakes since. */
export function dataOf(c: Call): string {
  return dataFolderOf(sourceOf(c));
}

/** The configuration, or that of another file. */
export function configOf(c: Call, file = c.config) {
  return loadConfig(sourceOf(c, file));
}

function sourceOf(c: Call, file = c.config): ConfigSource {
  const { data } = c.options;
  return {
    file,
    data: typeof data === 'string' ? data : undefined,
    environment: c.environment,
  };
}

/** One call of the REST API; an error of it is thrown as `bridge/rejected`. */
export async function ask(c: Call, method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await call(targetOf(c), method, path, body, c.signal);
  if (answer.status >= 400 && answer.status !== 503) {
    throw refusal(answer);
  }
  return answer;
}

/** What an answer says that is a problem. */
export function refusal({ status, body }: Answer): GatewayError {
  const problem = (body ?? {}) as {
    title?: string;
    detail?: string;
    errors?: { pointer: string; detail: string }[];
  };
  const lines = (problem.errors ?? []).map(error => `  ${error.pointer}: ${error.detail}`);
  const first = problem.detail ?? problem.title ?? `status ${status}`;
  return new GatewayError('bridge/rejected', [first, ...lines].join('\n'));
}

/** Prints a value as JSON, or the text where people read. */
export async function print(c: Call, value: unknown, text?: string): Promise<number> {
  await c.out(c.json || text === undefined ? JSON.stringify(value, null, c.json ? undefined : 2) : text);
  return 0;
}

/** Wrong use. */
export function usage(text: string): never {
  throw new GatewayError('request/invalid', `usage: kosctl ${text}`);
}

/**
 * Text from the air may hold characters that move a terminal's cursor or turn its writing round. A line of its
 * own is shown as one that goes on, so that nobody can write what looks like a message of somebody else.
 */
export function printable(text: string): string {
  return (
    text
      .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
      .replaceAll('\n', '\n    | ')
  );
}
