import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { BridgePort } from '../../gateway/bridge.ts';
import type { Attachment } from '../../gateway/message.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { matrixLimits } from './config.ts';
import type { Piece } from './content.ts';
import type { Call, Homeserver } from './homeserver.ts';
import { path } from './homeserver.ts';
import type { NamedFile } from './reading.ts';

/** Files in both directions, a few at a time. */
export interface Media {
  /** Puts a file on the homeserver; gives its `mxc://` address. `bridge/rejected` where its bytes are gone. */
  upload(
    port: BridgePort,
    user: string,
    piece: Extract<Piece, { kind: 'file' }>,
    call: Pick<Call, 'signal' | 'onWait'>,
  ): Promise<string>;
  /**
   * Fetches a file into the blob store. `request/too-large`, `store/full`, and what `Homeserver` throws; with
   * `detail.broken` where it did not come whole or in time.
   */
  fetch(port: BridgePort, user: string, file: NamedFile, signal: AbortSignal): Promise<Attachment>;
}

export function createMedia(parts: { readonly homeserver: () => Homeserver }): Media {
  let active = 0;
  const line: (() => void)[] = [];

  async function oneOfFew<T>(run: () => Promise<T>): Promise<T> {
    if (active >= matrixLimits.mediaAtOnce) {
      await new Promise<void>(resolve => line.push(resolve));
    }
    active += 1;
    try {
      return await run();
    } finally {
      active -= 1;
      line.shift()?.();
    }
  }

  return {
    upload: (port, user, { file, name, mediaType }, call) =>
      oneOfFew(async () => {
        const bytes = 'bytes' in file ? file.bytes : await read(port, file.sha256, name);
        const answer = await parts.homeserver().request(user, 'POST', '/upload', {
          ...call,
          prefix: '/_matrix/media/v3',
          query: { filename: name },
          body: bytes,
          headers: { 'Content-Type': mediaType },
          timeout: matrixLimits.mediaTimeout,
        });
        if (typeof answer.content_uri !== 'string') {
          throw new GatewayError('bridge/unavailable', 'the homeserver gave the file no address', {
            retryable: true,
          });
        }
        return answer.content_uri;
      }),
    fetch: (port, user, { url, name, mediaType, size }, signal) =>
      oneOfFew(async () => {
        if ((size ?? 0) > matrixLimits.mediaBytes) {
          throw tooLarge(name);
        }
        const [, server = '', id = ''] = /^mxc:\/\/([^/]+)\/(.+)$/.exec(url) ?? [];
        const response = await parts.homeserver().download(user, path`/media/download/${server}/${id}`, {
          prefix: '/_matrix/client/v1',
          signal,
        });
        const { body } = response;
        if (body === null) {
          return { name, mediaType, ...(await port.blobs.put(new Uint8Array())) };
        }
        if (Number(response.headers.get('content-length') ?? 0) > matrixLimits.mediaBytes) {
          await body.cancel();
          throw tooLarge(name);
        }
        try {
          const stream = Readable.fromWeb(body as ReadableStream);
          return { name, mediaType, ...(await port.blobs.put(stream, matrixLimits.mediaBytes)) };
        } catch (error) {
          if (isGatewayError(error, 'request/too-large')) {
            throw tooLarge(name);
          }
          if (isGatewayError(error)) {
            throw error;
          }
          throw new GatewayError('bridge/unavailable', `the file ${name} broke off`, {
            retryable: true,
            detail: { broken: true },
            cause: error,
          });
        }
      }),
  };
}

async function read(port: BridgePort, sha256: string, name: string): Promise<Uint8Array> {
  try {
    return await port.blobs.read(sha256);
  } catch (error) {
    if (isGatewayError(error, 'request/not-found')) {
      throw new GatewayError('bridge/rejected', `the attachment ${name} is gone`, { cause: error });
    }
    throw error;
  }
}

function tooLarge(name: string): GatewayError {
  return new GatewayError('request/too-large', `${name} is larger than ${matrixLimits.mediaBytes} bytes`);
}
