import {
  type Attachment,
  defaultLifetime,
  type JsonValue,
  type Message,
  mostHubs,
  schemeOf,
} from '../../gateway/message.ts';
import { concat, fromHex, utf8 } from '../../lib/bytes.ts';
import { encode } from '../../lib/msgpack.ts';
import { fields, relationKeys } from '../../mesh/lxmf/fields.ts';
import type { LxmfMessage } from '../../mesh/lxmf/message.ts';
import { encodeKlp, isBinary, type KlpPart } from './klp.ts';
import { audioMode, imageType } from './media.ts';
import { fromNative } from './native.ts';

/** A file that goes with a message, with its bytes. */
export interface OutgoingFile {
  readonly attachment: Attachment;
  readonly bytes: Uint8Array;
}

/** The parts of an LXMF message that a Message decides; the bridge adds who and when. */
export type Content = Pick<LxmfMessage, 'title' | 'content' | 'fields'>;

/** ms by which an expiry may differ from the default and still be it. */
const lifetimeSlack = 60_000;
const longestMadeText = 400;
/** What plain clients read before the new text of a message that was changed. */
const editNote = '(edited) ';

/**
 * A Message as any LXMF client can read it: what LXMF has fields for in those, the rest in the custom
 * fields of `klp.ts`. `relatedTo` is the LXMF id (64 hex) by which the peer knows `message.inReplyTo`,
 * `hub` this hub's id, by which it knows a message of its own that comes round. `author` is who spoke, where the message
 * leaves under another name: plain clients read it before the text, and another hub takes it off again.
 */
export function composeMessage(
  message: Message,
  files: readonly OutgoingFile[],
  relatedTo: string | undefined,
  hub: string,
  author?: string,
): Content {
  const made = new Map(fromNative(message.native));
  const reaction = relatedTo === undefined ? undefined : reactionOf(message);
  const quote = quoteOf(message);
  if (reaction !== undefined) {
    const target = fromHex(relatedTo!, 32);
    made.set(
      fields.reaction,
      encode(
        new Map<number, Uint8Array>([
          [relationKeys.message, target],
          [relationKeys.content, utf8(reaction)],
        ]),
      ),
    );
  } else if (relatedTo !== undefined) {
    made.set(fields.replyTo, encode(fromHex(relatedTo, 32)));
  }
  if (quote !== undefined) {
    made.set(fields.replyQuote, encode(utf8(quote)));
  }
  placeFiles(made, files);
  const thread = threadBytes(message.thread);
  if (thread !== undefined) {
    made.set(fields.thread, encode(thread));
  }
  const text = message.text === '' ? madeText(message) : undefined;
  const lead = utf8(
    `${author === undefined ? '' : `${author}: `}${message.type === 'chat.edit' ? editNote : ''}`,
  );
  const part = {
    ...klpPart(message, hub, reaction !== undefined, quote !== undefined),
    madeText: text === undefined ? undefined : true,
    author,
    lead: lead.length,
  };
  for (const [field, raw] of encodeKlp(part)) {
    made.set(field, raw);
  }
  return {
    title: utf8(message.title ?? ''),
    content: concat(lead, utf8(text ?? message.text)),
    fields: made,
  };
}

/** Clients show one image and play one recording; any more, and everything else, is a list of files. */
function placeFiles(made: Map<number | string, Uint8Array>, files: readonly OutgoingFile[]): void {
  const images = files.filter(file => imageType(file.attachment.mediaType) !== undefined);
  const recordings = files.filter(file => audioMode(file.attachment.mediaType) !== undefined);
  const image = images.length === 1 ? images[0] : undefined;
  const recording = recordings.length === 1 ? recordings[0] : undefined;
  if (image !== undefined) {
    made.set(fields.image, encode([imageType(image.attachment.mediaType)!, image.bytes]));
  }
  if (recording !== undefined) {
    made.set(fields.audio, encode([audioMode(recording.attachment.mediaType)!, recording.bytes]));
  }
  const others = files.filter(file => file !== image && file !== recording);
  if (others.length > 0) {
    made.set(fields.attachments, encode(others.map(file => [file.attachment.name, file.bytes])));
  }
}

function klpPart(message: Message, hub: string, isReaction: boolean, hasQuote: boolean): KlpPart {
  const { priority, expiresAt, acceptedAt, correlation, thread, via } = message;
  const ownLifetime = Math.abs(expiresAt - acceptedAt - defaultLifetime) > lifetimeSlack;
  const plain = message.type === 'chat.message' || isReaction;
  return {
    type: plain ? undefined : message.type,
    data: hasQuote || (isReaction && onlyReaction(message.data)) ? undefined : message.data,
    priority: priority === 'normal' ? undefined : priority,
    expiresAt: ownLifetime ? expiresAt : undefined,
    correlation,
    thread: thread !== undefined && threadBytes(thread) === undefined ? thread : undefined,
    via: mayComeRound(message) ? [...via.slice(0, mostHubs - 1), hub] : undefined,
  };
}

/**
 * Whether another hub may send it on to us: what was said in a room, and what we pass on for somebody on the mesh. A
 * word of one of our own to one peer ends there, or in a room of another hub, which names itself when it passes it
 * on; and the hubs' hashes are long for a radio.
 */
function mayComeRound({ from, to }: Message): boolean {
  return schemeOf(to) === 'room' || schemeOf(from) === 'lxmf';
}

/** What a reaction says: the one thing in its data, or else its text. */
function reactionOf(message: Message): string | undefined {
  if (message.type !== 'chat.reaction') {
    return undefined;
  }
  const named = memberOf(message.data, 'reaction');
  const text = named ?? message.text;
  return text === '' ? undefined : text;
}

function onlyReaction(data: Message['data']): boolean {
  return (
    data === undefined ||
    (memberOf(data, 'reaction') !== undefined && Object.keys(data as object).length === 1)
  );
}

/** What a chat message quotes: data of exactly `{quote}`, which is what a quote is read into. */
function quoteOf(message: Message): string | undefined {
  const { type, data } = message;
  const quote = type === 'chat.message' ? memberOf(data, 'quote') : undefined;
  return quote !== undefined && Object.keys(data as object).length === 1 ? quote : undefined;
}

function memberOf(data: Message['data'], name: string): string | undefined {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return undefined;
  }
  const member = (data as Readonly<Record<string, JsonValue>>)[name];
  return typeof member === 'string' ? member : undefined;
}

/** A thread as LXMF writes it: the bytes of a hash. Another text goes into the custom fields. */
function threadBytes(thread: string | undefined): Uint8Array | undefined {
  return thread !== undefined && /^(?:[0-9a-f]{2}){1,64}$/.test(thread) ? fromHex(thread) : undefined;
}

/** A line for people with a plain client, where the message itself has no text but something to say. */
function madeText(message: Message): string | undefined {
  const { type, data } = message;
  if (type === 'chat.redaction') {
    return '(message removed)';
  }
  if (data === undefined || type === 'chat.message' || type === 'chat.reaction') {
    return undefined;
  }
  const line = isBinary(data) ? `${type}: ${data.mediaType}` : `${type}: ${described(data)}`;
  return line.length > longestMadeText ? `${line.slice(0, longestMadeText - 1)}…` : line;
}

function described(data: JsonValue): string {
  if (typeof data === 'string') {
    return data;
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return JSON.stringify(data);
  }
  const shown = Object.entries(data).filter(([, item]) => item !== null);
  return shown.map(([name, item]) => `${name} ${nested(item)}`).join(', ');
}

function nested(item: JsonValue): string {
  const flat = typeof item === 'object' && item !== null && !Array.isArray(item);
  return flat ? `(${described(item)})` : typeof item === 'string' ? item : JSON.stringify(item);
}
