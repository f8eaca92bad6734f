import { readFileSync } from 'node:fs';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { GatewayError } from '../lib/errors.ts';

/** Where the gateway is: its control socket, or a URL and a token. */
export type Target =
  | { readonly at: 'socket'; readonly path: string }
  | { readonly at: 'url'; readonly url: URL; readonly token: string };

/** The answer of a call: its JSON body, whatever its status. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Largest answer that is read, bytes. */
const largestAnswer = 16 * 1024 * 1024;

/** Reads a token file; throws `config/invalid` in words. */
export function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new GatewayError('config/invalid', `cannot read the token file ${file}`, { cause });
  }
}

/** One call of the REST API. Throws `bridge/unavailable` where nobody answers, `wire/malformed` for what is not JSON. */
export async function call(
  target: Target,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
  return await readAnswer(target, await openAnswer(target, method, path, body, signal));
}

/** An answer of which only the head was read: its bytes are read, or it is destroyed. Throws `bridge/unavailable`. */
export function openAnswer(
  target: Target,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const headers: Record<string, string | number> = { accept: 'application/json' };
  if (payload !== undefined) {
    headers['content-type'] = 'application/json';
    headers['content-length'] = payload.length;
  }
  if (target.at === 'url') {
    headers.authorization = `Bearer ${target.token}`;
  }
  const options = { method, headers, ...(signal === undefined ? {} : { signal }) };
  return new Promise((resolve, reject) => {
    const request =
      target.at === 'socket'
        ? requestHttp({ ...options, socketPath: target.path, path })
        : (target.url.protocol === 'https:' ? requestHttps : requestHttp)(new URL(path, target.url), options);
    request.on('error', cause => reject(unreachable(target, cause)));
    request.on('response', resolve);
    request.end(payload);
  });
}

/** The bytes of an answer. Throws `bridge/unavailable` where it ends early. */
export async function* bytesOf(target: Target, response: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (cause) {
    throw unreachable(target, cause as Error);
  }
}

/** The rest of an answer. Throws `bridge/unavailable`, and `wire/malformed` for what is too large or not JSON. */
export async function readAnswer(target: Target, response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bytesOf(target, response)) {
    size += chunk.length;
    if (size > largestAnswer) {
      throw new GatewayError('wire/malformed', 'the answer is too large');
    }
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return { status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) };
  } catch (cause) {
    throw new GatewayError('wire/malformed', 'the answer is not JSON: is this a kOS gateway?', { cause });
  }
}

/** Why nobody answered, in words. */
function unreachable(target: Target, cause: Error): Error {
  if (cause.name === 'AbortError') {
    return cause;
  }
  const code = (cause as NodeJS.ErrnoException).code ?? cause.message;
  const where = target.at === 'socket' ? target.path : target.url.origin;
  const hint =
    code === 'ENOENT' || code === 'ECONNREFUSED'
      ? 'is the gateway running, and with this data folder?'
      : code === 'EACCES'
        ? 'only its owner may use it'
        : code;
  return new GatewayError('bridge/unavailable', `no answer from ${where}: ${hint}`, { cause });
}
