import { readFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
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

/** One call of the REST API. Throws `bridge/unavailable` where nobody answers. */
export function call(
  target: Target,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
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
    request.on('response', response => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > largestAnswer) {
          response.destroy(new GatewayError('wire/malformed', 'the answer is too large'));
          return;
        }
        chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        try {
          resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) });
        } catch (cause) {
          reject(
            new GatewayError('wire/malformed', 'the answer is not JSON: is this a kOS gateway?', { cause }),
          );
        }
      });
    });
    request.end(payload);
  });
}

/** Why nobody answered, in words. */
export function unreachable(target: Target, cause: Error): Error {
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
