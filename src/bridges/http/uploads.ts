import { z } from 'zod';
import type { Client, Desk } from '../../gateway/desk.ts';
import { type Checksum, checksumAlgorithms } from '../../gateway/store/upload-files.ts';
import type { Upload } from '../../gateway/store/uploads.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { problemOf } from '../problems.ts';
import { invalid, sha256Schema, timeSchema } from '../schema.ts';
import { blobBytes, slowest } from './blobs.ts';
import { refuseEncoded } from './body.ts';
import { mediaTypeOf } from './legacy/fields.ts';
import { forgetRest } from './rest-of-body.ts';
import { type Answer, type Call, type Route, route } from './route.ts';

const version = '1.0.0';
/** That of the protocol, and what others say who mean the same. */
const pieceTypes: readonly string[] = ['application/offset+octet-stream', 'application/octet-stream'];
const base = { 'tus-resumable': version };
const extensions = 'creation,creation-with-upload,expiration,termination,checksum,concatenation';

const count = (about: string) =>
  z
    .string()
    .regex(/^\d{1,8}$/)
    .describe(about);
const resumable = z.enum([version]).describe('the version of the protocol');
const metadata = z
  .string()
  .max(4096)
  .regex(/^(?:[!-+.-~-]+(?: [A-Za-z0-9+/=]*)?(?:, ?[!-+.-~-]+(?: [A-Za-z0-9+/=]*)?)*)?$/)
  .describe('names with base64 values, between commas; given back as they came');
const checksumHeader = z
  .string()
  .max(100)
  .regex(/^(?:sha256|sha1|md5) [A-Za-z0-9+/=]+$/)
  .describe('algorithm and base64 of the digest of this piece: a piece that differs is not kept (460)')
  .meta({ examples: ['sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk='] });

const concatenation = z
  .string()
  .max(8192)
  .regex(/^(?:partial|final;[!-~]+(?: [!-~]+)*)$/)
  .describe('partial: a part of another upload; final; and the parts, with spaces between: joins them')
  .meta({ examples: ['partial'] });

const uploadSchema = z
  .looseObject({
    id: z.string(),
    length: z.int(),
    offset: z.int().describe('bytes that are on disk'),
    expiresAt: timeSchema.describe('ms since 1970'),
    partial: z.literal(true).exactOptional().describe('a part of another, and no blob by itself'),
    sha256: sha256Schema.exactOptional().describe('once it is whole: the blob'),
  })
  .meta({ id: 'Upload' });

const params = z.strictObject({ id: z.string().regex(/^[0-9a-f]{32}$/, 'the id of an upload') });
const state = {
  'Upload-Offset': 'bytes that are on disk',
  'Upload-Expires': 'when it is forgotten unless more comes',
  'Kos-Blob': 'SHA-256 of the blob, once the upload is whole',
};

/**
 * Uploads that can be gone on with after a break: tus 1.0 with creation, creation-with-upload, expiration, termination,
 * checksum and concatenation, for the clients that exist. At the end the bytes are a blob like any other.
 * Source: tus resumable upload protocol 1.0.0.
 */
export function uploadRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'OPTIONS',
      path: '/v1/uploads',
      summary: 'What of the tus protocol there is',
      tag: 'blobs',
      audience: 'public',
      responses: {
        204: {
          description: 'in the headers',
          headers: {
            'Tus-Version': 'the version',
            'Tus-Extension': 'what is there beyond it',
            'Tus-Max-Size': 'bytes of the largest upload',
            'Tus-Checksum-Algorithm': 'what a piece may be checked by',
          },
        },
      },
      handle: () => ({
        status: 204,
        headers: {
          ...base,
          'tus-version': version,
          'tus-extension': extensions,
          'tus-max-size': String(blobBytes),
          'tus-checksum-algorithm': checksumAlgorithms.join(','),
        },
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/uploads',
      summary:
        'Begin an upload that can be gone on with after a break (tus 1.0); the first piece may be the body',
      tag: 'blobs',
      audience: ['messages:send'],
      headers: {
        'Upload-Length': count('bytes there will be; read over where parts are joined'),
        'Upload-Metadata': metadata,
        'Upload-Concat': concatenation,
        'Tus-Resumable': resumable,
      },
      needed: ['Upload-Length'],
      timeout: slowest,
      responses: {
        201: {
          description: 'send the pieces to Location',
          schema: uploadSchema,
          headers: { Location: 'the upload', ...state },
          links: {
            getUploadsId: { id: '$response.body#/id' },
            deleteUploadsId: { id: '$response.body#/id' },
          },
        },
      },
      handle: call =>
        tus(call, async () => {
          const owner = call.client.id;
          const about = checked(call, 'upload-metadata', metadata);
          const [kind, parts] = kindOf(call);
          if (parts !== undefined) {
            const upload = await desk.uploads.join(owner, parts, about);
            return created(await shown(desk, call.client, upload), stateOf(upload));
          }
          const length = number(call, 'upload-length');
          await desk.checkBlob(call.client, Math.min(length, blobBytes));
          let upload = await desk.uploads.create(owner, length, about, kind);
          if (pieceTypes.includes(mediaTypeOf(call.request)) && length > 0) {
            upload = (await append(desk, call, upload.id, 0)) ?? upload;
          }
          return created(await shown(desk, call.client, upload), stateOf(upload));
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/uploads/{id}',
      summary: 'How far an upload is; HEAD says it in headers alone',
      tag: 'blobs',
      audience: ['messages:send'],
      params,
      responses: {
        200: {
          description: 'how far it is',
          schema: uploadSchema,
          headers: { 'Upload-Length': 'bytes', ...state },
        },
      },
      handle: call => tus(call, () => look(desk, call)),
    }),
    route({
      method: 'PATCH',
      path: '/v1/uploads/{id}',
      summary: 'Send the next piece; what came of one that breaks stays',
      tag: 'blobs',
      audience: ['messages:send'],
      params,
      headers: {
        'Upload-Offset': count('where the upload stands'),
        'Upload-Checksum': checksumHeader,
        'Tus-Resumable': resumable,
      },
      needed: ['Upload-Offset'],
      body: 'raw',
      bodyTypes: Object.fromEntries(pieceTypes.map(type => [type, z.string().meta({ format: 'binary' })])),
      timeout: slowest,
      responses: { 204: { description: 'on disk', headers: state } },
      handle: call => tus(call, () => add(desk, call)),
    }),
    route({
      method: 'DELETE',
      path: '/v1/uploads/{id}',
      summary: 'Give an upload up; a blob that it has become stays',
      tag: 'blobs',
      audience: ['messages:send'],
      params,
      responses: { 204: { description: 'it is gone' } },
      handle: call => tus(call, () => giveUp(desk, call)),
    }),
    route({
      method: 'POST',
      path: '/v1/uploads/{id}',
      summary:
        'PATCH, DELETE or GET by X-HTTP-Method-Override, for clients behind something that takes no others',
      tag: 'blobs',
      audience: ['messages:send'],
      undocumented: true,
      params,
      body: 'raw',
      timeout: slowest,
      responses: { 204: { description: 'done' } },
      handle: call =>
        tus(call, async () => {
          switch (call.header('x-http-method-override')?.toUpperCase()) {
            case 'PATCH':
              return await add(desk, call);
            case 'DELETE':
              return await giveUp(desk, call);
            case 'GET':
            case 'HEAD':
              return await look(desk, call);
            default:
              throw new GatewayError('request/method-not-allowed', 'allowed here: DELETE, GET, HEAD, PATCH', {
                detail: { allow: ['DELETE', 'GET', 'HEAD', 'PATCH'] },
              });
          }
        }),
    }),
  ];
}

type AnyCall = Pick<Call<unknown, unknown, unknown>, 'client' | 'request' | 'header'>;
type UploadCall = AnyCall & { readonly params: { readonly id: string } };

async function look(desk: Desk, call: UploadCall): Promise<Answer> {
  const upload = await desk.uploads.find(call.client.id, call.params.id);
  const concat = upload.partial ? 'partial' : upload.parts && `final;${upload.parts.map(pathOf).join(' ')}`;
  return {
    status: 200,
    headers: {
      ...stateOf(upload),
      'upload-length': String(upload.length),
      ...(upload.metadata !== undefined && { 'upload-metadata': upload.metadata }),
      ...(concat !== undefined && { 'upload-concat': concat }),
    },
    json: await shown(desk, call.client, upload),
  };
}

async function add(desk: Desk, call: UploadCall): Promise<Answer> {
  if (!pieceTypes.includes(mediaTypeOf(call.request))) {
    throw new GatewayError('request/unsupported', `send the piece as ${pieceTypes[0]}`);
  }
  const upload = await append(desk, call, call.params.id, number(call, 'upload-offset'));
  if (upload === undefined) {
    const error = new GatewayError(
      'request/invalid',
      'the piece is not what its checksum says; it is not kept',
    );
    return { status: 460, error };
  }
  await shown(desk, call.client, upload);
  return { status: 204, headers: stateOf(upload) };
}

async function giveUp(desk: Desk, call: UploadCall): Promise<Answer> {
  await desk.uploads.remove(call.client.id, call.params.id);
  return { status: 204 };
}

function created(upload: Omit<Upload, 'metadata' | 'parts'>, headers: Record<string, string>): Answer {
  return { status: 201, headers: { location: pathOf(upload.id), ...headers }, json: upload };
}

function pathOf(id: string): string {
  return `/v1/uploads/${id}`;
}

/** What kind of upload is asked for, and the parts of one that is to be joined. */
function kindOf(call: AnyCall): ['whole' | 'partial', parts?: readonly string[]] {
  if (call.header('upload-defer-length') !== undefined) {
    throw invalid([
      { pointer: '/header/upload-defer-length', detail: 'say how long it is at once, in Upload-Length' },
    ]);
  }
  const concat = checked(call, 'upload-concat', concatenation);
  if (concat === undefined || concat === 'partial') {
    return [concat ?? 'whole'];
  }
  const ids = concat
    .slice('final;'.length)
    .split(' ')
    .map(url => /\/v1\/uploads\/([0-9a-f]{32})$/.exec(url)?.[1]);
  if (ids.some(id => id === undefined)) {
    throw new GatewayError('request/not-found', 'a part is not the address of an upload');
  }
  return ['whole', ids as string[]];
}

/** Every answer says the version, errors too; a client of another version is told which there is. */
async function tus(call: AnyCall, handle: () => Promise<Answer>): Promise<Answer> {
  const asked = call.header('tus-resumable');
  try {
    if (asked !== undefined && asked !== version) {
      const error = new GatewayError('request/unsupported', `there is tus ${version}`);
      return { status: 412, error, headers: { ...base, 'tus-version': version } };
    }
    const answer = await handle();
    return { ...answer, headers: { ...base, ...answer.headers } };
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    return { status: problemOf(error).status, error, headers: base };
  }
}

/** Streams the body to the end of an upload. The request lives on, for its client is to get an answer. */
async function append(desk: Desk, call: AnyCall, id: string, offset: number): Promise<Upload | undefined> {
  const { raw } = call.request;
  refuseEncoded(raw);
  const sum = checksumOf(call);
  const bytes = raw.iterator({ destroyOnReturn: false });
  try {
    return await desk.uploads.append(call.client.id, id, offset, bytes, sum);
  } catch (error) {
    throw !isGatewayError(error) && raw.destroyed && !raw.complete
      ? new GatewayError('request/invalid', 'the piece ended early; what came is kept', { cause: error })
      : error;
  } finally {
    forgetRest(raw, bytes);
  }
}

/** What the document shows of it; a whole one is the client's blob from then on. */
async function shown(
  desk: Desk,
  client: Client,
  { metadata: _metadata, parts: _parts, ...upload }: Upload,
): Promise<Omit<Upload, 'metadata' | 'parts'>> {
  if (upload.sha256 !== undefined) {
    await desk.ownBlob(desk.clients.current(client), upload.sha256);
  }
  return upload;
}

function stateOf({ offset, expiresAt, sha256 }: Upload): Record<string, string> {
  return {
    'upload-offset': String(offset),
    'upload-expires': new Date(expiresAt).toUTCString(),
    ...(sha256 !== undefined && { 'kos-blob': sha256, link: `</v1/blobs/${sha256}>; rel="alternate"` }),
  };
}

function number(call: AnyCall, header: string): number {
  const text = call.header(header) ?? '';
  if (!/^\d{1,15}$/.test(text)) {
    throw invalid([{ pointer: `/header/${header}`, detail: 'a whole number of bytes' }]);
  }
  return Number(text);
}

function checked(call: AnyCall, header: string, schema: z.ZodType<string>): string | undefined {
  const text = call.header(header);
  if (text !== undefined && !schema.safeParse(text).success) {
    throw invalid([{ pointer: `/header/${header}`, detail: 'not in the form of the protocol' }]);
  }
  return text;
}

function checksumOf(call: AnyCall): Checksum | undefined {
  const text = call.header('upload-checksum');
  if (text === undefined) {
    return undefined;
  }
  const [algorithm, digest = ''] = text.split(' ');
  const known = checksumAlgorithms.find(one => one === algorithm);
  if (known === undefined || !checksumHeader.safeParse(text).success) {
    throw new GatewayError(
      'wire/unsupported',
      `/header/upload-checksum: one of ${checksumAlgorithms.join(', ')} and base64`,
    );
  }
  return { algorithm: known, digest: Buffer.from(digest, 'base64') };
}
