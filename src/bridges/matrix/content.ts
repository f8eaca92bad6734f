import { type BinaryData, type JsonValue, type Message, mostHubs, nameOf } from '../../gateway/message.ts';
import { matrixLimits } from './config.ts';
import { type RoomEvent, record } from './events.ts';
import { htmlOfText } from './html.ts';
import { prefix } from './mxid.ts';

/** The key under which our events carry what Matrix has no place for; by it an event is known as ours for ever. */
export const ownKey = 'org.kos.message';

/** What becomes of a Message: one event after the other. */
export type Piece =
  | { readonly kind: 'event'; readonly type: string; readonly content: Record<string, unknown> }
  | { readonly kind: 'redact'; readonly event: string }
  /** A file that is uploaded first; its content lacks the address it gets. */
  | {
      readonly kind: 'file';
      readonly content: Record<string, unknown>;
      readonly file: { readonly sha256: string } | { readonly bytes: Uint8Array };
      readonly name: string;
      readonly mediaType: string;
    };

/** What the room knows of the messages this one speaks of. */
export interface Related {
  /** 32 hex: this hub, by which another one that is in the room knows what came through it. */
  readonly hub: string;
  /** The event it answers, edits, removes or reacts to. */
  readonly target?: string;
  /** Whether the same ghost sent that event, for the same author: only then it may be edited or removed. */
  readonly own?: boolean;
  /** The root of its thread. */
  readonly thread?: string;
  /** Put before the text, where the ghost cannot speak for its author. */
  readonly author?: string;
}

/**
 * The events that say what a Message says. What Matrix cannot express, or what may not be done to another's event, is
 * said in words. Every text is well formed: a homeserver answers a lone surrogate with 500 for ever, and numbers
 * are texts, because it refuses fractions and large integers.
 */
export function composePieces(message: Message, related: Related): readonly Piece[] {
  const { target } = related;
  switch (message.type) {
    case 'chat.reaction':
      return [
        reaction(message, related) ?? textPiece(message, related, `reacted with ${reactionOf(message)}`),
      ].flat();
    case 'chat.redaction':
      return target !== undefined && related.own === true
        ? [{ kind: 'redact', event: target }]
        : [textPiece(message, related, '(removed this message)')].flat();
    case 'chat.edit':
      return target !== undefined && related.own === true
        ? edit(message, target, related)
        : [textPiece(message, related, `✏️ ${message.text}`)].flat();
    default:
      return written(message, related);
  }
}

function written(message: Message, related: Related): readonly Piece[] {
  const words = message.text === '' ? describe(message) : message.text;
  const said =
    words !== '' || message.title !== undefined || message.attachments.length === 0
      ? textPiece(message, related, words)
      : [];
  const files = message.attachments.map((attachment, index): Piece => {
    const kind = /^(image|audio|video)\//.exec(attachment.mediaType)?.[1] ?? 'file';
    const name = safe(attachment.name) || 'file';
    return {
      kind: 'file',
      content: {
        msgtype: `m.${kind}`,
        body: name,
        filename: name,
        info: { mimetype: attachment.mediaType, size: attachment.size },
        'm.mentions': {},
        // The answer is told once, with whatever comes first.
        ...(said.length === 0 && index === 0 ? relation(related) : {}),
        ...marker(message, related),
      },
      file: { sha256: attachment.sha256 },
      name,
      mediaType: attachment.mediaType,
    };
  });
  return [...said, ...files];
}

/** A text, and as a file behind its beginning where it does not fit an event. */
function textPiece(message: Message, related: Related, words: string): Piece[] {
  const { title, type } = message;
  const before = leadOf(related);
  const body = safe(`${before}${title === undefined || title === '' ? '' : `${title}\n`}${words}`);
  // What a device or a program says is no person's word: clients do not ring for it, and bots do not answer.
  const msgtype = type.startsWith('chat.') ? 'm.text' : 'm.notice';
  const html =
    title === undefined || title === ''
      ? {}
      : {
          format: 'org.matrix.custom.html',
          formatted_body: `${htmlOfText(before)}<strong>${htmlOfText(safe(title))}</strong><br>${htmlOfText(safe(words))}`,
        };
  const content = {
    msgtype,
    body,
    ...html,
    'm.mentions': {},
    ...relation(related),
    ...marker(message, related),
    ...machinePart(message),
  };
  if (sizeOf(content) <= matrixLimits.contentBytes) {
    return [{ kind: 'event', type: 'm.room.message', content }];
  }
  const {
    [dataKey]: _data,
    formatted_body: _html,
    format: _format,
    ...rest
  } = content as Record<string, unknown>;
  const plain = { ...rest, body };
  if (sizeOf(plain) <= matrixLimits.contentBytes) {
    return [{ kind: 'event', type: 'm.room.message', content: plain }];
  }
  const excerpt = [...body].slice(0, matrixLimits.excerpt).join('');
  const bytes = Buffer.from(body);
  return [
    {
      kind: 'event',
      type: 'm.room.message',
      content: { ...rest, body: `${excerpt}…\n(the whole text is in the file below)` },
    },
    {
      kind: 'file',
      content: {
        msgtype: 'm.file',
        body: 'message.txt',
        filename: 'message.txt',
        info: { mimetype: 'text/plain', size: bytes.length },
        'm.mentions': {},
        ...marker(message, related),
      },
      file: { bytes },
      name: 'message.txt',
      mediaType: 'text/plain',
    },
  ];
}

function edit(message: Message, target: string, related: Related): readonly Piece[] {
  const body = safe(`${leadOf(related)}${message.text}`);
  const content = {
    msgtype: 'm.text',
    body: `* ${body}`,
    'm.mentions': {},
    'm.new_content': { msgtype: 'm.text', body, 'm.mentions': {} },
    'm.relates_to': { rel_type: 'm.replace', event_id: target },
    ...marker(message, related),
  };
  return sizeOf(content) <= matrixLimits.contentBytes
    ? [{ kind: 'event', type: 'm.room.message', content }]
    : textPiece(message, related, `✏️ ${message.text}`);
}

const longestKey = 255; // bytes, of a reaction

function reaction(message: Message, related: Related): Piece | undefined {
  const { target } = related;
  const key = safe(reactionOf(message));
  if (target === undefined || key === '' || Buffer.byteLength(key) > longestKey) {
    return undefined;
  }
  return {
    kind: 'event',
    type: 'm.reaction',
    content: {
      'm.relates_to': { rel_type: 'm.annotation', event_id: target, key },
      ...marker(message, related),
    },
  };
}

function reactionOf({ text, data }: Message): string {
  const named = typeof data === 'object' && data !== null && 'reaction' in data ? data.reaction : undefined;
  return typeof named === 'string' ? named : text;
}

function relation({ target, thread }: Related): Record<string, unknown> {
  const answer = target === undefined ? {} : { 'm.in_reply_to': { event_id: target } };
  if (thread !== undefined) {
    return {
      'm.relates_to': {
        rel_type: 'm.thread',
        event_id: thread,
        is_falling_back: target === undefined,
        'm.in_reply_to': { event_id: target ?? thread },
      },
    };
  }
  return target === undefined ? {} : { 'm.relates_to': answer };
}

function leadOf({ author }: Related): string {
  return author === undefined ? '' : `${safe(author)}: `;
}

function marker({ id, from, type, via }: Message, { hub }: Related): Record<string, unknown> {
  return { [ownKey]: { id, from: safe(from), type, via: [...via.slice(0, mostHubs - 1), hub] } };
}

/** The hubs that an event of a gateway's ghost came through; undefined for what people write, whatever is in it. */
export function viaOf({
  sender,
  content,
}: Pick<RoomEvent, 'sender' | 'content'>): readonly string[] | undefined {
  const via = record(content[ownKey]).via;
  return sender.startsWith(`@${prefix}`) && Array.isArray(via)
    ? via.slice(0, mostHubs).filter(hub => typeof hub === 'string' && /^[0-9a-f]{32}$/.test(hub))
    : undefined;
}

const dataKey = 'org.kos.data';

/** The machine part as the text of its JSON: numbers of its own would be refused. */
function machinePart({ data }: Message): Record<string, unknown> {
  return data === undefined ? {} : { [dataKey]: safe(JSON.stringify(data)) };
}

const longestDescription = 1000;

/** A line for people, where a message has no text but something to say. */
function describe(message: Message): string {
  const { type, data } = message;
  if (data === undefined) {
    return type === 'chat.message' ? '' : `(${type})`;
  }
  if (isBinary(data)) {
    return `${type}: ${data.mediaType}`;
  }
  const named = typeof data === 'object' && data !== null && 'values' in data ? data.values : data;
  const subject = type === 'sensor.reading' ? nameOf(message.from).replace(/^dev\//, '') : type;
  const line = `${subject}: ${flat(named as JsonValue)}`;
  return line.length > longestDescription ? `${line.slice(0, longestDescription)}…` : line;
}

function flat(data: JsonValue): string {
  if (typeof data === 'string') {
    return data;
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return JSON.stringify(data);
  }
  return Object.entries(data)
    .filter(([, item]) => item !== null)
    .map(([name, item]) => `${name} ${typeof item === 'object' ? `(${flat(item)})` : flat(item)}`)
    .join(', ');
}

function isBinary(data: JsonValue | BinaryData): data is BinaryData {
  return typeof data === 'object' && data !== null && 'mediaType' in data && 'base64' in data;
}

/** Whole characters, and no NUL. */
function safe(text: string): string {
  return text.toWellFormed().replaceAll('\0', '');
}

function sizeOf(content: object): number {
  return Buffer.byteLength(JSON.stringify(content));
}
