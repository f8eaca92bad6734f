import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { GatewayError } from '../../lib/errors.ts';
import { collect } from './buffers.ts';
import type { Base, Projection, ReplicaResponse } from './contract.ts';
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

/** A read that operations may change. */
export interface ProjectedRead {
  readonly projection: Projection;
  readonly service: string;
  readonly partition: string;
  readonly exchange: Exchange;
  /** Bytes of a base. */
  readonly most: number;
  /** ms epoch. */
  readonly now: number;
  /** Reads the base with these header fields; not asked where the path is known here alone. */
  readonly read: ((headers: Fields) => Promise<Reply>) | undefined;
}

/**
 * A read with the operations that wait in it. The base is read whole and without the client's conditions, which are
 * looked at when the projection has its own entity tag.
 */
export async function readProjected(of: ProjectedRead): Promise<Reply> {
  const { projection, service, partition, exchange, most, now } = of;
  const whole = withField(without(unconditional(exchange.headers), 'range'), 'Accept-Encoding', 'identity');
  let base: Base | undefined;
  let reason: unknown = new GatewayError('request/not-found', 'not known to the service yet, nor here');
  if (of.read !== undefined) {
    try {
      base = await wholeOf(await of.read(whole), most, now);
    } catch (error) {
      // Without a base an operation may still be all there is: what was created here.
      if (!(error instanceof GatewayError)) {
        throw error;
      }
      reason = error;
    }
  }
  const plain = without(unconditional(exchange.headers), 'range');
  const request = { service, partition, method: 'GET', path: exchange.path, headers: plain };
  const projected = await projection.apply(request, base);
  const shown = projected ?? base;
  if (shown === undefined) {
    throw reason;
  }
  const label = { state: 'fresh' as const, asOf: now, age: 0, ttl: 0, status: '' };
  const made = { ...shown, responseTime: now, requestTime: now };
  const reply = storedReply(exchange.method, exchange.headers, made, label);
  if (reply === undefined) {
    return shown;
  }
  if (projected === undefined) {
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

async function wholeOf(reply: Reply, most: number, now: number): Promise<Base> {
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
  return { ...whole, asOf: reply.asOf ?? now };
}
