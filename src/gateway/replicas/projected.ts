import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { GatewayError } from '../../lib/errors.ts';
import { collect } from './buffers.ts';
import type { Projection, ReplicaResponse } from './contract.ts';
import type { Exchange, Reply } from './exchange.ts';
import { type Fields, joined, listOf, withField, without } from './fields.ts';
import { unconditional } from './rfc9111/validation.ts';
import { storedReply } from './stored-reply.ts';

const decoders = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
} as const;

/** A response without its content coding, at most `most` bytes; undefined where that cannot be done. */
export async function identityOf(
  response: ReplicaResponse,
  most: number,
): Promise<ReplicaResponse | undefined> {
  const codings = listOf(joined(response.headers, 'content-encoding'))
    .map(coding => coding.toLowerCase())
    .filter(coding => coding !== 'identity');
  let { body } = response;
  for (const coding of codings.toReversed()) {
    const decode = decoders[coding as keyof typeof decoders];
    if (decode === undefined) {
      return undefined;
    }
    try {
      body = await decode(body, { maxOutputLength: most });
    } catch {
      return undefined;
    }
  }
  return codings.length === 0
    ? response
    : {
        ...response,
        headers: withField(
          without(response.headers, 'content-encoding', 'content-length'),
          'Content-Length',
          String(body.length),
        ),
        body,
      };
}

/**
 * A read with the operations that wait in it. The base is read whole and without the client's conditions, which are
 * looked at when the projection has its own entity tag.
 */
export async function readProjected(
  projection: Projection,
  service: string,
  partition: string,
  exchange: Exchange,
  most: number,
  read: (headers: Fields) => Promise<Reply>,
  now: number,
): Promise<Reply> {
  const whole = withField(without(unconditional(exchange.headers), 'range'), 'Accept-Encoding', 'identity');
  let base: ReplicaResponse | undefined;
  let reason: unknown;
  try {
    base = await wholeOf(await read(whole), most);
  } catch (error) {
    // Without a base an operation may still be all there is: what was created here.
    if (!(error instanceof GatewayError)) {
      throw error;
    }
    reason = error;
  }
  const request = { service, partition, method: 'GET', path: exchange.path, headers: exchange.headers };
  const shown = projection.apply(request, base) ?? base;
  if (shown === undefined) {
    throw reason;
  }
  const label = { state: 'fresh' as const, asOf: now, age: 0, ttl: 0, status: '' };
  const reply = storedReply(exchange.method, exchange.headers, { ...shown, responseTime: now }, label);
  if (reply === undefined) {
    return shown;
  }
  if (shown === base) {
    return { ...reply, headers: restored(reply.headers, shown.headers) };
  }
  const headers = restored(reply.headers, without(shown.headers, 'cache-status', 'age'));
  return { ...reply, headers: [...headers, ['Cache-Status', 'kos; hit; detail=projected']] };
}

/** The labels of a reply are those of what it was made from. */
function restored(headers: Fields, from: Fields): Fields {
  const labels = ['cache-status', 'replica-state', 'replica-as-of', 'age'];
  return [...without(headers, ...labels), ...from.filter(([name]) => labels.includes(name.toLowerCase()))];
}

async function wholeOf(reply: Reply, most: number): Promise<ReplicaResponse> {
  const { status, headers, body } = reply;
  const bytes =
    body === undefined ? new Uint8Array() : body instanceof Uint8Array ? body : await collect(body, most);
  if (bytes === undefined) {
    throw new GatewayError('request/too-large', 'too large to show with the changes that wait');
  }
  const whole = await identityOf({ status, headers, body: bytes }, most);
  if (whole === undefined) {
    throw new GatewayError(
      'request/unsupported',
      'in a coding that cannot be read, to show the changes that wait',
    );
  }
  return whole;
}
