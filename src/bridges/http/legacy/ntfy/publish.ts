import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Client, Desk, DraftAttachment, MessageDraft } from '../../../../gateway/desk.ts';
import type { Message } from '../../../../gateway/message.ts';
import { fromUtf8 } from '../../../../lib/bytes.ts';
import { invalid } from '../../../schema.ts';
import { blobBytes } from '../../blobs.ts';
import { endedEarly, refuseEncoded, refuseLonger } from '../../body.ts';
import { forgetRest } from '../../rest-of-body.ts';
import { formType, isMediaType, mediaTypeOf } from '../fields.ts';
import { type Asked, plainName } from './asked.ts';
import { noWords } from './note.ts';
import { refusal } from './refusal.ts';
import type { Topic } from './topics.ts';

/** Bytes of a body that is a text; what is longer, or no UTF-8, is a file, as it is to ntfy (which begins at 4096). */
const textBytes = 256 * 1024;

/** Reads the body as what it is, keeps a file of it, and publishes. Resolves once all of it is on disk. */
export async function publish(
  desk: Desk,
  client: Client,
  { address }: Topic,
  asked: Asked,
  body: IncomingMessage | undefined,
): Promise<Message> {
  const { title, priority, extras, filename } = asked;
  const read = body === undefined ? { text: '' } : await readBody(desk, client, body, asked);
  const encoding = 'encoding' in read ? { encoding: read.encoding } : {};
  const data = { ...extras, ...encoding };
  const file = 'file' in read ? read.file : undefined;
  const named = file?.name ?? extras.attach?.name ?? filename;
  const text = ('text' in read && read.text) || asked.message || '';
  const { message } = await desk.messages.post(client, {
    to: address,
    text: text || (named === undefined ? noWords : `You received a file: ${named}`),
    ...(title !== undefined && { title: bounded('title', title, 1000) }),
    ...(priority !== undefined && { priority }),
    ...(file !== undefined && { attachments: [file] }),
    ...(Object.keys(data).length > 0 && { data: data as NonNullable<MessageDraft['data']> }),
  });
  return message;
}

type Read = { readonly text: string; readonly encoding?: 'base64' } | { readonly file: DraftAttachment };

/** Source: ntfy, server/server.go, the seven cases of `handlePublishBody`. */
async function readBody(desk: Desk, client: Client, raw: IncomingMessage, asked: Asked): Promise<Read> {
  if (!asked.isPush) {
    refuseEncoded(raw);
  }
  refuseLonger(raw, blobBytes);
  const source = raw.iterator({ destroyOnReturn: false });
  try {
    const isFile = asked.filename !== undefined && !asked.isPush;
    const start = isFile ? new Uint8Array() : await firstBytes(source, textBytes + 1);
    const text = start.length <= textBytes ? textOf(start) : undefined;
    if (!isFile && text !== undefined) {
      return { text: asked.isPush ? text : text.trim() };
    }
    if (asked.isPush && start.length <= textBytes) {
      return { text: Buffer.from(start).toString('base64'), encoding: 'base64' };
    }
    if (asked.extras.attach !== undefined) {
      throw refusal(40011);
    }
    // Where the text goes on, a character may be cut.
    const isText =
      start.length > 0 &&
      [0, 1, 2, 3].some(cut => textOf(start.subarray(0, start.length - cut)) !== undefined);
    const name = asked.filename ?? (isText ? 'attachment.txt' : 'attachment.bin');
    const bytes = Readable.from(joined(start, source), { objectMode: false });
    const { sha256 } = await desk.keepBlob(client, bytes, blobBytes);
    return { file: { name: plainName(name), mediaType: mediaTypeFor(name, mediaTypeOf(raw)), sha256 } };
  } catch (error) {
    throw raw.destroyed && !raw.complete ? endedEarly(error) : error;
  } finally {
    forgetRest(raw, source);
  }
}

/** Up to so many bytes and the rest of their chunk. */
async function firstBytes(source: AsyncIterator<Uint8Array>, wanted: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let length = 0; length < wanted; ) {
    const { value, done } = await source.next();
    if (done === true) {
      break;
    }
    chunks.push(value);
    length += value.length;
  }
  return Buffer.concat(chunks);
}

async function* joined(
  start: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (start.length > 0) {
    yield start;
  }
  for (let step = await rest.next(); step.done !== true; step = await rest.next()) {
    yield step.value;
  }
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return fromUtf8(bytes, 'body');
  } catch {
    return undefined;
  }
}

function bounded(name: string, text: string, most: number): string {
  if (text.length > most) {
    throw invalid([{ pointer: `/${name}`, detail: `at most ${most} characters` }]);
  }
  return text;
}

const types: Readonly<Record<string, string>> = {
  txt: 'text/plain',
  log: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  json: 'application/json',
  pdf: 'application/pdf',
  zip: 'application/zip',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  png: 'image/png',
  gif: 'image/gif',
  webp: 'image/webp',
  mp3: 'audio/mpeg',
  ogg: 'audio/ogg',
  mp4: 'video/mp4',
};

/** What the request says, unless that is what curl says of everything; else by the end of the name. */
function mediaTypeFor(name: string, said: string): string {
  const isSaid = isMediaType(said) && said !== formType;
  return isSaid
    ? said
    : (types[/\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? ''] ?? 'application/octet-stream');
}
