import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { z } from 'zod';
import type { Client, Desk } from '../../gateway/desk.ts';
import { defaultLimits } from '../../gateway/limits.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import { sha256Schema } from '../schema.ts';
import { endedEarly, refuseEncoded, refuseLonger } from './body.ts';
import { whereKnown } from './offer.ts';
import { type Answer, type Route, route } from './route.ts';
import { isKnown, lastModified } from './validator.ts';

/** Largest blob. */
export const blobBytes = defaultLimits.blobBytes;

/** ms a blob may take to come or go: 32 MiB at 1 Mbit/s. */
export const slowest = 310_000;

const blobSchema = z
  .looseObject({ sha256: sha256Schema, size: z.int().min(0), mediaType: z.string() })
  .meta({ id: 'Blob' });

/** Bytes of attachments. */
export function blobRoutes(desk: Desk, clock: Clock): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/blobs',
      summary: 'Keep bytes that a message will carry; the body is the bytes',
      tag: 'blobs',
      audience: ['messages:send'],
      body: 'raw',
      timeout: slowest,
      responses: {
        201: {
          description: 'on disk',
          schema: blobSchema,
          headers: { Location: 'where the bytes can be read' },
          links: { getBlobsSha256: { sha256: '$response.body#/sha256' } },
        },
      },
      async handle({ client, request, header }) {
        refuseEncoded(request.raw);
        refuseLonger(request.raw, blobBytes);
        const { sha256, size } = await keep(desk, client, request.raw);
        const mediaType = header('content-type') ?? 'application/octet-stream';
        return {
          status: 201,
          headers: { location: `/v1/blobs/${sha256}` },
          json: { sha256, size, mediaType },
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/blobs/{sha256}',
      summary: 'The bytes, to whoever put them there or may see a message that carries them',
      tag: 'blobs',
      audience: ['messages:read', 'messages:send'],
      params: z.strictObject({ sha256: sha256Schema }),
      headers: { Range: 'bytes=first-last, one range', ...whereKnown },
      timeout: slowest,
      responses: {
        200: { description: 'all of it', mediaType: 'application/octet-stream' },
        206: { description: 'the range', mediaType: 'application/octet-stream' },
        304: { description: 'not changed: it never does' },
        416: { description: 'no such range' },
      },
      async handle({ client, params: { sha256 }, header, request }) {
        const about = desk.mayReadBlob(client, sha256) ? await desk.blobs.about(sha256) : undefined;
        if (about === undefined) {
          throw new GatewayError('request/not-found', 'no such blob');
        }
        const { size } = about;
        const tag = `"${sha256}"`;
        const modified = lastModified(about.storedAt, clock.now());
        const validators = { etag: tag, ...(modified !== undefined && { 'last-modified': modified }) };
        const headers = {
          ...validators,
          'accept-ranges': 'bytes',
          'content-type': 'application/octet-stream',
          // Whatever these bytes are, no browser shall run them beside the owner's session.
          'content-disposition': `attachment; filename="${sha256.slice(0, 16)}"`,
          'content-security-policy': "sandbox; default-src 'none'",
          'cross-origin-resource-policy': 'same-origin',
        };
        if (isKnown(request.headers, tag, modified)) {
          return { status: 304, headers: validators };
        }
        const ifRange = header('if-range');
        const isWhole = ifRange !== undefined && ifRange !== tag && ifRange !== modified;
        const range = isWhole ? undefined : parseRange(header('range'), size);
        if (range === 'unsatisfiable') {
          return {
            status: 416,
            error: new GatewayError('request/invalid', `the blob has ${size} bytes`),
            headers: { 'content-range': `bytes */${size}` },
          };
        }
        const { start, end } = range ?? { start: 0, end: size - 1 };
        const answer: Answer = {
          status: range === undefined ? 200 : 206,
          headers: {
            ...headers,
            'content-length': String(end - start + 1),
            ...(range && { 'content-range': `bytes ${start}-${end}/${size}` }),
          },
        };
        return request.method === 'HEAD' || size === 0
          ? answer
          : { ...answer, body: await desk.blobs.open(sha256, { start, end }) };
      },
    }),
  ];
}

/**
 * Streams a body into the store. The store may stop reading at any time; the request must live on, for the
 * client is to get an answer.
 */
async function keep(desk: Desk, client: Client, request: IncomingMessage) {
  if (request.destroyed && !request.complete) {
    throw endedEarly();
  }
  const bytes = new PassThrough();
  bytes.on('error', () => {});
  request.once('close', () => {
    if (!request.complete) {
      bytes.destroy(endedEarly());
    }
  });
  try {
    return await desk.keepBlob(client, request.pipe(bytes), blobBytes);
  } finally {
    request.unpipe(bytes).resume();
  }
}

/**
 * The one range a `Range` header asks for: undefined where it asks for none or for several, which may be ignored.
 * Source: RFC 9110 §14.1.2, §14.2.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header?.trim() ?? '') ?? [];
  if (first === '' && last === '') {
    return undefined;
  }
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) {
    return undefined;
  }
  return start >= size
    ? 'unsatisfiable'
    : { start, end: Math.min(last === '' ? size - 1 : Number(last), size - 1) };
}
