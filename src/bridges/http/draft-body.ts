import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Client, Desk, DraftAttachment, MessageDraft } from '../../gateway/desk.ts';
import { priorities } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { parseJson } from '../json.ts';
import { draftOfKlp, klpDraftSchema, klpType } from '../klp.ts';
import { addressSchema, check, invalid, messageDraftSchema, timeSchema } from '../schema.ts';
import { blobBytes } from './blobs.ts';
import { endedEarly, readJson, readText, refuseEncoded, refuseLonger } from './body.ts';
import { fieldsFrom, formBytes, formType, isMediaType, mediaTypeOf, parseForm } from './legacy/fields.ts';
import { boundaryOf, parts } from './multipart.ts';
import { forgetRest } from './rest-of-body.ts';

export const multipartType = 'multipart/form-data';

/** Bytes of a whole multipart body: as much as all blobs of one message may have is more than a form should carry. */
export const multipartBytes = 64 * 1024 * 1024;

/** Names under which the files of a form come. */
const fileFields: ReadonlySet<string> = new Set(['attachment', 'attachments', 'file']);

const optional = (schema: z.ZodString) => schema.exactOptional();

/** Fields of a form; what is empty is as if it were not there, for browsers send every field. */
const formShape = {
  to: addressSchema,
  text: optional(z.string().max(256 * 1024)).describe('what a person reads'),
  title: optional(z.string().max(1000)),
  type: optional(
    z
      .string()
      .max(64)
      .regex(/^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)?$/, 'dotted lower-case, such as chat.message'),
  ),
  data: optional(z.string().max(256 * 1024)).describe('a JSON value, or else text'),
  priority: z.enum(['', ...priorities]).exactOptional(),
  inReplyTo: optional(z.string().regex(/^(?:[0-9a-f]{32})?$/, '32 lower-case hex digits')),
  thread: optional(z.string().max(255)),
  correlation: optional(z.string().max(255)),
  expiresAt: z
    .string()
    .regex(/^\d{0,15}$/, 'ms since 1970')
    .meta({ type: 'integer', minimum: 0, maximum: timeSchema.maxValue ?? 0, pattern: undefined })
    .exactOptional(),
};
const formSchema = z.strictObject(formShape);

/** What the body of a new message may be, for the document. */
export const draftTypes: Readonly<Record<string, z.ZodType>> = {
  'application/json': messageDraftSchema,
  [klpType]: klpDraftSchema,
  [formType]: formSchema.meta({ id: 'MessageForm' }),
  [multipartType]: z
    .strictObject({
      ...formShape,
      attachment: z
        .array(z.string().meta({ contentMediaType: 'application/octet-stream' }))
        .max(32)
        .exactOptional()
        .describe('files, each a part of this name'),
    })
    .meta({ id: 'MessageFormWithFiles' }),
};

export interface DraftParts {
  readonly desk: Desk;
  readonly clock: Clock;
}

/**
 * The message that a request's body asks to be sent, in whichever form; `key` where the form has one of its own, `asked`
 * where a repeat is known by that and not by the draft. Files of a form are on disk then. Throws as `readJson` does, with every mistake.
 */
export async function readDraft(
  { desk, clock }: DraftParts,
  client: Client,
  request: FastifyRequest,
): Promise<{ readonly draft: MessageDraft; readonly key?: string; readonly asked?: object }> {
  const type = mediaTypeOf(request);
  if (type === klpType) {
    return draftOfKlp(await readJson(request.raw), `app:${client.name}`, clock.now());
  }
  if (type === formType) {
    return { draft: draftOfForm(parseForm(await readText(request.raw, formBytes)), []) };
  }
  if (type === multipartType) {
    return { draft: await readMultipart(desk, client, request) };
  }
  if (type !== 'application/json' && !/^application\/[\w.-]+\+json$/.test(type)) {
    throw new GatewayError(
      'request/unsupported',
      `send the body as one of ${Object.keys(draftTypes).join(', ')}`,
    );
  }
  return { draft: check(messageDraftSchema, await readJson(request.raw)) };
}

function draftOfForm(
  fields: Readonly<Record<string, string>>,
  attachments: readonly DraftAttachment[],
): MessageDraft {
  const form = check(formSchema, fields);
  const given = Object.entries(form).filter(([name, value]) => value !== '' || name === 'text');
  const { expiresAt, data, ...rest } = Object.fromEntries(given) as Record<string, string>;
  return check(messageDraftSchema, {
    ...rest,
    ...(expiresAt !== undefined && { expiresAt: Number(expiresAt) }),
    ...(data !== undefined && { data: jsonOrText(data) }),
    ...(attachments.length > 0 && { attachments }),
  });
}

/** Read as strictly as a JSON body; what would be no number or text of its own, such as a long number, is text. */
function jsonOrText(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  try {
    return parseJson(text);
  } catch (error) {
    if (typeof value !== 'object') {
      return text;
    }
    throw isGatewayError(error)
      ? invalid(error.errors.map(({ pointer, detail }) => ({ pointer: `/data${pointer}`, detail })))
      : error;
  }
}

/** Files go to disk as they come; the message is made of what stands beside them. */
async function readMultipart(
  desk: Desk,
  client: Client,
  { raw, headers }: FastifyRequest,
): Promise<MessageDraft> {
  refuseEncoded(raw);
  refuseLonger(raw, multipartBytes);
  const boundary = boundaryOf(headers['content-type'] ?? '');
  const fields: [name: string, value: string][] = [];
  const attachments: DraftAttachment[] = [];
  let fieldRoom = formBytes;
  const bytes = raw.iterator({ destroyOnReturn: false });
  try {
    for await (const part of parts(bounded(bytes, multipartBytes), boundary)) {
      const { name, fileName, mediaType, body } = part;
      if (!fileFields.has(name)) {
        const text = await textOf(body, fieldRoom);
        fieldRoom -= Buffer.byteLength(text);
        fields.push([name, text]);
        continue;
      }
      if (attachments.length === mostFiles) {
        throw invalid([{ pointer: `/${name}`, detail: `at most ${mostFiles} files` }]);
      }
      const { sha256 } = await desk.keepBlob(client, Readable.from(body, { objectMode: false }), blobBytes);
      attachments.push({
        name: plainName(fileName) ?? `attachment-${attachments.length + 1}`,
        sha256,
        ...(mediaType !== undefined && isMediaType(mediaType) && { mediaType }),
      });
    }
  } catch (error) {
    throw raw.destroyed && !raw.complete ? endedEarly(error) : error;
  } finally {
    forgetRest(raw, bytes);
  }
  return draftOfForm(fieldsFrom(fields), attachments);
}

const mostFiles = 32;

async function* bounded(
  bytes: AsyncIterable<Uint8Array>,
  most: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let length = 0;
  for await (const chunk of bytes) {
    length += chunk.length;
    if (length > most) {
      throw new GatewayError('request/too-large', `at most ${most} bytes`);
    }
    yield chunk;
  }
}

async function textOf(body: AsyncIterable<Buffer>, most: number): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > most) {
      throw new GatewayError(
        'request/too-large',
        `the fields of a form may have ${formBytes} bytes together`,
      );
    }
    pieces.push(Buffer.from(piece));
  }
  const text = Buffer.concat(pieces);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(text);
  } catch (cause) {
    throw new GatewayError('request/invalid', 'a field is not UTF-8', { cause });
  }
}

/** What is behind the last separator, as some programs send the whole path; undefined where nothing is left. */
function plainName(name: string | undefined): string | undefined {
  const last = name
    ?.split(/[/\\]/)
    .at(-1)
    ?.replaceAll(/\p{Cc}/gu, '')
    .slice(0, 255);
  return last === undefined || last === '' ? undefined : last;
}
