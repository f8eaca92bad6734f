import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Client, Desk, DraftAttachment, MessageDraft } from '../../../../gateway/desk.ts';
import type { Message } from '../../../../gateway/message.ts';
import { fromUtf8 } from '../../../../lib/bytes.ts';
import { parseJson } from '../../../json.ts';
import { invalid, mistakesOf } from '../../../schema.ts';
import { blobBytes } from '../../blobs.ts';
import { endedEarly, jsonBytes, readText, refuseEncoded, refuseLonger } from '../../body.ts';
import { forgetRest } from '../../rest-of-body.ts';
import { formType, isMediaType, mediaTypeOf } from '../fields.ts';
import { checkActions, parseActions } from './actions.ts';
import { type Extras, noWords, priorityOf } from './note.ts';
import { refusal } from './refusal.ts';
import type { Topic } from './topics.ts';
import { type Words, wordsOf } from './words.ts';

/** Bytes of a body that is a text; what is longer, or no UTF-8, is a file, as it is to ntfy (which begins at 4096). */
const textBytes = 256 * 1024;

const flag = z.union([z.boolean(), z.string(), z.null()]).optional();
const word = z.string().nullish();

/** A notification as one JSON object. Source: docs.ntfy.sh/publish, "Publish as JSON". */
const objectSchema = z.object({
  topic: z.string(),
  message: word,
  title: word,
  priority: z.union([z.int(), z.string()]).nullish(),
  tags: z.array(z.string()).nullish(),
  click: word,
  icon: word,
  attach: word,
  filename: word,
  actions: z.union([z.array(z.unknown()), z.string()]).nullish(),
  markdown: flag,
  delay: word,
  email: word,
  call: word,
  template: flag,
  sequence_id: word,
});

/** What was asked to be published, before the body is read. */
export interface Asked {
  readonly title?: string;
  readonly message?: string;
  readonly filename?: string;
  readonly extras: Extras;
  readonly priority?: MessageDraft['priority'];
  /** The body is bytes for a program, whatever they are. */
  readonly isPush: boolean;
}

/** The topic and the notification of a JSON body, with what its headers say besides; the body wins. */
export async function readObject(raw: IncomingMessage): Promise<{ topic: string; asked: Asked }> {
  const text = await readText(raw, jsonBytes);
  let given: unknown;
  try {
    given = parseJson(text);
  } catch (cause) {
    throw refusal(40017, (cause as Error).message);
  }
  const { value, errors } = mistakesOf(objectSchema, given);
  if (value === undefined) {
    throw invalid(errors);
  }
  const { topic, tags, actions, ...rest } = value;
  const said = new Map(
    Object.entries(rest).flatMap(([name, one]) =>
      one === null || one === undefined || one === '' ? [] : [[name.replace('_', '-'), String(one)]],
    ),
  );
  const words = wordsOf(raw);
  const both: Words = {
    text: (...names) =>
      names.map(name => said.get(name)).find(one => one !== undefined) ?? words.text(...names),
    flag: (...names) => {
      const own = names.map(name => said.get(name)).find(one => one !== undefined);
      return own === undefined ? words.flag(...names) : /^(?:1|yes|true)$/i.test(own);
    },
    list: (...names) => (tags && tags.length > 0 ? tags : words.list(...names)),
  };
  const asked = askedOf(both, '');
  const buttons = typeof actions === 'string' ? parseActions(actions) : checkActions(actions ?? []);
  return {
    topic,
    asked: { ...asked, extras: { ...asked.extras, ...(buttons.length > 0 && { actions: [...buttons] }) } },
  };
}

/** The notification that headers and the query ask for. Throws what ntfy says of what it, or this hub, cannot do. */
function askedOf(words: Words, mediaType: string): Asked {
  refuseWhatIsNot(words);
  const title = words.text('title', 't', 'ti');
  const message = words.text('message', 'm')?.replaceAll('\\n', '\n');
  const filename = words.text('filename', 'file', 'f');
  const click = words.text('click');
  const icon = addressOf(words.text('icon'), 40021);
  const attach = addressOf(words.text('attach', 'a'), 40013);
  const tags = words.list('tags', 'tag', 'ta');
  const buttons = words.text('actions', 'action');
  const level = levelOf(words.text('priority', 'prio', 'p'));
  const { priority, level: exact } = priorityOf(level ?? 3);
  const markdown = words.flag('markdown', 'md') ?? mediaType === 'text/markdown';
  const sequence = words.text('sequence-id', 'sequence_id', 'sid');
  return {
    ...(title !== undefined && { title }),
    ...(message !== undefined && { message }),
    ...(filename !== undefined && attach === undefined && { filename }),
    ...(level !== undefined && priority !== undefined && { priority }),
    isPush: words.flag('unifiedpush', 'up') === true || words.text('content-encoding') === 'aes128gcm',
    extras: {
      ...(tags.length > 0 && { tags: tags.slice(0, 32).map(one => cut(one, 256)) }),
      ...(click !== undefined && { click: cut(click, 2048) }),
      ...(icon !== undefined && { icon }),
      ...(attach !== undefined && { attach: { name: filename ?? lastOf(attach), url: attach } }),
      ...(buttons !== undefined && { actions: [...parseActions(buttons)] }),
      ...(markdown && { markdown }),
      ...(exact !== undefined && { level: exact }),
      ...(sequence !== undefined && { sequence: cut(sequence, 64) }),
    },
  };
}

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
    const { sha256 } = await desk.blobs.put(bytes, blobBytes);
    await desk.ownBlob(desk.clients.current(client), sha256);
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

function refuseWhatIsNot(words: Words): void {
  if (words.text('delay', 'at', 'in') !== undefined) {
    throw refusal(40004, 'this hub delivers at once; send it when it is due');
  }
  if (words.text('email', 'e-mail', 'mail', 'e') !== undefined) {
    throw refusal(40001);
  }
  if (words.text('call') !== undefined) {
    throw refusal(40032);
  }
  if (!/^(?:0|no|false)?$/i.test(words.text('template', 'tpl') ?? '')) {
    throw refusal(40043, 'templates are not available here');
  }
}

const levels: Readonly<Record<string, number>> = { min: 1, low: 2, default: 3, high: 4, max: 5, urgent: 5 };

/** From 1 to 5, or by its name. Throws ntfy's 40007. */
export function levelOf(text: string | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  const name = text.trim().toLowerCase();
  const level = Object.hasOwn(levels, name) ? levels[name] : /^[1-5]$/.test(name) ? Number(name) : undefined;
  if (level === undefined) {
    throw refusal(40007);
  }
  return level;
}

function addressOf(text: string | undefined, code: 40013 | 40021): string | undefined {
  if (text !== undefined && (!/^https?:\/\//.test(text) || text.length > 2048)) {
    throw refusal(code);
  }
  return text;
}

function lastOf(url: string): string {
  const last = URL.parse(url)?.pathname.split('/').at(-1) ?? '';
  return last === '' ? 'attachment' : plainName(last);
}

function bounded(name: string, text: string, most: number): string {
  if (text.length > most) {
    throw invalid([{ pointer: `/${name}`, detail: `at most ${most} characters` }]);
  }
  return text;
}

/** The beginning of a text, with no half of a character at its end. */
function cut(text: string, most: number): string {
  return text
    .slice(0, most)
    .toWellFormed()
    .replace(/\ufffd$/, '');
}

/** A name without folders and control characters. */
function plainName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? '';
  return cut(last.replaceAll(/\p{Cc}/gu, ''), 255) || 'attachment';
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

/** What a request to a topic asks for, from its headers and its query. */
export function askedIn(request: FastifyRequest): Asked {
  return askedOf(wordsOf(request.raw), mediaTypeOf(request));
}
