import { createHash } from 'node:crypto';
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { fromUtf8, utf8 } from '../../lib/bytes.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import type { ReplicaResponse } from './contract.ts';
import { type Fields, field, listOf } from './fields.ts';
import type { Operation } from './outbox-operation.ts';
import type { WriteService } from './outbox-service.ts';
import type { Json } from './pointer.ts';

/** Bytes a stored answer may have when it is unpacked. */
const unpackedLimit = 16 * 1024 * 1024;

/** The media type of a message, in lower case and without parameters; empty where it says none. */
export function mediaTypeOf(headers: Fields): string {
  return (field(headers, 'content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

export function isJsonType(type: string): boolean {
  return type === 'application/json' || /^application\/[a-z0-9.+-]*\+json$/.test(type);
}

/** The JSON of a message, whatever it is packed in, or undefined where it is none. */
export function jsonOf({ headers, body }: { headers: Fields; body: Uint8Array }): Json | undefined {
  const type = mediaTypeOf(headers);
  if (body.length === 0 || !isJsonType(type)) {
    return undefined;
  }
  try {
    let bytes = body;
    for (const coding of listOf(field(headers, 'content-encoding')?.toLowerCase()).toReversed()) {
      const unpack = codings[coding];
      if (unpack === undefined) {
        return undefined;
      }
      bytes = unpack(bytes);
    }
    return JSON.parse(fromUtf8(bytes, 'body')) as Json;
  } catch {
    return undefined;
  }
}

const limits = { maxOutputLength: unpackedLimit };
const codings: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  identity: bytes => bytes,
  gzip: bytes => gunzipSync(bytes, limits),
  'x-gzip': bytes => gunzipSync(bytes, limits),
  deflate: bytes => inflateSync(bytes, limits),
  br: bytes => brotliDecompressSync(bytes, limits),
  zstd: bytes => zstdDecompressSync(bytes, limits),
};

/** The strong ETag of a representation made here: `"hub-…"`, the same for the same JSON. */
export function hubTag(text: string): string {
  return `"hub-${createHash('sha256').update(text).digest('hex').slice(0, 24)}"`;
}

export function isHubTag(tag: string): boolean {
  return /^"hub-[0-9a-f]{24}"$/.test(tag);
}

/** An answer with a JSON body. */
export function jsonAnswer(
  status: number,
  body: Json,
  headers: Fields = [],
  type = 'application/json',
): ReplicaResponse {
  const bytes = utf8(JSON.stringify(body));
  return {
    status,
    headers: [['content-type', type], ...headers, ['content-length', String(bytes.length)]],
    body: bytes,
  };
}

/** An answer without a body. */
export function bareAnswer(status: number, headers: Fields = []): ReplicaResponse {
  return { status, headers, body: new Uint8Array() };
}

/** An error the replica makes itself. Source: RFC 9457. */
export function problemAnswer(
  status: number,
  code: ErrorCode,
  title: string,
  detail: string,
  more: { readonly headers?: Fields; readonly members?: { readonly [name: string]: Json } } = {},
): ReplicaResponse {
  return jsonAnswer(
    status,
    { type: `urn:kos:problem:${code}`, title, status, detail, code, ...more.members },
    [['cache-control', 'no-store'], ...(more.headers ?? [])],
    'application/problem+json',
  );
}

/** Says that it waits, and where to look what became of it. */
export function labelled(
  answer: ReplicaResponse,
  operation: Operation,
  service: WriteService,
): ReplicaResponse {
  return {
    ...answer,
    headers: [
      ...answer.headers,
      ['link', `<${service.originPath(`/_replica/queue/${operation.id}`)}>; rel="status"`],
      ['replica-state', 'queued'],
      ['replica-operation', operation.id],
      ['cache-control', 'no-store'],
    ],
  };
}

/** 202: taken, and nothing more can be said. */
export function acceptedAnswer(headers: Fields = []): ReplicaResponse {
  return jsonAnswer(202, { state: 'queued' }, headers);
}

/** 202 for an operation that is kept. */
export function accepted(operation: Operation, service: WriteService): ReplicaResponse {
  const { id, status } = operation;
  return labelled(jsonAnswer(202, { operation: id, state: status.state }), operation, service);
}
