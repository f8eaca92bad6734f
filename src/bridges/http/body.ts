import type { IncomingMessage } from 'node:http';
import { fromUtf8 } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { parseJson } from '../json.ts';

/** Largest JSON body: 32 attachments inside a message at their limit do not fit, one or a few do. */
export const jsonBytes = 2 * 1024 * 1024;

/** The same of an operation that anybody may call: reading two million characters takes most of a second. */
export const publicJsonBytes = 16 * 1024;

/**
 * The JSON value of a request's body, which has at most so many bytes. Throws `request/unsupported` (not JSON by its content type, or encoded),
 * `request/too-large`, `request/invalid`.
 */
export async function readJson(request: IncomingMessage, limit = jsonBytes): Promise<unknown> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type !== 'application/json' && !/^application\/[\w.-]+\+json$/.test(type)) {
    throw new GatewayError('request/unsupported', 'send the body as application/json');
  }
  return jsonOf(await readText(request, limit));
}

/** The JSON value of the text of a body. Throws `request/invalid`. */
export function jsonOf(text: string): unknown {
  if (text === '') {
    throw new GatewayError('request/invalid', 'the body is empty', {
      errors: [{ pointer: '', detail: 'a JSON object is expected' }],
    });
  }
  return parseJson(text);
}

/** The text of a request's body, at most `limit` bytes of UTF-8. Throws as `readJson` does. */
export async function readText(request: IncomingMessage, limit: number): Promise<string> {
  refuseEncoded(request);
  return textOf(await readBytes(request, limit));
}

/** The text of the bytes of a body. Throws `request/invalid`. */
export function textOf(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes, 'body');
  } catch (cause) {
    if (!isGatewayError(cause) || !cause.code.startsWith('wire/')) {
      throw cause;
    }
    throw new GatewayError('request/invalid', 'the body is not UTF-8', {
      cause,
      errors: [{ pointer: '', detail: 'not UTF-8' }],
    });
  }
}

/** Compressed bodies are not taken: a small one could become a large one. */
export function refuseEncoded(request: IncomingMessage): void {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new GatewayError('request/unsupported', 'bodies with a Content-Encoding are not taken');
  }
}

/** What the request says of its length is checked before a byte of it is kept. */
export function refuseLonger(request: IncomingMessage, limit: number): void {
  if (Number(request.headers['content-length'] ?? 0) > limit) {
    throw new GatewayError('request/too-large', `at most ${limit} bytes`);
  }
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Uint8Array> {
  refuseLonger(request, limit);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const take = (chunk: Uint8Array) => {
    length += chunk.length;
    if (length > limit) {
      // What still comes is read and forgotten, so that the client gets to read the answer.
      request.off('data', take).resume();
      reject(new GatewayError('request/too-large', `at most ${limit} bytes`));
      return;
    }
    chunks.push(chunk);
  };
  request
    .on('data', take)
    .once('end', resolve)
    .once('error', error => reject(request.complete ? error : endedEarly(error)))
    .once('close', () => {
      if (!request.readableEnded) {
        reject(endedEarly());
      }
    });
  await promise;
  const [only] = chunks;
  return only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks, length);
}

/** That the connection broke off within a body: nobody is there to be answered, it is counted. */
export function endedEarly(cause?: unknown): GatewayError {
  return new GatewayError('request/invalid', 'the body ended early', { cause });
}
